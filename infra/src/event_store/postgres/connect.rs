//! How connections to the server are set up, and the name of the schema that the log lives in.

use std::fmt;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgPool, PgSeverity};

use super::schema::{self, LogError};
use crate::database::Fault;
use crate::failure::Failure;

/// How long making a connection may take.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The schema of a log, and so the log: two logs may be in one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSchema(String);

impl LogSchema {
    /// The longest name, in bytes: it is also the name of the channel on which the log's growth is
    /// told, and PostgreSQL cuts longer ones.
    pub const BYTES_MAX: usize = 63;

    /// Takes a name of lower-case letters, digits and underscores that does not begin with a digit
    /// or with `pg_`.
    pub fn parse(name: &str) -> Result<Self, LogError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = |c: char| !c.is_ascii_digit();
        let fits = name.len() <= Self::BYTES_MAX
            && name.chars().all(plain)
            && name.chars().next().is_some_and(begins)
            && !name.starts_with("pg_");
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(LogError::SchemaName(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogSchema {
    fn default() -> Self {
        Self("verbatim_log".to_owned())
    }
}

impl fmt::Display for LogSchema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What every connection to the log is told. Plans are made once and without looking at how large
/// the tables are: they are empty when the first plans are made, and only indexes are right later.
/// A peer that is gone is noticed by the server in seconds, not hours. A pooler in between would have
/// to pass all of this on, and to give each connection a session of its own.
pub(crate) fn options(url: &str, schema: &LogSchema) -> Result<PgConnectOptions, Failure> {
    let mut options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| Failure::internal("read the event store's URL", error))?;
    if options.get_application_name().is_none() {
        options = options.application_name("verbatim");
    }
    let options = options.options([
        ("search_path", schema.as_str()),
        ("default_transaction_isolation", "read committed"),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        ("statement_timeout", "20s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "20s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
        ("timezone", "UTC"),
    ]);
    Ok(options.disable_statement_logging())
}

/// Makes one connection, or says within [`CONNECT_MAX`] that it cannot.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    within(CONNECT_MAX, options.connect()).await
}

/// Makes a connection on which appends are on disk once they are answered.
pub(crate) async fn open_for_writing(
    options: &PgConnectOptions,
) -> Result<PgConnection, sqlx::Error> {
    prepare_for_writing(connect(options).await?).await
}

/// Where the server, the database or the user is set up to answer before the disk has it, this
/// connection is not. Stricter settings, which wait for other servers too, stay.
pub(crate) async fn prepare_for_writing(
    mut connection: PgConnection,
) -> Result<PgConnection, sqlx::Error> {
    let strict = "SELECT set_config('synchronous_commit', 'on', false) \
                  WHERE current_setting('synchronous_commit') = 'off'";
    within(CONNECT_MAX, sqlx::query(strict).execute(&mut connection)).await?;
    Ok(connection)
}

/// A server that never syncs cannot be told otherwise by its users.
pub(crate) async fn warn_if_not_durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let fsync = sqlx::query_scalar("SELECT current_setting('fsync')").fetch_one(connection);
    let fsync: String = within(CONNECT_MAX, fsync).await?;
    if fsync == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: acknowledged events may be lost");
    }
    Ok(())
}

/// Refuses a schema that is not the one of this program.
pub(crate) async fn open(options: &PgConnectOptions, schema: &LogSchema) -> Result<(), LogError> {
    schema::open(options, schema).await.map(drop)
}

/// Has `work` done on a connection of `pool`. One that did not answer within `length` is given up,
/// because nobody knows what it would say next.
pub(crate) async fn run<T>(
    pool: &PgPool,
    length: Duration,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let done = within(length, work(&mut connection)).await;
    if matches!(done, Err(sqlx::Error::Io(_))) {
        connection.close_on_drop();
    }
    done
}

/// Waits for `work` for as long as `length`.
pub(crate) async fn within<T>(
    length: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(length, work)
        .await
        .unwrap_or_else(|_| {
            let late = format!("no answer within {} s", length.as_secs());
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, late);
            Err(sqlx::Error::Io(late))
        })
}

/// What became of an operation, as a fault of ours. A full disk is told apart only where it is
/// certain that nothing was written.
pub(crate) fn failure(what: &'static str, error: sqlx::Error) -> Failure {
    match Fault::of(&error) {
        Fault::Full if is_rolled_back(&error) => Failure::storage_full(what, error),
        Fault::Full | Fault::Away => Failure::unavailable(what, error),
        Fault::Damaged | Fault::Missing | Fault::Refused | Fault::Defect => {
            Failure::internal(what, error)
        }
    }
}

/// Whether the server said that it undid the statement, and goes on. One that ends the session or
/// itself in the middle may have committed first.
pub(crate) fn is_rolled_back(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| error.severity() == PgSeverity::Error)
}

#[cfg(test)]
mod tests {
    use super::LogSchema;

    #[test]
    fn a_schema_has_a_plain_name() {
        for name in ["verbatim_log", "_a", "log2", &"x".repeat(63)] {
            assert_eq!(LogSchema::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "2log", "Log", "pg_log", "a b", "a\"b", &"x".repeat(64)] {
            let refusal = LogSchema::parse(name).unwrap_err().to_string();
            assert!(refusal.contains("cannot name"), "{refusal}");
        }
    }
}
