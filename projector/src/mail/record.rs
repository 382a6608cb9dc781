//! Putting on record what became of a mail: the one thing that is written to the log here.

use domain::mail::{self, Command};
use domain::{Actor, CommandId, Decider as _, Metadata, StreamName};
use infra::event_store::{AppendError, EventStore, Expected, NewEvent};
use infra::failure::Failure;
use infra::keys::hex;
use sha2::{Digest as _, Sha256};

use super::queue::Waiting;

/// What failed.
const RECORD: &str = "record what became of a mail";

/// Records `outcome`, unless somebody else has settled the mail before.
pub(super) async fn record(
    store: &dyn EventStore,
    waiting: &Waiting,
    outcome: &Command,
) -> Result<(), Failure> {
    let decided = mail::Mail::decide(&mail::State::Pending, outcome);
    let decided = decided.map_err(|refused| Failure::internal(RECORD, refused))?;
    let mut events = Vec::with_capacity(decided.len());
    for (index, event) in decided.into_iter().enumerate() {
        let event = domain::Event::from(event);
        let body = event
            .encode()
            .map_err(|error| Failure::internal(RECORD, error))?;
        let metadata = metadata(waiting, event.event_type(), &body);
        events.push(NewEvent::encode(&event, &metadata, index)?);
    }
    let stream = StreamName::mail(waiting.asked_by);
    match store.append(&stream, Expected::NoStream, events).await {
        Ok(_) => Ok(()),
        Err(AppendError::Conflict { .. }) => {
            tracing::warn!(mail = %waiting.asked_by, "another process settled this mail meanwhile");
            Ok(())
        }
        Err(AppendError::Failure(failure)) => Err(failure),
        Err(error @ AppendError::Invalid(_)) => Err(Failure::internal(RECORD, error)),
    }
}

/// The command's id follows from the event that asked and from what came of it, so that a record in doubt
/// can be tried again.
fn metadata(waiting: &Waiting, event_type: &str, body: &[u8]) -> Metadata {
    let cause = &waiting.metadata;
    Metadata {
        actor: Actor::System,
        command_id: CommandId(waiting.asked_by.0).derive(event_type),
        command_hash: hex(&Sha256::digest(body)[..16]),
        correlation_id: cause.correlation_id.or(Some(cause.command_id)),
        causation_id: Some(cause.command_id),
        traceparent: cause.traceparent.clone(),
        occurred_at: None,
    }
}
