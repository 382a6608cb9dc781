//! The index of a batch: what was published, so that a listener knows what it must have got.

use bytes::Bytes;
use domain::{Position, StreamName, Version};
use serde::{Deserialize, Serialize};

use crate::event_store::RecordedEvent;
use std::sync::Arc;

/// What was published after `after`, up to `up_to`, with nothing left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) after: Position,
    pub(super) up_to: Position,
    pub(super) events: Vec<Indexed>,
}

/// One event: position, stream, version, type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Indexed(
    pub(super) Position,
    pub(super) StreamName,
    pub(super) Version,
    pub(super) String,
);

impl Index {
    /// Of `events`, which follow `after` in the log.
    pub(super) fn of(after: Position, events: &[Arc<RecordedEvent>]) -> Self {
        let indexed = |event: &Arc<RecordedEvent>| {
            Indexed(
                event.position,
                event.stream.clone(),
                event.version,
                event.event_type.to_string(),
            )
        };
        Self {
            after,
            up_to: events.last().map_or(after, |event| event.position),
            events: events.iter().map(indexed).collect(),
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}
