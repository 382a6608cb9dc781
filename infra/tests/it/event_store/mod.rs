//! The event store: one contract suite for every adapter, and what only a file can go through.

mod contract;
mod crash;
mod full_disk;
mod given;
mod model;
mod sqlite;

use std::sync::Arc;

use infra::clock::Clock;
use infra::event_store::{EventStore, MemoryEventStore, SqliteEventStore};
use tempfile::TempDir;

pub(crate) use given::{all, catch_up, event, event_id, events, stream};

/// A store under test that can be closed and opened again.
pub(crate) enum Subject {
    Memory(Arc<MemoryEventStore>),
    Sqlite {
        folder: TempDir,
        clock: Clock,
        store: Arc<SqliteEventStore>,
    },
}

impl Subject {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(MemoryEventStore::new(Clock::system())))
    }

    pub(crate) fn sqlite() -> Self {
        Self::sqlite_with(Clock::system())
    }

    pub(crate) fn sqlite_with(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, &clock);
        Self::Sqlite {
            folder,
            clock,
            store,
        }
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
            Self::Sqlite {
                folder,
                clock,
                store,
            } => {
                store.close().await;
                *store = open(folder, clock);
            }
        }
    }
}

fn open(folder: &TempDir, clock: &Clock) -> Arc<SqliteEventStore> {
    let path = folder.path().join("log.db");
    Arc::new(SqliteEventStore::open(&path, clock.clone()).unwrap())
}
