//! Putting on record what became of an attachment: the one thing that is written to the log here.

use domain::attachment::{Attachment, Command, State};
use domain::{Actor, AttachmentId, Decider as _, Event, Metadata, StreamName, Version};
use infra::event_store::{AppendError, Direction, EventStore, Expected, NewEvent};
use infra::failure::Failure;
use infra::keys::hex;
use sha2::{Digest as _, Sha256};

/// What failed.
const RECORD: &str = "record what became of an attachment";

/// More events than the stream of an attachment ever has.
const EVENTS_MAX: usize = 16;

/// How often it is decided anew where others write meanwhile.
const TRIES_MAX: usize = 3;

/// Decides `command` and appends what comes of it; nothing where it is so already.
pub(super) async fn record(
    store: &dyn EventStore,
    id: AttachmentId,
    command: &Command,
) -> Result<(), Failure> {
    let stream = StreamName::attachment(id);
    for _ in 0..TRIES_MAX {
        let (state, version) = load(store, &stream).await?;
        let decided = Attachment::decide(&state, command);
        let decided = decided.map_err(|refused| Failure::internal(RECORD, refused))?;
        let mut events = Vec::with_capacity(decided.len());
        for (index, event) in decided.into_iter().enumerate() {
            let event = Event::from(event);
            let metadata = metadata(id, &event)?;
            events.push(NewEvent::encode(&event, &metadata, index)?);
        }
        if events.is_empty() {
            return Ok(());
        }
        match store
            .append(&stream, Expected::Exact(version), events)
            .await
        {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(AppendError::Failure(failure)) => return Err(failure),
            Err(error @ AppendError::Invalid(_)) => return Err(Failure::internal(RECORD, error)),
        }
    }
    Err(Failure::unavailable(RECORD, "others keep changing it"))
}

async fn load(store: &dyn EventStore, stream: &StreamName) -> Result<(State, Version), Failure> {
    let events = store
        .read_stream(stream, Version(1), Direction::Forward, EVENTS_MAX)
        .await?;
    let (mut state, mut version) = (State::default(), Version::ZERO);
    for recorded in events {
        let event = recorded.event();
        let event = event.map_err(|error| Failure::internal(RECORD, error))?;
        if let Event::Attachment(event) = event {
            state = Attachment::evolve(state, recorded.version, &event);
        }
        version = recorded.version;
    }
    Ok((state, version))
}

/// Each event of an attachment is recorded once, whoever records it.
fn metadata(id: AttachmentId, event: &Event) -> Result<Metadata, Failure> {
    let body = event.encode();
    let body = body.map_err(|error| Failure::internal(RECORD, error))?;
    Ok(Metadata {
        actor: Actor::System,
        command_id: id.command(event.event_type()),
        command_hash: hex(&Sha256::digest(body)[..16]),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    })
}
