//! Reading: events after a position in the order of positions, and events of one stream. Because
//! commits happen in the order of positions there is nothing else to know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{EventId, Position, StreamName, Version};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Error, Postgres, Row as _};
use tokio::sync::Semaphore;

use super::connect::{self, CONNECT_MAX};
use super::to_sql;
use crate::event_store::{Direction, RecordedEvent};
use crate::failure::Failure;

/// Reads at the same time; the next one waits for its turn.
const READERS_MAX: u32 = 8;

/// Reads that run or wait; one more is refused as unavailable.
const READS_MAX: usize = 4_096;

/// How long a read may take before its connection counts as lost.
const READ_MAX: Duration = Duration::from_secs(25);

/// A page of the whole log ends once it has this many bytes of data and metadata.
const PAGE_BYTES_MAX: i64 = 16 * 1024 * 1024;

const READ: &str = "read the log";

/// The columns of [`event`], from a table or rows called `e`.
macro_rules! columns {
    () => {
        "e.position, e.version, e.id, e.type, e.schema, e.recorded_at, e.metadata, e.data"
    };
}

/// Of sizes only the lengths are looked at; data that is not in the page is never fetched.
const ALL: &str = concat!(
    "SELECT ",
    columns!(),
    ", (SELECT s.name FROM streams s WHERE s.id = e.stream_id) FROM (",
    "SELECT *, sum(octet_length(data) + octet_length(metadata)) OVER (ORDER BY position ",
    "ROWS UNBOUNDED PRECEDING) - octet_length(data) - octet_length(metadata) AS bytes_before ",
    "FROM events WHERE position > $1 ORDER BY position LIMIT $2) e ",
    "WHERE e.bytes_before < $3 ORDER BY e.position"
);

const FORWARD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events e WHERE e.stream_id = (SELECT s.id FROM streams s WHERE s.name = $1) ",
    "AND e.version >= $2 ORDER BY e.version LIMIT $3"
);

const BACKWARD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events e WHERE e.stream_id = (SELECT s.id FROM streams s WHERE s.name = $1) ",
    "AND e.version <= $2 ORDER BY e.version DESC LIMIT $3"
);

/// The connections. Opened when first needed; at most [`READERS_MAX`].
pub(super) struct Readers {
    pool: PgPool,
    places: Semaphore,
}

impl Readers {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options);
        Self {
            pool,
            places: Semaphore::new(READS_MAX),
        }
    }

    /// Up to `limit` events of `stream` from `from`.
    pub(super) async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let select = match direction {
            Direction::Forward => FORWARD,
            Direction::Backward => BACKWARD,
        };
        let query = sqlx::query(select)
            .bind(stream.as_str())
            .bind(to_sql(from.0))
            .bind(to_sql(limit as u64));
        self.read(query, |row| event(row, stream.clone())).await
    }

    /// Up to `limit` events after `after`, fewer where they are large.
    pub(super) async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let query = sqlx::query(ALL)
            .bind(to_sql(after.0))
            .bind(to_sql(limit as u64))
            .bind(PAGE_BYTES_MAX);
        let named = |row: &PgRow| {
            let stream = StreamName::parse(row.try_get(8)?);
            event(row, stream.map_err(|error| Error::Decode(error.into()))?)
        };
        self.read(query, named).await
    }

    async fn read(
        &self,
        query: Query<'_, Postgres, PgArguments>,
        event: impl Fn(&PgRow) -> Result<RecordedEvent, Error>,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Failure::unavailable(READ, "too many reads at once"));
        };
        let failed = |error| connect::failure(READ, error);
        let rows = connect::run(&self.pool, READ_MAX, async |connection| {
            query.fetch_all(connection).await
        });
        let events = rows.await.map_err(failed)?;
        let events = events.iter().map(|row| event(row).map(Arc::new));
        events.collect::<Result<_, _>>().map_err(failed)
    }

    /// Closes the connections; later reads are refused as unavailable.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

fn event(row: &PgRow, stream: StreamName) -> Result<RecordedEvent, Error> {
    let number = |column| row.try_get::<i64, usize>(column).map(i64::cast_unsigned);
    let bytes = |column| {
        row.try_get::<&[u8], usize>(column)
            .map(Bytes::copy_from_slice)
    };
    let schema: i32 = row.try_get(4)?;
    Ok(RecordedEvent {
        position: Position(number(0)?),
        stream,
        version: Version(number(1)?),
        id: EventId(row.try_get(2)?),
        event_type: row.try_get::<&str, usize>(3)?.into(),
        schema: u16::try_from(schema).map_err(|error| Error::Decode(error.into()))?,
        recorded_at: row.try_get(5)?,
        metadata: bytes(6)?,
        data: bytes(7)?,
    })
}
