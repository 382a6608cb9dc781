//! What the tests of the guard share.

use std::sync::Arc;

use domain::{Actor, CommandId, Event, Metadata, StreamName};

use crate::clock::fresh_id;
use crate::event_store::{EventStore, Expected, NewEvent};

/// Appends `event`, whatever is there.
pub(super) async fn append(store: &Arc<dyn EventStore>, stream: &StreamName, event: Event) {
    let metadata = Metadata {
        actor: Actor::System,
        command_id: CommandId(fresh_id()),
        command_hash: String::new(),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    };
    let event = NewEvent::encode(&event, &metadata, 0).unwrap();
    let appended = store.append(stream, Expected::Any, vec![event]).await;
    appended.unwrap();
}
