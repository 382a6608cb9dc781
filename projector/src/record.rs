//! Putting on record what the projector's own work comes to: loading a stream, deciding and appending.

use std::sync::Arc;

use domain::{Actor, CommandId, Decider, Metadata, StreamName, Version};
use infra::clock::fresh_id;
use infra::event_store::{AppendError, Direction, EventStore, Expected, NewEvent, RecordedEvent};
use infra::failure::Failure;
use infra::keys::hex;
use sha2::{Digest as _, Sha256};

/// Events read at once.
const PAGE: usize = 1_000;

/// How often it is decided anew because somebody else appended meanwhile; then it is a failure.
const TRIES_MAX: usize = 5;

/// The state of a stream and where it ends.
pub(crate) struct Loaded<D: Decider> {
    pub(crate) state: D::State,
    pub(crate) version: Version,
}

impl<D: Decider> Loaded<D> {
    /// The fold of all of `stream`.
    pub(crate) async fn all(store: &dyn EventStore, stream: &StreamName) -> Result<Self, Failure> {
        let mut loaded = Self {
            state: D::State::default(),
            version: Version::ZERO,
        };
        loop {
            let from = loaded.version.next();
            let events = store
                .read_stream(stream, from, Direction::Forward, PAGE)
                .await?;
            for recorded in &events {
                loaded.fold(recorded)?;
            }
            if events.len() < PAGE {
                return Ok(loaded);
            }
        }
    }

    /// What the last event of `stream` says, where that is all there is to know.
    pub(crate) async fn last(store: &dyn EventStore, stream: &StreamName) -> Result<Self, Failure> {
        let mut loaded = Self {
            state: D::State::default(),
            version: Version::ZERO,
        };
        let end = Version(u64::MAX);
        let last = store
            .read_stream(stream, end, Direction::Backward, 1)
            .await?;
        for recorded in &last {
            loaded.fold(recorded)?;
        }
        Ok(loaded)
    }

    fn fold(&mut self, recorded: &Arc<RecordedEvent>) -> Result<(), Failure> {
        const WHAT: &str = "read a stream of the projector's";
        let event = recorded.event().map_err(|e| Failure::internal(WHAT, e))?;
        let event = D::Event::try_from(event)
            .map_err(|_| Failure::internal(WHAT, "an event of another category"))?;
        self.state = D::evolve(std::mem::take(&mut self.state), recorded.version, &event);
        self.version = recorded.version;
        Ok(())
    }

    /// Decides `command` and appends what comes of it, if nobody else has appended since.
    pub(crate) async fn ask(
        &mut self,
        store: &dyn EventStore,
        stream: &StreamName,
        command: &D::Command,
    ) -> Result<(), AppendError> {
        const WHAT: &str = "record what the projector did";
        let failed = |error: &dyn std::error::Error| Failure::internal(WHAT, error.to_string());
        let decided = D::decide(&self.state, command).map_err(|refused| failed(&refused))?;
        if decided.is_empty() {
            return Ok(());
        }
        let command_id = CommandId(fresh_id());
        let mut events = Vec::with_capacity(decided.len());
        for (index, event) in decided.iter().enumerate() {
            let event: domain::Event = event.clone().into();
            let body = event.encode().map_err(|error| failed(&error))?;
            let metadata = Metadata {
                actor: Actor::System,
                command_id,
                command_hash: hex(&Sha256::digest(body)[..16]),
                correlation_id: None,
                causation_id: None,
                traceparent: None,
                occurred_at: None,
            };
            events.push(NewEvent::encode(&event, &metadata, index)?);
        }
        let expected = Expected::Exact(self.version);
        store.append(stream, expected, events).await?;
        for event in &decided {
            self.version = self.version.next();
            self.state = D::evolve(std::mem::take(&mut self.state), self.version, event);
        }
        Ok(())
    }
}

/// Loads `stream`, decides `command` and appends what comes of it.
pub(crate) async fn ask<D: Decider>(
    store: &dyn EventStore,
    stream: &StreamName,
    command: &D::Command,
) -> Result<(), Failure> {
    const WHAT: &str = "record what the projector did";
    for _ in 0..TRIES_MAX {
        let mut loaded = Loaded::<D>::all(store, stream).await?;
        match loaded.ask(store, stream, command).await {
            Ok(()) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(AppendError::Failure(failure)) => return Err(failure),
            Err(error @ AppendError::Invalid(_)) => return Err(Failure::internal(WHAT, error)),
        }
    }
    Err(Failure::unavailable(
        WHAT,
        "others kept changing the same stream",
    ))
}
