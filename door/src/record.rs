//! Puts on the record that an auditor reads, before the first event is handed out.

use std::fmt::Write as _;

use domain::audit::{AuditEvent, Replayed, Selection};
use domain::{Actor, CommandId, Metadata, StreamName};
use infra::clock::fresh_id;
use infra::event_store::{AppendError, EventStore, Expected, NewEvent};
use infra::failure::Failure;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::access::Visitor;
use crate::statuses::failure;

/// Records what `visitor` is about to read. Who holds the token of the settings is not recorded: they
/// are programs of the operator's, and the other roles are among them.
pub(crate) async fn record(
    store: &dyn EventStore,
    visitor: &Visitor,
    selection: Selection,
) -> Result<(), Status> {
    match visitor {
        Visitor::Service => Ok(()),
        Visitor::Auditor(known) => record_of(store, Actor::User(known.user), selection).await,
        Visitor::Holder { actor, .. } => record_of(store, *actor, selection).await,
    }
    .map_err(|error| failure(&error))
}

async fn record_of(
    store: &dyn EventStore,
    actor: Actor,
    selection: Selection,
) -> Result<(), Failure> {
    const WHAT: &str = "put a reading on the record";
    let body = serde_json::to_vec(&selection).map_err(|error| Failure::internal(WHAT, error))?;
    let mut command_hash = String::with_capacity(32);
    for byte in &Sha256::digest(&body)[..16] {
        // Writing into a string cannot fail.
        let _ = write!(command_hash, "{byte:02x}");
    }
    let metadata = Metadata {
        actor,
        // Not a retry of anything: each reading is on the record by itself.
        command_id: CommandId(fresh_id()),
        command_hash,
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    };
    let replayed = AuditEvent::Replayed(Replayed { selection });
    let event = NewEvent::encode(&replayed.into(), &metadata, 0)?;
    let recorded = store
        .append(&StreamName::audit(), Expected::Any, vec![event])
        .await;
    match recorded {
        Ok(_) => Ok(()),
        Err(AppendError::Failure(failure)) => Err(failure),
        Err(error @ (AppendError::Conflict { .. } | AppendError::Invalid(_))) => {
            Err(Failure::internal(WHAT, error))
        }
    }
}
