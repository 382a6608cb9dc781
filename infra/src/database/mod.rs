//! The read database: a SQLite file or a PostgreSQL server, behind one type that owns the choice.
//! A statement is written once, with `$1` for its first value; where the dialects differ, the text
//! is made by [`Table`]. It is deliberately no query builder, and it knows nothing of read models.

mod error;
mod file;
mod table;
mod value;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteArguments, SqlitePool};
use sqlx::{Arguments as _, AssertSqlSafe, Postgres, Sqlite};
use tokio::sync::watch;

pub use error::{DatabaseError, Fault};
pub(crate) use table::json;
pub use table::{Column, Index, Shape, Table, flag, id, int, micros, micros_if_any, text, time};
pub use value::{AsJson, FromColumn, Row, Value};

/// Connections to a PostgreSQL server at most; who needs another waits up to [`ACQUIRE_MAX`] and is
/// then told that the database is away.
const SERVER_CONNECTIONS_MAX: u32 = 16;

/// How long a request waits for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

/// How long the old connections of a damaged file are waited for before it is moved aside anyway;
/// they then read a file that nobody sees any more.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A handle on the read database. Cheap to clone; clones are the same database.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    target: Target,
    /// Absent while a damaged file is replaced.
    pools: RwLock<Option<Pools>>,
    /// How often the file was replaced: an error on an old connection says nothing of the new file.
    epoch: AtomicU64,
    /// The newest epoch in which damage was met; see [`Database::damaged`].
    damaged: watch::Sender<Option<u64>>,
    /// Changes when a checkpoint moved in this process.
    progress: watch::Sender<u64>,
    /// How many in this process wait for each checkpoint and cannot be kept waiting.
    hurry: watch::Sender<BTreeMap<&'static str, usize>>,
}

enum Target {
    File(PathBuf),
    Server,
}

#[derive(Clone)]
enum Pools {
    File {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Server(PgPool),
}

/// Which SQL is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// The function that gives the greatest of its values.
    pub const fn greatest(self) -> &'static str {
        match self {
            Self::Sqlite => "max",
            Self::Postgres => "GREATEST",
        }
    }
}

