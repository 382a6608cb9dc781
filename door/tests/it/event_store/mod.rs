//! The contract of the event store on the adapter of the official client, over a door, over a log in
//! memory and over one on the disk.

/// What the door is on in the contract.
macro_rules! on_each_adapter {
    ($contract:ident, $($promise:ident),+) => {
        $contract!(memory, super::Subject::memory(); $($promise),+);
        $contract!(sqlite, super::Subject::sqlite(); $($promise),+);
    };
}

/// What the door is on where it is compared with the model.
macro_rules! on_each_durable_adapter {
    ($model:ident) => {
        $model!(sqlite, async { Subject::sqlite_at(start_of_time()) });
    };
}

#[path = "../../../../infra/tests/it/event_store/contract.rs"]
mod contract;
#[path = "../../../../infra/tests/it/event_store/given.rs"]
mod given;
#[path = "../../../../infra/tests/it/event_store/model.rs"]
mod model;

use std::sync::Arc;

use door::Deletes;
use infra::clock::Clock;
use infra::event_store::{EventStore, KurrentEventStore, MemoryEventStore, SqliteEventStore};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

pub(crate) use given::{all, catch_up, event, event_id, events, stream};

use crate::harness::Opened;

/// A client of a door, both of which can be closed and opened again.
pub(crate) struct Subject {
    log: Log,
    clock: Clock,
    /// `None` while it is closed.
    open: Option<(Opened, Arc<KurrentEventStore>)>,
}

/// What the door is on.
enum Log {
    Memory(Arc<MemoryEventStore>),
    Sqlite {
        folder: TempDir,
        store: Option<Arc<SqliteEventStore>>,
    },
}

impl Subject {
    pub(crate) fn memory() -> Self {
        let clock = Clock::system();
        let store = Arc::new(MemoryEventStore::new(clock.clone()));
        Self::on(Log::Memory(store), clock)
    }

    pub(crate) fn sqlite() -> Self {
        Self::sqlite_at(Clock::system())
    }

    pub(crate) fn sqlite_at(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = None;
        Self::on(Log::Sqlite { folder, store }, clock)
    }

    fn on(log: Log, clock: Clock) -> Self {
        let mut subject = Self {
            log,
            clock,
            open: None,
        };
        // The suite makes its subjects where it cannot wait.
        block_in_place(|| Handle::current().block_on(subject.open()));
        subject
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        let (_, store) = self.open.as_ref().unwrap();
        Arc::clone(store) as Arc<dyn EventStore>
    }

    pub(crate) async fn reopen(&mut self) {
        let (door, store) = self.open.take().unwrap();
        store.close().await;
        drop(store);
        door.close().await;
        if let Log::Sqlite { store, .. } = &mut self.log {
            store.take().unwrap().close().await;
        }
        self.open().await;
    }

    async fn open(&mut self) {
        let log: Arc<dyn EventStore> = match &mut self.log {
            Log::Memory(store) => Arc::clone(store) as _,
            Log::Sqlite { folder, store } => {
                let path = folder.path().join("log.db");
                let opened = SqliteEventStore::open(&path, self.clock.clone()).unwrap();
                Arc::clone(store.insert(Arc::new(opened))) as _
            }
        };
        let door = Opened::on(log, self.clock.clone(), Deletes::Refused).await;
        let store = KurrentEventStore::open(&door.url()).await.unwrap();
        self.open = Some((door, Arc::new(store)));
    }
}
