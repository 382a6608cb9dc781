//! The only write path: load a stream's state, decide, append with the expected version, try again
//! a bounded number of times.
//!
//! One task per active stream takes what is queued, decides it in order on the evolving state,
//! appends all events at once and then answers. Knows no routes and no users: whoever submits has
//! checked who asks.

mod envelope;
mod error;
mod group;
mod load;
mod task;
mod window;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::{Decider, Position, StreamName, Version};
use infra::event_store::EventStore;
use infra::failure::Failure;
use infra::snapshots::Snapshots;
use lru::LruCache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub use envelope::Envelope;
pub use error::ExecuteError;
pub use window::COMMANDS_REMEMBERED_MAX;

use task::StreamTask;

/// Commands that may wait for one stream; one more is [`ExecuteError::Busy`].
pub const QUEUE_MAX: usize = 1_024;

/// Commands that are decided and appended together at most; the rest waits for the next append.
pub const GROUP_MAX: usize = 256;

/// Snapshots that are written at the same time; a stream that finds no free place tries again
/// after its next append.
const SNAPSHOT_WRITES_MAX: usize = 4;

/// How many of the longest unused streams are looked at for one that may be dropped. Where all of
/// them have commands waiting, a command for a further stream is [`ExecuteError::Busy`].
const EVICTION_LOOKS_MAX: usize = 16;

/// The bounds that a composition root or a test may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams whose state is kept in memory. The longest unused one goes first and is loaded
    /// again when needed.
    pub active_streams_max: NonZeroUsize,
    /// How long the state of an unused stream is kept.
    pub idle_max: Duration,
    /// A snapshot is written after this many events.
    pub snapshot_every_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            active_streams_max: NonZeroUsize::MIN.saturating_add(2_047),
            idle_max: Duration::from_mins(5),
            snapshot_every_events: 500,
        }
    }
}

/// What an accepted command answers; a retry gets the same, as long as the stream remembers the
/// command: [`COMMANDS_REMEMBERED_MAX`] others later, or for one that changed nothing after a
/// restart, it is decided anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Version of the command's first event; for a command that changed nothing, the version the
    /// stream was at.
    pub seq: Version,
    /// Position of the command's last event; for a command that changed nothing, of the stream's.
    pub position: Position,
    /// Whether the command made events.
    pub changed: bool,
}

type Outcome<D> = Result<Done, ExecuteError<<D as Decider>::Refusal>>;

/// Carries out commands on the streams that `D` decides for. Cheap to clone; clones are the same
/// executor.
pub struct Executor<D: Decider> {
    shared: Arc<Shared<D>>,
}

impl<D: Decider> Clone for Executor<D> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What the executor and its tasks share.
struct Shared<D: Decider> {
    store: Arc<dyn EventStore>,
    snapshots: Arc<dyn Snapshots>,
    snapshot_writes: Arc<Semaphore>,
    /// Of the snapshots this program writes and reads.
    shape: String,
    limits: Limits,
    streams: Mutex<Streams<D>>,
    tasks: TaskTracker,
}

struct Streams<D: Decider> {
    open: bool,
    /// Tells a stream's task from an earlier one of the same stream.
    tasks_started: u64,
    active: LruCache<StreamName, Active<D>>,
}

/// The task of a stream, as seen from outside.
struct Active<D: Decider> {
    number: u64,
    queue: mpsc::Sender<Queued<D>>,
    /// Commands that were queued and are not answered yet.
    unanswered: Arc<AtomicUsize>,
}

/// A command that waits for its stream's task.
struct Queued<D: Decider> {
    envelope: Envelope,
    command: D::Command,
    answer: oneshot::Sender<Outcome<D>>,
    unanswered: Unanswered,
    /// From queueing to answering, inside the span of whoever asked.
    span: tracing::Span,
}

/// Counts one command until it is dropped.
struct Unanswered(Arc<AtomicUsize>);

impl Unanswered {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer of a submitted command, to come. The command is carried out whether or not somebody
/// waits for this.
pub struct Submitted<D: Decider>(oneshot::Receiver<Outcome<D>>);

impl<D: Decider> Future for Submitted<D> {
    type Output = Result<Done, ExecuteError<D::Refusal>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|dropped| {
                Err(Failure::internal("carry out a command", dropped).into())
            })
        })
    }
}

