//! What the write path promises, against the store in memory and one that fails on demand.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::conversation::{Act, Command, Conversation, ConversationEvent, Draft, Refused};
use domain::values::{MessageBody, Title};
use domain::{
    Actor, CommandId, ConversationId, Event, Position, StreamName, UserId, Version,
};
use futures::future::join_all;
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, MemoryEventStore, NewEvent,
    RecordedEvent,
};
use infra::failure::Failure;
use infra::problem::Problem;
use infra::snapshots::{MemorySnapshots, Snapshots};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{Envelope, ExecuteError, Executor, Limits, QUEUE_MAX};

const ALICE: UserId = UserId(Uuid::from_u128(0xA11CE));
const BOB: UserId = UserId(Uuid::from_u128(0xB0B));

type Conversations = Executor<Conversation>;

/// What goes wrong at an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No room.
    Full,
    /// Nothing is stored and the store says so without certainty.
    Lost,
    /// The events are stored, but the answer gets lost.
    AnswerLost,
    /// Somebody else writes just before.
    Overtaken,
}

/// A store in memory that fails as told, and can be held up.
struct FaultyStore {
    inner: MemoryEventStore,
    faults: Mutex<Vec<Fault>>,
    appends: AtomicUsize,
    reads: AtomicUsize,
    held: watch::Sender<bool>,
    reached: Notify,
}

impl FaultyStore {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryEventStore::new(Clock::fixed(chrono::DateTime::UNIX_EPOCH)),
            faults: Mutex::default(),
            appends: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            reached: Notify::new(),
        })
    }

    /// The next appends fail so, the last of `faults` first.
    fn fail(&self, faults: &[Fault]) {
        self.faults.lock().extend_from_slice(faults);
    }

    async fn events(&self, stream: &StreamName) -> Vec<Arc<RecordedEvent>> {
        self.inner
            .read_stream(stream, Version(1), Direction::Forward, 10_000)
            .await
            .unwrap()
    }
}

#[async_trait]
impl EventStore for FaultyStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.reached.notify_one();
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let away = || Failure::unavailable("append to the log", "the test says so");
        let fault = self.faults.lock().pop();
        match fault {
            None => self.inner.append(stream, expected, events).await,
            Some(Fault::Full) => {
                Err(Failure::storage_full("append to the log", "the test says so").into())
            }
            Some(Fault::Lost) => Err(away().into()),
            Some(Fault::AnswerLost) => {
                self.inner.append(stream, expected, events).await?;
                Err(away().into())
            }
            Some(Fault::Overtaken) => {
                let other = rename(BOB, &format!("by somebody else {expected:?}"));
                let (envelope, command) = other;
                let events = [ConversationEvent::Renamed(domain::conversation::Renamed {
                    title: domain::Personal::new(BOB, title_of(&command)),
                })];
                let metadata = envelope.metadata();
                let other = NewEvent::encode(&events[0].clone().into(), metadata, 0).unwrap();
                self.inner
                    .append(stream, Expected::Any, vec![other])
                    .await?;
                self.inner.append(stream, expected, vec_of(events_again(metadata))).await
            }
        }
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read_stream(stream, from, direction, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.inner.read_all(after, limit).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}
