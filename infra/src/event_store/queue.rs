//! The way to the one writer of an adapter: a queue with a bound on appends and on bytes. Whoever
//! finds no room is refused at once as unavailable, nobody waits for room.

use std::sync::Arc;

use domain::StreamName;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{AppendError, Appended, Expected, NewEvent};
use crate::failure::Failure;

/// What a failed append is called in messages.
pub(super) const APPEND: &str = "append to the log";

/// Appends that wait for the writer; one more is refused as unavailable.
const QUEUED_REQUESTS_MAX: usize = 4_096;

/// KiB of data and metadata that wait for the writer; an append for which there is no room is
/// refused as unavailable. One that is larger than all of it may still go alone.
const QUEUED_KIB_MAX: u32 = 64 * 1024;

/// An append that waits for its turn.
pub(super) struct Request {
    pub(super) stream: StreamName,
    pub(super) expected: Expected,
    pub(super) events: Vec<NewEvent>,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Its share of the bytes that may be queued.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) type Answer = Result<Appended, AppendError>;

/// The callers' end.
pub(super) struct Queue {
    /// `None` once closed.
    sender: Mutex<Option<mpsc::Sender<Request>>>,
    room: Arc<Semaphore>,
}

impl Request {
    /// Its bytes of data and metadata.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.events)
    }
}

fn bytes_of(events: &[NewEvent]) -> usize {
    let sizes = events.iter().map(|e| e.data.len() + e.metadata.len());
    sizes.sum()
}

impl Queue {
    /// An empty queue and the writer's end of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(QUEUED_REQUESTS_MAX);
        let queue = Self {
            sender: Mutex::new(Some(sender)),
            room: Arc::new(Semaphore::new(QUEUED_KIB_MAX as usize)),
        };
        (queue, requests)
    }

    /// Queues an append and waits for its answer.
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer {
        let kib = u32::try_from(bytes_of(&events) / 1024 + 1).unwrap_or(QUEUED_KIB_MAX);
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

    fn enqueue(&self, request: Request) -> Result<(), Failure> {
        let sender = self.sender.lock();
        let closed = || Failure::unavailable(APPEND, "the event store was closed");
        let sender = sender.as_ref().ok_or_else(closed)?;
        sender.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => {
                Failure::internal(APPEND, "the log's writer is gone")
            }
        })
    }

    /// Takes no more appends; the writer ends once it has served those that were taken.
    pub(super) fn close(&self) {
        *self.sender.lock() = None;
    }
}

fn busy() -> Failure {
    Failure::unavailable(APPEND, "too many appends are waiting")
}