impl Database {
    /// Opens `postgres://…` (or `postgresql://…`), `sqlite:PATH` or a plain path.
    ///
    /// A file that is missing is made; one that is damaged is moved aside (`….damaged-SECONDS`, of
    /// which the newest is kept) and an empty one takes its place, to be filled from the log. A
    /// server need not be there yet: connections are made when needed.
    pub async fn open(url_or_path: &str) -> Result<Self, DatabaseError> {
        let server = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url_or_path.starts_with(scheme));
        let (target, pools) = if server {
            let options: PgConnectOptions = url_or_path
                .parse()
                .map_err(|error| DatabaseError::new("read the database URL", error))?;
            (Target::Server, Pools::Server(server_pool(tuned(options))))
        } else {
            let path = PathBuf::from(url_or_path.strip_prefix("sqlite:").unwrap_or(url_or_path));
            let (writer, readers) = file::open(&path).await?;
            (Target::File(path), Pools::File { writer, readers })
        };
        Ok(Self(Arc::new(Inner {
            target,
            pools: RwLock::new(Some(pools)),
            epoch: AtomicU64::new(0),
            damaged: watch::Sender::new(None),
            progress: watch::Sender::new(0),
            hurry: watch::Sender::new(BTreeMap::new()),
        })))
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.0.target {
            Target::File(_) => Dialect::Sqlite,
            Target::Server => Dialect::Postgres,
        }
    }

    /// Begins to read: what the transaction sees stands still from its first query on.
    pub async fn read(&self) -> Result<Transaction, DatabaseError> {
        const WHAT: &str = "begin to read the database";
        let epoch = self.epoch();
        let open = match self.pools(WHAT)? {
            Pools::File { readers, .. } => readers.begin().await.map(Open::File),
            Pools::Server(pool) => pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map(Open::Server),
        };
        self.transaction(epoch, open, WHAT)
    }

    /// Begins to write. A file has one writer at a time; others wait.
    pub async fn write(&self) -> Result<Transaction, DatabaseError> {
        const WHAT: &str = "begin to write to the database";
        let epoch = self.epoch();
        let open = match self.pools(WHAT)? {
            Pools::File { writer, .. } => {
                writer.begin_with("BEGIN IMMEDIATE").await.map(Open::File)
            }
            Pools::Server(pool) => pool.begin().await.map(Open::Server),
        };
        self.transaction(epoch, open, WHAT)
    }

    /// Waits until damage to the file is met that was not repaired yet.
    pub async fn damaged(&self) {
        let mut damaged = self.0.damaged.subscribe();
        let ours = |at: &Option<u64>| *at == Some(self.epoch());
        // The sender lives as long as `self`, so that this cannot end otherwise.
        let _ = damaged.wait_for(ours).await;
    }

    /// Moves a damaged file aside and opens an empty one in its place. Readers are turned away
    /// meanwhile. Without damage, or on a server, it does nothing.
    pub async fn replace_damaged(&self) -> Result<(), DatabaseError> {
        let Target::File(path) = &self.0.target else {
            return Ok(());
        };
        if *self.0.damaged.borrow() != Some(self.epoch()) {
            return Ok(());
        }
        let old = self.0.pools.write().take();
        if let Some(Pools::File { writer, readers }) = old {
            let closed = async { tokio::join!(writer.close(), readers.close()) };
            if tokio::time::timeout(CLOSE_MAX, closed).await.is_err() {
                tracing::warn!("readers still hold the damaged read database; it is moved anyway");
            }
        }
        file::move_aside(path)?;
        let (writer, readers) = file::open(path).await?;
        *self.0.pools.write() = Some(Pools::File { writer, readers });
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Tells those who wait for a checkpoint in this process that one moved.
    pub fn announce_progress(&self) {
        self.0
            .progress
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes when a checkpoint moved in this process. A hint: other processes move them too.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.0.progress.subscribe()
    }

    /// Asks that these checkpoints move without rest, as long as the answer is kept. Other processes do
    /// not hear of it.
    pub fn hurry(&self, names: impl IntoIterator<Item = &'static str>) -> Hurry {
        let names: Vec<&'static str> = names.into_iter().collect();
        self.0.hurry.send_modify(|hurry| {
            for name in &names {
                *hurry.entry(name).or_default() += 1;
            }
        });
        Hurry {
            names,
            database: self.clone(),
        }
    }

    /// Waits until somebody in this process asks that the checkpoint `name` moves without rest.
    pub async fn hurried(&self, name: &str) {
        let mut hurry = self.0.hurry.subscribe();
        // The sender lives as long as `self`, so that this cannot end otherwise.
        let _ = hurry.wait_for(|hurry| hurry.contains_key(name)).await;
    }

    /// Closes all connections; a file is then complete without its side files.
    pub async fn close(&self) {
        let pools = self.0.pools.read().clone();
        match pools {
            Some(Pools::File { writer, readers }) => {
                readers.close().await;
                writer.close().await;
            }
            Some(Pools::Server(pool)) => pool.close().await,
            None => {}
        }
    }

    fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::SeqCst)
    }

    fn pools(&self, what: &'static str) -> Result<Pools, DatabaseError> {
        self.0
            .pools
            .read()
            .clone()
            .ok_or_else(|| DatabaseError::replacing(what))
    }

    fn transaction(
        &self,
        epoch: u64,
        open: Result<Open, sqlx::Error>,
        what: &'static str,
    ) -> Result<Transaction, DatabaseError> {
        match open {
            Ok(open) => Ok(Transaction {
                open,
                database: self.clone(),
                epoch,
            }),
            Err(error) => Err(self.failed(epoch, what, error)),
        }
    }

    /// Sorts an error; damage is also remembered, for whoever repairs it.
    fn failed(&self, epoch: u64, what: &'static str, error: sqlx::Error) -> DatabaseError {
        let error = DatabaseError::new(what, error);
        if error.fault() == Fault::Damaged {
            self.0.damaged.send_replace(Some(epoch));
        }
        error
    }
}

/// See [`Database::hurry`].
#[must_use = "the hurry ends when it is dropped"]
pub struct Hurry {
    names: Vec<&'static str>,
    database: Database,
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.database.0.hurry.send_modify(|hurry| {
            for name in &self.names {
                if let Entry::Occupied(mut count) = hurry.entry(name) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
        });
    }
}