impl<D: Decider> Executor<D> {
    /// Writes to `store`; keeps snapshots of long streams in `snapshots`.
    ///
    /// # Errors
    /// Where the shape of `D`'s state cannot be described, which is a defect.
    pub fn new(
        store: Arc<dyn EventStore>,
        snapshots: Arc<dyn Snapshots>,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let shared = Shared {
            store,
            snapshots,
            snapshot_writes: Arc::new(Semaphore::new(SNAPSHOT_WRITES_MAX)),
            shape: load::shape_of::<D>()?,
            limits,
            streams: Mutex::new(Streams {
                open: true,
                tasks_started: 0,
                active: LruCache::unbounded(),
            }),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Queues `command` for `stream` and returns at once; the answer comes from the future, once
    /// the events are on disk. Commands of one stream are decided in the order in which they were
    /// submitted, so that one caller may have many under way. Whoever keeps fewer than
    /// [`QUEUE_MAX`] of a stream under way, and is alone with it, never finds it busy.
    ///
    /// # Errors
    /// [`ExecuteError::Busy`] and [`ExecuteError::Closing`]; nothing was queued then. Everything
    /// else comes from the future.
    pub fn submit(
        &self,
        stream: &StreamName,
        envelope: Envelope,
        command: D::Command,
    ) -> Result<Submitted<D>, ExecuteError<D::Refusal>> {
        let (answer, submitted) = oneshot::channel();
        let span = tracing::info_span!(
            "command",
            %stream,
            id = %envelope.id(),
            actor = %envelope.metadata().actor,
            traceparent = envelope.metadata().traceparent,
        );
        let mut streams = self.shared.streams.lock();
        if !streams.open {
            return Err(ExecuteError::Closing);
        }
        let active = self.active(&mut streams, stream)?;
        let queued = Queued {
            envelope,
            command,
            answer,
            unanswered: Unanswered::count(&active.unanswered),
            span,
        };
        active
            .queue
            .try_send(queued)
            .map_err(|_| ExecuteError::Busy)?;
        Ok(Submitted(submitted))
    }

    /// Queues `command` for `stream` and waits for its answer.
    pub async fn execute(
        &self,
        stream: &StreamName,
        envelope: Envelope,
        command: D::Command,
    ) -> Result<Done, ExecuteError<D::Refusal>> {
        self.submit(stream, envelope, command)?.await
    }

    /// Takes no more commands and returns when those that were taken are answered.
    pub async fn close(&self) {
        {
            let mut streams = self.shared.streams.lock();
            streams.open = false;
            streams.active.clear();
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Streams that have a task.
    pub fn active_streams(&self) -> usize {
        self.shared.streams.lock().active.len()
    }

    /// The task of `stream`; starts it where there is none.
    fn active<'a>(
        &self,
        streams: &'a mut Streams<D>,
        stream: &StreamName,
    ) -> Result<&'a Active<D>, ExecuteError<D::Refusal>> {
        // A task whose queue is closed died of a defect; another takes its place.
        let alive = streams
            .active
            .get(stream)
            .is_some_and(|active| !active.queue.is_closed());
        if !alive {
            streams.make_room(self.shared.limits.active_streams_max)?;
            let (queue, queued) = mpsc::channel(QUEUE_MAX);
            streams.tasks_started += 1;
            let number = streams.tasks_started;
            let task = StreamTask::new(Arc::clone(&self.shared), stream.clone(), number, queued);
            self.shared.tasks.spawn(task.run());
            let active = Active {
                number,
                queue,
                unanswered: Arc::default(),
            };
            streams.active.put(stream.clone(), active);
        }
        streams.active.get(stream).ok_or(ExecuteError::Busy)
    }
}

impl<D: Decider> Streams<D> {
    /// Drops the longest unused stream where there are as many as may be. One with commands under
    /// way stays: a second task of the same stream could overtake it.
    fn make_room<R>(&mut self, active_max: NonZeroUsize) -> Result<(), ExecuteError<R>> {
        if self.active.len() < active_max.get() {
            return Ok(());
        }
        let unused = self
            .active
            .iter()
            .rev()
            .take(EVICTION_LOOKS_MAX)
            .find(|(_, active)| active.unanswered.load(Ordering::Relaxed) == 0)
            .map(|(stream, _)| stream.clone())
            .ok_or(ExecuteError::Busy)?;
        self.active.pop(&unused);
        Ok(())
    }
}

impl<D: Decider> Shared<D> {
    /// Forgets the stream's idle task number `number`, unless something is queued for it.
    fn retire(&self, stream: &StreamName, number: u64, queue: &mpsc::Receiver<Queued<D>>) -> bool {
        let mut streams = self.streams.lock();
        if !queue.is_empty() {
            return false;
        }
        let is_mine = streams
            .active
            .peek(stream)
            .is_some_and(|active| active.number == number);
        if is_mine {
            streams.active.pop(stream);
        }
        true
    }
}
