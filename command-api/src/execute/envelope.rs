//! Who asks, by which command: what goes into the metadata of the events it makes.

use chrono::{DateTime, Utc};
use domain::{Actor, CommandId, Metadata};
use infra::failure::Failure;
use infra::keys::hex;
use infra::trace::TraceParent;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What a command carries besides what it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    metadata: Metadata,
}

impl Envelope {
    /// The command `id` of `actor`. `body` is all that was asked; the same id with another body is
    /// refused. Takes the trace of the current task.
    ///
    /// # Errors
    /// Only when `body` cannot be written as JSON.
    pub fn new(actor: Actor, id: CommandId, body: &impl Serialize) -> Result<Self, Failure> {
        let body =
            serde_json::to_vec(body).map_err(|error| Failure::internal("hash a command", error))?;
        Ok(Self {
            metadata: Metadata {
                actor,
                command_id: id,
                command_hash: hex(&Sha256::digest(body)[..16]),
                correlation_id: None,
                causation_id: None,
                traceparent: TraceParent::current().map(|trace| trace.to_string()),
                occurred_at: None,
            },
        })
    }

    /// Says when it happened, where that is not now: imported history.
    #[must_use]
    pub fn occurred_at(mut self, at: DateTime<Utc>) -> Self {
        self.metadata.occurred_at = Some(at);
        self
    }

    /// Says of which command this is a consequence, and which one began it all.
    #[must_use]
    pub fn caused_by(mut self, cause: CommandId, correlation: CommandId) -> Self {
        self.metadata.causation_id = Some(cause);
        self.metadata.correlation_id = Some(correlation);
        self
    }

    /// Who asks.
    pub const fn actor(&self) -> Actor {
        self.metadata.actor
    }

    /// The command's id.
    pub const fn id(&self) -> CommandId {
        self.metadata.command_id
    }

    /// The hash of all that is asked.
    pub fn hash(&self) -> &str {
        &self.metadata.command_hash
    }

    pub(super) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
