//! The event store: one contract suite for every adapter, and what only a file can go through.

/// The adapters that the contract is about here.
macro_rules! on_each_adapter {
    ($contract:ident, $($promise:ident),+) => {
        $contract!(memory, super::Subject::memory(); $($promise),+);
        $contract!(sqlite, super::Subject::sqlite(); $($promise),+);
        $contract!(postgres, super::Subject::postgres().await; $($promise),+);
    };
}

/// The adapters that are compared with the model here.
macro_rules! on_each_durable_adapter {
    ($model:ident) => {
        $model!(sqlite, async { Subject::sqlite_at(start_of_time()) });
        $model!(postgres, Subject::postgres_at(start_of_time()));
    };
}

mod contract;
mod crash;
mod full_disk;
mod given;
mod model;
mod nodes;
mod postgres;
mod server_crash;
mod sqlite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use infra::clock::{Clock, fresh_id};
use infra::event_store::{
    EventStore, LogSchema, MemoryEventStore, PostgresEventStore, SqliteEventStore,
};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

pub(crate) use given::{all, catch_up, event, event_id, events, stream};

/// A store under test that can be closed and opened again.
pub(crate) struct Subject {
    clock: Clock,
    adapter: Adapter,
}

enum Adapter {
    Memory(Arc<MemoryEventStore>),
    Sqlite {
        folder: TempDir,
        store: Arc<SqliteEventStore>,
    },
    Postgres {
        log: Log,
        store: Arc<PostgresEventStore>,
    },
}

impl Subject {
    pub(crate) fn memory() -> Self {
        let clock = Clock::system();
        let adapter = Adapter::Memory(Arc::new(MemoryEventStore::new(clock.clone())));
        Self { clock, adapter }
    }

    pub(crate) fn sqlite() -> Self {
        Self::sqlite_at(Clock::system())
    }

    pub(crate) fn sqlite_at(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, &clock);
        let adapter = Adapter::Sqlite { folder, store };
        Self { clock, adapter }
    }

    pub(crate) async fn postgres() -> Self {
        Self::postgres_at(Clock::system()).await
    }

    pub(crate) async fn postgres_at(clock: Clock) -> Self {
        let log = Log::new().await;
        let store = log.open(&clock).await;
        let adapter = Adapter::Postgres { log, store };
        Self { clock, adapter }
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match &self.adapter {
            Adapter::Memory(store) => Arc::clone(store) as Arc<dyn EventStore>,
            Adapter::Sqlite { store, .. } => Arc::clone(store) as Arc<dyn EventStore>,
            Adapter::Postgres { store, .. } => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }

    /// Closes the store and opens it again; the model, which is never closed, stays.
    pub(crate) async fn reopen(&mut self) {
        match &mut self.adapter {
            Adapter::Memory(_) => {}
            Adapter::Sqlite { folder, store } => {
                store.close().await;
                *store = open(folder, &self.clock);
            }
            Adapter::Postgres { log, store } => {
                store.close().await;
                *store = log.open(&self.clock).await;
            }
        }
    }
}

fn open(folder: &TempDir, clock: &Clock) -> Arc<SqliteEventStore> {
    let path = folder.path().join("log.db");
    Arc::new(SqliteEventStore::open(&path, clock.clone()).unwrap())
}

/// A log of its own on the tests' PostgreSQL; gone with the server.
pub(crate) struct Log {
    pub(crate) url: String,
    pub(crate) schema: LogSchema,
    /// What its connections are called on the server.
    pub(crate) application: String,
}

impl Log {
    pub(crate) async fn new() -> Self {
        Self::at(&shared_server()).await
    }

    pub(crate) async fn at(server: &str) -> Self {
        let schema = fresh_schema();
        PostgresEventStore::migrate(server, &schema).await.unwrap();
        Self::existing(server, &schema)
    }

    pub(crate) fn existing(server: &str, schema: &LogSchema) -> Self {
        let joint = if server.contains('?') { '&' } else { '?' };
        let application = format!("of {schema}");
        Self {
            url: format!("{server}{joint}application_name=of%20{schema}"),
            schema: schema.clone(),
            application,
        }
    }

    /// One more node.
    pub(crate) async fn open(&self, clock: &Clock) -> Arc<PostgresEventStore> {
        let store = PostgresEventStore::open(&self.url, &self.schema, clock.clone()).await;
        Arc::new(store.unwrap())
    }

    /// A way past the adapter.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        let options = options.options([("search_path", self.schema.as_str())]);
        options.connect().await.unwrap()
    }
}

pub(crate) fn shared_server() -> String {
    std::env::var("VERBATIM_TEST_POSTGRES").expect("run the tests with `cargo xtask test`")
}

pub(crate) fn fresh_schema() -> LogSchema {
    LogSchema::parse(&format!("test_{}", fresh_id().simple())).unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_mins(1);
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "it did not come to pass");
        tokio::task::yield_now().await;
    }
}
