//! The tables: made and brought up to date by numbered steps, on demand only, and looked at whenever
//! a store is opened.
//!
//! A step leaves everything in place that the program before it uses, because nodes of that program
//! go on while it is made; what nobody needs any more is dropped by a later one.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::connect::{self, LogSchema};
use crate::failure::Failure;

/// The steps from an empty schema, in order. A step that was released is never changed.
const STEPS: &[&str] = &[
    include_str!("migrations/0001-log.sql"),
    include_str!("migrations/0002-snapshots.sql"),
];

/// Keeps two who migrate apart, with the hash of the schema's name as the second key: "VLOG".
const LOCK: i32 = 0x564c_4f47;

const MIGRATE: &str = "migrate the event store";
const OPEN: &str = "open the event store";

/// Why a log on a server cannot be used as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A name that no schema of ours has.
    #[error(
        "{0:?} cannot name the schema of an event store: 1 to 63 lower-case letters, digits and \
         underscores are allowed, not beginning with a digit or pg_"
    )]
    SchemaName(String),
    /// There is no log, or its tables are older than this program.
    #[error(
        "the event store's schema {schema} is at version {found} and this program needs {known}: \
         run `verbatim migrate`"
    )]
    Older {
        /// Which schema.
        schema: String,
        /// Its version; 0 where there is none.
        found: usize,
        /// The version that this program makes and uses.
        known: usize,
    },
    /// The tables were made by a newer program.
    #[error(
        "the event store's schema {schema} is at version {found}, made by a newer Verbatim; the \
         newest version known to this program is {known}: start the newer program instead"
    )]
    Newer {
        /// Which schema.
        schema: String,
        /// Its version.
        found: usize,
        /// The version that this program makes and uses.
        known: usize,
    },
    /// The server could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was found; 0 where there was no log.
    pub from: usize,
    /// The version now.
    pub to: usize,
}

/// Makes the tables or brings them up to date, all or nothing.
pub(super) async fn migrate(url: &str, schema: &LogSchema) -> Result<Migrated, LogError> {
    migrate_to(url, schema, STEPS.len()).await
}

async fn migrate_to(url: &str, schema: &LogSchema, to: usize) -> Result<Migrated, LogError> {
    let options = connect::options(url, schema)?;
    let failed = |error| connect::failure(MIGRATE, error);
    let mut connection = connect::connect(&options).await.map_err(failed)?;
    let from = prepare(&mut connection, schema, to).await?;
    // Dropping it instead would leave the server to notice.
    connection.close().await.map_err(failed)?;
    Ok(Migrated { from, to })
}

/// One transaction; dropped before its commit it undoes everything.
async fn prepare(
    connection: &mut PgConnection,
    schema: &LogSchema,
    to: usize,
) -> Result<usize, LogError> {
    let failed = |error| connect::failure(MIGRATE, error);
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query(
        "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)",
    )
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCK)
        .bind(schema.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    // Somebody who may not make schemas may have been given one.
    let is_there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(schema.as_str())
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if !is_there {
        run(&mut transaction, format!("CREATE SCHEMA {schema}")).await?;
    }
    let from = version(&mut transaction, schema).await.map_err(failed)?;
    if from > to {
        return Err(newer(schema, from));
    }
    if from == 0 {
        let migrations = "CREATE TABLE migrations (version integer PRIMARY KEY, \
                          made_at timestamptz NOT NULL DEFAULT now())";
        run(&mut transaction, migrations.to_owned()).await?;
    }
    for (step, number) in STEPS[..to].iter().zip(1_i32..).skip(from) {
        run(&mut transaction, (*step).to_owned()).await?;
        sqlx::query("INSERT INTO migrations (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(from)
}

async fn run(connection: &mut PgConnection, statements: String) -> Result<(), LogError> {
    // Made of our own text and a name that was checked.
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map_err(|error| connect::failure(MIGRATE, error))?;
    Ok(())
}

/// The version of the tables; 0 where there are none.
async fn version(connection: &mut PgConnection, schema: &LogSchema) -> Result<usize, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{schema}.migrations"))
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(0);
    }
    let version: i32 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM migrations")
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(version).unwrap_or_default())
}

/// Connects, and refuses tables that are not those of this program.
pub(super) async fn open(
    options: &PgConnectOptions,
    schema: &LogSchema,
) -> Result<PgConnection, LogError> {
    let failed = |error| connect::failure(OPEN, error);
    let mut connection = connect::connect(options).await.map_err(failed)?;
    let asked = connect::within(connect::CONNECT_MAX, version(&mut connection, schema));
    let found = asked.await.map_err(failed)?;
    if found > STEPS.len() {
        return Err(newer(schema, found));
    }
    if found < STEPS.len() {
        return Err(LogError::Older {
            schema: schema.to_string(),
            found,
            known: STEPS.len(),
        });
    }
    Ok(connection)
}

fn newer(schema: &LogSchema, found: usize) -> LogError {
    LogError::Newer {
        schema: schema.to_string(),
        found,
        known: STEPS.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::{LogError, Migrated, STEPS, connect, migrate, migrate_to, open};
    use crate::clock::fresh_id;
    use crate::event_store::LogSchema;

    #[tokio::test]
    async fn every_step_leads_to_the_next_and_each_is_made_once() {
        let url =
            std::env::var("VERBATIM_TEST_POSTGRES").expect("run the tests with `cargo xtask test`");
        let schema = LogSchema::parse(&format!("test_{}", fresh_id().simple())).unwrap();
        let options = connect::options(&url, &schema).unwrap();
        for to in 1..STEPS.len() {
            let migrated = migrate_to(&url, &schema, to).await.unwrap();
            assert_eq!(migrated, Migrated { from: to - 1, to });
            let refused = open(&options, &schema).await.unwrap_err();
            assert!(
                matches!(refused, LogError::Older { found, .. } if found == to),
                "{refused}"
            );
        }
        let to = STEPS.len();
        let last = migrate(&url, &schema).await.unwrap();
        assert_eq!(last, Migrated { from: to - 1, to });
        open(&options, &schema).await.unwrap();
        let none = migrate(&url, &schema).await.unwrap();
        assert_eq!(none, Migrated { from: to, to });
    }
}