/// A plan made for an empty table must not be kept while the table fills, a statement must not hang
/// for ever, and a forgotten transaction must not hold old rows.
fn tuned(mut options: PgConnectOptions) -> PgConnectOptions {
    if options.get_application_name().is_none() {
        options = options.application_name("verbatim");
    }
    options.options([
        ("plan_cache_mode", "force_custom_plan"),
        ("statement_timeout", "60s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
        ("timezone", "UTC"),
    ])
}

fn server_pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(SERVER_CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_lazy_with(options)
}

/// What is done is done together, on [`Transaction::commit`], or not at all.
pub struct Transaction {
    open: Open,
    database: Database,
    epoch: u64,
}

enum Open {
    File(sqlx::Transaction<'static, Sqlite>),
    Server(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// Runs a statement; says how many rows it touched.
    pub async fn run(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        let done = match &mut self.open {
            Open::File(open) => match sqlite_arguments(values) {
                Ok(values) => sqlx::query_with(AssertSqlSafe(sql), values)
                    .execute(&mut **open)
                    .await
                    .map(|done| done.rows_affected()),
                Err(error) => Err(sqlx::Error::Encode(error)),
            },
            Open::Server(open) => match postgres_arguments(values) {
                Ok(values) => sqlx::query_with(AssertSqlSafe(sql), values)
                    .execute(&mut **open)
                    .await
                    .map(|done| done.rows_affected()),
                Err(error) => Err(sqlx::Error::Encode(error)),
            },
        };
        done.map_err(|error| self.failed("write to the database", error))
    }

    /// Every row of a query.
    pub async fn all(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        let rows = match &mut self.open {
            Open::File(open) => match sqlite_arguments(values) {
                Ok(values) => sqlx::query_with(AssertSqlSafe(sql), values)
                    .fetch_all(&mut **open)
                    .await
                    .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
                Err(error) => Err(sqlx::Error::Encode(error)),
            },
            Open::Server(open) => match postgres_arguments(values) {
                Ok(values) => sqlx::query_with(AssertSqlSafe(sql), values)
                    .fetch_all(&mut **open)
                    .await
                    .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
                Err(error) => Err(sqlx::Error::Encode(error)),
            },
        };
        rows.map_err(|error| self.failed("read the database", error))
    }

    /// The first row of a query, if it has one.
    pub async fn first(
        &mut self,
        sql: &str,
        values: &[Value],
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// Makes it all so.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        let done = match self.open {
            Open::File(open) => open.commit().await,
            Open::Server(open) => open.commit().await,
        };
        done.map_err(|error| self.database.failed(self.epoch, "commit", error))
    }

    fn failed(&self, what: &'static str, error: sqlx::Error) -> DatabaseError {
        self.database.failed(self.epoch, what, error)
    }
}

fn sqlite_arguments(values: &[Value]) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(*value)?,
            Value::Text(value) => arguments.add(value.as_str())?,
            Value::Id(value) => arguments.add(value.hyphenated().to_string())?,
            Value::Time(value) => arguments.add(table::rfc3339(value))?,
        }
    }
    Ok(arguments)
}

fn postgres_arguments(values: &[Value]) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(*value)?,
            Value::Text(value) => arguments.add(value.as_str())?,
            Value::Id(value) => arguments.add(*value)?,
            Value::Time(value) => arguments.add(*value)?,
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::Database;

    #[tokio::test]
    async fn a_hurry_is_for_what_it_names_and_lasts_as_long_as_somebody_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read.db").display().to_string();
        let database = Database::open(&path).await.unwrap();
        let waiting = tokio::spawn({
            let database = database.clone();
            async move { database.hurried("messages").await }
        });
        let is_hurried = |name: &str| database.hurried(name).now_or_never().is_some();
        let first = database.hurry(["messages", "members"]);
        waiting.await.unwrap();
        let second = database.hurry(["messages"]);
        assert!(is_hurried("messages") && is_hurried("members") && !is_hurried("users"));
        drop(first);
        assert!(is_hurried("messages") && !is_hurried("members"));
        drop(second);
        assert!(!is_hurried("messages"));
    }
}
