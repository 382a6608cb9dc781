//! What the tests of the event store append and how they look at it: the same for every adapter.

use std::sync::Arc;

use bytes::Bytes;
use domain::{EventId, Position, StreamName};
use infra::event_store::{
    EventStore, NewEvent, READ_EVENTS_MAX, RecordedEvent, Subscription, SubscriptionItem,
};
use uuid::Uuid;

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

/// An event whose id follows from `number`.
pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent {
        id: event_id(number),
        event_type: if number.is_multiple_of(2) {
            "test-even"
        } else {
            "test-odd"
        }
        .into(),
        schema: 1,
        data: Bytes::from(format!(r#"{{"number":{number}}}"#)),
        metadata: Bytes::from_static(b"{}"),
    }
}

pub(crate) fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<NewEvent> {
    numbers.into_iter().map(event).collect()
}

pub(crate) fn event_id(number: u64) -> EventId {
    EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()))
}

/// The whole log, in order.
pub(crate) async fn all(store: &dyn EventStore) -> Vec<Arc<RecordedEvent>> {
    let mut log: Vec<Arc<RecordedEvent>> = Vec::new();
    loop {
        let after = log.last().map_or(Position::ZERO, |event| event.position);
        let page = store.read_all(after, READ_EVENTS_MAX).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// What a subscription yields before it has caught up.
pub(crate) async fn catch_up(subscription: &mut Subscription) -> Vec<Arc<RecordedEvent>> {
    let mut seen = Vec::new();
    loop {
        match subscription.next().await.unwrap() {
            SubscriptionItem::Events(events) => seen.extend(events),
            SubscriptionItem::CaughtUp => return seen,
        }
    }
}
