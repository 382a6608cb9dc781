//! The event store on a PostgreSQL server, for several nodes at once.
//!
//! Each node has one writer, which sends whatever is queued as one transaction in one round trip.
//! The transaction locks one row of the schema until it has committed, so that transactions of all
//! nodes commit one after the other, in the order of their positions: whoever reads in the order of
//! positions misses nothing. There are no sequences, which would leave gaps, and nothing is decided
//! by which transactions happen to be running.

mod batch;
pub(crate) mod connect;
mod head;
mod reader;
mod schema;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Position, StreamName, Version};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use self::reader::Readers;
use self::writer::Writer;
use super::memory::check_batch;
use super::queue::Queue;
use crate::clock::Clock;
use crate::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, NewEvent, READ_EVENTS_MAX,
    RecordedEvent,
};
use crate::failure::Failure;

pub use connect::LogSchema;
pub use schema::{LogError, Migrated};

/// Most bytes of data and metadata of one append; more is [`AppendError::Invalid`], because the
/// server could not take it in one message.
const APPEND_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A log in one schema of a PostgreSQL database.
pub struct PostgresEventStore {
    queue: Queue,
    readers: Readers,
    head: watch::Receiver<Position>,
    follower: AbortHandle,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresEventStore {
    /// Makes the log in `schema` of the database at `url`, or brings it up to the version that this
    /// program knows. Nodes that run may go on meanwhile. The user must own the schema or be allowed
    /// to create it.
    pub async fn migrate(url: &str, schema: &LogSchema) -> Result<Migrated, LogError> {
        schema::migrate(url, schema).await
    }

    /// Opens the log in `schema` of the database at `url` (`postgres://…`). `clock` says when events
    /// are recorded.
    ///
    /// # Errors
    /// The server is away, or the schema is not the one of this program; see [`LogError`].
    pub async fn open(url: &str, schema: &LogSchema, clock: Clock) -> Result<Self, LogError> {
        let options = connect::options(url, schema)?;
        let connection = schema::open(&options, schema).await?;
        let prepared = async {
            let mut connection = connect::prepare_for_writing(connection).await?;
            connect::warn_if_not_durable(&mut connection).await?;
            let position = connect::within(connect::CONNECT_MAX, head::read(&mut connection));
            Ok((position.await?, connection))
        };
        let failed = |error| connect::failure("open the event store", error);
        let (position, connection) = prepared.await.map_err(failed)?;
        // Only the two tasks hold it, so that those who follow the head hear of their end.
        let sender = Arc::new(watch::Sender::new(position));
        let head = sender.subscribe();
        let (queue, requests) = Queue::new();
        let follower = head::follow(options.clone(), schema.clone(), Arc::clone(&sender));
        let writer = Writer::new(options.clone(), connection, clock, sender);
        Ok(Self {
            queue,
            readers: Readers::new(options),
            head,
            follower: tokio::spawn(follower).abort_handle(),
            writer: Mutex::new(Some(tokio::spawn(writer.run(requests)))),
        })
    }

    /// Takes no more appends, finishes those that were taken and closes the connections. Dropping
    /// the store does the same, but nobody waits for it.
    pub async fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the log's writer panicked");
        }
        self.follower.abort();
        self.readers.close().await;
    }
}

impl Drop for PostgresEventStore {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Refuses what the server cannot take, which would fail all that is appended with it.
fn check(events: &[NewEvent]) -> Result<(), AppendError> {
    check_batch(events)?;
    let bytes = events.iter().map(|e| e.data.len() + e.metadata.len());
    if bytes.sum::<usize>() > APPEND_BYTES_MAX {
        return Err(AppendError::Invalid("it is larger than 256 MiB"));
    }
    if events.iter().any(|event| event.event_type.contains('\0')) {
        return Err(AppendError::Invalid("an event's type has a NUL in it"));
    }
    Ok(())
}

#[async_trait]
impl EventStore for PostgresEventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check(&events)?;
        self.queue.append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let limit = limit.min(READ_EVENTS_MAX);
        self.readers
            .read_stream(stream, from, direction, limit)
            .await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let limit = limit.min(READ_EVENTS_MAX);
        self.readers.read_all(after, limit).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        let mut head = self.head.clone();
        head.mark_unchanged();
        head
    }
}

/// A number as the server has it. What is too large for it is beyond everything in it.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
