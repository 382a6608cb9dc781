//! The embedded event store: one `SQLite` file, one writer thread, group commit, a few readers.
//!
//! Nothing outside this folder knows that the log is a table. The file belongs to one process at a
//! time; [`crate::data_folder`] sees to that.

mod checkpoint;
mod reader;
mod schema;
mod streams;
mod tail;
mod unindexed;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use domain::{Position, StreamName, Version};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::reader::Readers;
use self::tail::Tail;
use self::unindexed::Unindexed;
use self::writer::Writer;
use super::memory::check_batch;
use super::queue::Queue;
use crate::clock::Clock;
use crate::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, NewEvent, READ_EVENTS_MAX,
    RecordedEvent,
};
use crate::failure::Failure;

/// A log in one `SQLite` file.
pub struct SqliteEventStore {
    queue: Queue,
    readers: Arc<Readers>,
    tail: Arc<Tail>,
    head: watch::Receiver<Position>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteEventStore {
    /// Opens the log in the file `path`; makes it where there is none. Blocks for milliseconds, after
    /// a crash for as long as it takes to read the write-ahead log (256 MiB at most, as a rule).
    ///
    /// # Errors
    /// The file is no log of ours, was written by a newer version of the program, or cannot be
    /// opened.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, Failure> {
        let tail = Arc::new(Tail::default());
        let unindexed = Arc::new(Unindexed::default());
        let writer = Writer::open(path, clock, Arc::clone(&tail), Arc::clone(&unindexed))?;
        let head = writer.head();
        let (queue, requests) = Queue::new();
        let writer = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(requests))
            .map_err(|error| Failure::internal("open the log", error))?;
        Ok(Self {
            queue,
            readers: Arc::new(Readers::new(
                path,
                head.clone(),
                Arc::clone(&tail),
                unindexed,
            )),
            tail,
            head,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Takes no more appends, finishes those that were taken, ends the writer and closes the file.
    /// Reads of the file are refused from the start, so that a subscription that is far behind ends
    /// before it has yielded everything. Dropping the store does the same, but blocks the thread
    /// meanwhile.
    pub async fn close(&self) {
        let Some(writer) = self.stop() else {
            return;
        };
        if let Err(error) = tokio::task::spawn_blocking(move || join(writer)).await {
            tracing::error!(%error, "nobody waited for the log's writer");
        }
    }

    fn stop(&self) -> Option<JoinHandle<()>> {
        self.readers.close();
        self.queue.close();
        self.writer.lock().take()
    }
}

impl Drop for SqliteEventStore {
    fn drop(&mut self) {
        if let Some(writer) = self.stop() {
            join(writer);
        }
    }
}

fn join(writer: JoinHandle<()>) {
    if writer.join().is_err() {
        tracing::error!("the log's writer panicked");
    }
}

#[async_trait]
impl EventStore for SqliteEventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check_batch(&events)?;
        self.queue.append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let stream = stream.clone();
        let limit = limit.min(READ_EVENTS_MAX);
        self.readers
            .run(move |reader| reader.read_stream(&stream, from, direction, limit))
            .await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let limit = limit.min(READ_EVENTS_MAX);
        if let Some(events) = self.tail.after(after, limit) {
            return Ok(events);
        }
        self.readers
            .run(move |reader| reader.read_all(after, limit))
            .await
    }

    fn head(&self) -> watch::Receiver<Position> {
        let mut head = self.head.clone();
        head.mark_unchanged();
        head
    }
}
