//! The event store: one contract suite for every adapter, and what only a file can go through.

mod contract;
mod crash;
mod full_disk;
mod model;
mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use domain::{EventId, Position, StreamName};
use infra::clock::Clock;
use infra::event_store::{
    EventStore, MemoryEventStore, NewEvent, READ_EVENTS_MAX, RecordedEvent, SqliteEventStore,
    Subscription, SubscriptionItem,
};
use tempfile::TempDir;
use uuid::Uuid;

/// A store under test that can be closed and opened again.
pub(crate) enum Subject {
    Memory(Arc<MemoryEventStore>),
    Sqlite {
        folder: TempDir,
        store: Arc<SqliteEventStore>,
    },
}

impl Subject {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(MemoryEventStore::new(Clock::system())))
    }

    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        Self::Sqlite { folder, store }
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Memory(store) => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Sqlite { store, .. } => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }

    /// Closes the store and opens it again; the model, which is never closed, stays.
    pub(crate) async fn reopen(&mut self) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite { folder, store } => {
                store.close().await;
                *store = open(folder);
            }
        }
    }
}

fn open(folder: &TempDir) -> Arc<SqliteEventStore> {
    let path = folder.path().join("log.db");
    Arc::new(SqliteEventStore::open(&path, Clock::system()).unwrap())
}

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
        },
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
