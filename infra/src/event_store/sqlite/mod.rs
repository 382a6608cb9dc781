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
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use self::reader::Readers;
use self::tail::Tail;
use self::unindexed::Unindexed;
use self::writer::{APPEND, Request, Writer};
use super::memory::check_batch;
use crate::clock::Clock;
use crate::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, NewEvent, READ_EVENTS_MAX,
    RecordedEvent,
};
use crate::failure::Failure;

/// Appends that wait for the writer; one more is refused as unavailable.
const QUEUED_REQUESTS_MAX: usize = 4_096;

/// KiB of data and metadata that wait for the writer; an append for which there is no room is
/// refused as unavailable. One that is larger than all of it may still go alone.
const QUEUED_KIB_MAX: u32 = 64 * 1024;

/// A log in one `SQLite` file.
pub struct SqliteEventStore {
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    room: Arc<Semaphore>,
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
        let (queue, requests) = mpsc::channel(QUEUED_REQUESTS_MAX);
        let writer = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(requests))
            .map_err(|error| Failure::internal("open the log", error))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(QUEUED_KIB_MAX as usize)),
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
        *self.queue.lock() = None;
        self.writer.lock().take()
    }

    fn enqueue(&self, request: Request) -> Result<(), Failure> {
        let queue = self.queue.lock();
        let closed = || Failure::unavailable(APPEND, "the event store was closed");
        let queue = queue.as_ref().ok_or_else(closed)?;
        queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => {
                Failure::internal(APPEND, "the log's writer is gone")
            }
        })
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

fn busy() -> Failure {
    Failure::unavailable(APPEND, "too many appends are waiting")
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
        let sizes = events.iter().map(|e| e.data.len() + e.metadata.len());
        let kib = u32::try_from(sizes.sum::<usize>() / 1024 + 1).unwrap_or(QUEUED_KIB_MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(kib.min(QUEUED_KIB_MAX))
            .map_err(|_| busy())?;
        let (answer, answered) = oneshot::channel();
        self.enqueue(Request {
            stream: stream.clone(),
            expected,
            events,
            answer,
            room,
        })?;
        answered
            .await
            .map_err(|_| Failure::internal(APPEND, "the log's writer is gone"))?
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
