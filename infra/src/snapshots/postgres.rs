//! Snapshots in the schema of the log on a PostgreSQL server, for several nodes at once. Of two that
//! write at the same time either may stay.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Position, StreamName, Version};
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{Error, Row as _};

use super::checksum;
use crate::event_store::{LogError, LogSchema, connect};
use crate::failure::Failure;
use crate::snapshots::{Snapshot, Snapshots};

/// Connections at most; who needs another waits up to [`connect::CONNECT_MAX`].
const CONNECTIONS_MAX: u32 = 4;

/// How long a read or a write may take; a stream is then loaded without it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

const READ: &str = "read a snapshot";
const WRITE: &str = "write a snapshot";

/// Snapshots on a server.
pub struct PostgresSnapshots(PgPool);

impl PostgresSnapshots {
    /// Uses the table in `schema` of the database at `url`, which the migration of the log makes.
    ///
    /// # Errors
    /// The server is away, or the schema is not the one of this program; see [`LogError`].
    pub async fn open(url: &str, schema: &LogSchema) -> Result<Self, LogError> {
        // A snapshot that a crash of the server takes away is written again some day.
        let options = connect::options(url, schema)?.options([("synchronous_commit", "off")]);
        connect::open(&options, schema).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(connect::CONNECT_MAX)
            .connect_lazy_with(options);
        Ok(Self(pool))
    }
}

fn snapshot(row: &PgRow) -> Result<(Snapshot, Vec<u8>), Error> {
    let snapshot = Snapshot {
        shape: row.try_get(0)?,
        version: Version(row.try_get::<i64, _>(1)?.cast_unsigned()),
        position: Position(row.try_get::<i64, _>(2)?.cast_unsigned()),
        body: row.try_get::<Vec<u8>, _>(3)?.into(),
    };
    Ok((snapshot, row.try_get(4)?))
}

#[async_trait]
impl Snapshots for PostgresSnapshots {
    async fn read(&self, stream: &StreamName) -> Result<Option<Snapshot>, Failure> {
        let failed = |error| connect::failure(READ, error);
        let select = "SELECT shape, version, position, body, checksum FROM snapshots \
                      WHERE stream = $1";
        let query = sqlx::query(select).bind(stream.as_str());
        let row = connect::run(&self.0, ANSWER_MAX, async |connection| {
            query.fetch_optional(connection).await
        });
        let Some(row) = row.await.map_err(failed)? else {
            return Ok(None);
        };
        let (snapshot, stored) = snapshot(&row).map_err(failed)?;
        let intact = stored == checksum(stream.as_str(), &snapshot);
        if !intact {
            tracing::warn!(%stream, "a damaged snapshot is ignored");
        }
        Ok(intact.then_some(snapshot))
    }

    async fn write(&self, stream: &StreamName, snapshot: Snapshot) -> Result<(), Failure> {
        let upsert = "INSERT INTO snapshots (stream, shape, version, position, body, checksum) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (stream) DO UPDATE SET \
                      shape = excluded.shape, version = excluded.version, \
                      position = excluded.position, body = excluded.body, \
                      checksum = excluded.checksum";
        let checksum = checksum(stream.as_str(), &snapshot);
        let query = sqlx::query(upsert)
            .bind(stream.as_str())
            .bind(&snapshot.shape)
            .bind(snapshot.version.0.cast_signed())
            .bind(snapshot.position.0.cast_signed())
            .bind(&snapshot.body[..])
            .bind(&checksum[..]);
        let written = connect::run(&self.0, ANSWER_MAX, async |connection| {
            query.execute(connection).await
        });
        written
            .await
            .map_err(|error| connect::failure(WRITE, error))?;
        Ok(())
    }
}
