//! The event store port: the one primary record. See [`EventStore`] for what every adapter
//! promises; `contract` in this folder's tests holds them to it.

pub mod custom_metadata;
mod kurrent;
mod memory;
mod postgres;
mod queue;
mod sqlite;
mod subscription;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{DecodeError, Event, EventId, Metadata, Position, StreamName, Version};
use tokio::sync::watch;

use crate::failure::Failure;

pub use kurrent::KurrentEventStore;
pub use memory::MemoryEventStore;
pub(crate) use postgres::connect;
pub use postgres::{LogError, LogSchema, Migrated, PostgresEventStore};
pub use sqlite::SqliteEventStore;
pub use subscription::{Subscription, SubscriptionItem};

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Names the event for ever; the same id again is the same event.
    pub id: EventId,
    /// The stored type, such as `message-sent`.
    pub event_type: Cow<'static, str>,
    /// The shape of `data`; for events that are not ours see [`FOREIGN_JSON`] and [`FOREIGN_BYTES`].
    pub schema: u16,
    /// The fact: JSON in UTF-8.
    pub data: Bytes,
    /// [`Metadata`] as JSON in UTF-8.
    pub metadata: Bytes,
}

impl NewEvent {
    /// Encodes `event`, made by the command named in `metadata` as its `index`-th.
    pub fn encode(event: &Event, metadata: &Metadata, index: usize) -> Result<Self, Failure> {
        let encoding = |source| Failure::internal("encode an event", source);
        Ok(Self {
            id: EventId::of(metadata.command_id, index),
            event_type: Cow::Borrowed(event.event_type()),
            schema: event.schema(),
            data: event.encode().map_err(encoding)?.into(),
            metadata: serde_json::to_vec(metadata).map_err(encoding)?.into(),
        })
    }
}

/// The `schema` of an event that another program wrote, through KurrentDB's protocol, as JSON. Data
/// and metadata are kept as they came, which may be no JSON at all; metadata may be empty. Nothing of
/// ours has this schema, so that it decodes to no [`Event`].
pub const FOREIGN_JSON: u16 = 0;

/// The same for an event that was declared to be bytes.
pub const FOREIGN_BYTES: u16 = u16::MAX;

/// An event as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// In the total order of the log.
    pub position: Position,
    /// Of which stream.
    pub stream: StreamName,
    /// In that stream.
    pub version: Version,
    /// Its name.
    pub id: EventId,
    /// The stored type.
    pub event_type: Arc<str>,
    /// The shape of `data`; for events that are not ours see [`FOREIGN_JSON`] and [`FOREIGN_BYTES`].
    pub schema: u16,
    /// The fact: JSON in UTF-8.
    pub data: Bytes,
    /// Who and by which command: JSON in UTF-8.
    pub metadata: Bytes,
    /// When the store took it, in UTC microseconds.
    pub recorded_at: DateTime<Utc>,
}

impl RecordedEvent {
    /// Whether another program wrote it; then nothing is known of its data and metadata.
    pub const fn is_foreign(&self) -> bool {
        matches!(self.schema, FOREIGN_JSON | FOREIGN_BYTES)
    }

    /// Reads the fact.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::decode(&self.event_type, self.schema, &self.data)
    }

    /// Reads who and by which command.
    pub fn metadata(&self) -> Result<Metadata, serde_json::Error> {
        serde_json::from_slice(&self.metadata)
    }
}

/// What must be true of the stream for an append to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// It does not exist.
    NoStream,
    /// It ends exactly here. `Exact(0)` is the same as `NoStream`.
    Exact(Version),
}

/// Where appended events ended up. The same for a retry of the same append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Version of the first event of the batch; the others follow without gaps.
    pub first_version: Version,
    /// Positions of all events of the batch, in order; a batch has at least one.
    pub positions: Vec<Position>,
}

impl Appended {
    /// Version of the last event of the batch.
    pub fn last_version(&self) -> Version {
        Version(self.first_version.0 + self.positions.len().saturating_sub(1) as u64)
    }

    /// Position of the last event of the batch.
    pub fn position(&self) -> Position {
        self.positions.last().copied().unwrap_or_default()
    }

    /// Position of the event at `version`, if it is of the batch.
    pub fn position_of(&self, version: Version) -> Option<Position> {
        let index = version.0.checked_sub(self.first_version.0)?;
        self.positions.get(usize::try_from(index).ok()?).copied()
    }
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream does not end where it was expected to. Read what is new and decide again.
    #[error("the stream ends at version {actual}, which was not expected")]
    Conflict {
        /// Where it ends; 0 where it does not exist.
        actual: Version,
    },
    /// The batch can never be appended: it is empty, too large or repeats an id.
    #[error("the batch cannot be appended: {0}")]
    Invalid(&'static str),
    /// The store could not. Unless the failure says `StorageFull`, the events may or may not be in
    /// the log: retrying with the same ids finds out.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Most events of one append; more is [`AppendError::Invalid`].
pub const APPEND_EVENTS_MAX: usize = 10_000;

/// Most bytes of data and metadata of one event; more is [`AppendError::Invalid`].
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of the name of a type, which has at least one; else it is [`AppendError::Invalid`].
pub const EVENT_TYPE_BYTES_MAX: usize = 1_024;

/// Most events a read returns, whatever its limit.
pub const READ_EVENTS_MAX: usize = 10_000;

/// Which way to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Older to newer.
    Forward,
    /// Newer to older.
    Backward,
}

/// An append-only log of streams of events in one total order.
///
/// Every adapter promises:
/// 1. an append that returned is on disk, once, whatever happens to the process;
/// 2. versions of a stream run from 1 without gaps; a position is never revealed before every
///    lower one is;
/// 3. a retried append (same stream, expectation and ids) returns what the first returned. With
///    [`Expected::Any`] this holds while the first is among the last events of its stream (at least
///    1,000 of them);
/// 4. of those who race at one expected version exactly one wins;
/// 5. a subscription sees every event once, in order.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Appends `events` to `stream`, all or none, and returns once they are on disk.
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError>;

    /// Up to `limit` events of `stream`, the first of which is at `from` (inclusive). Backward from
    /// beyond the end starts at the end. A stream that does not exist is empty.
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure>;

    /// Up to `limit` events after `after` (exclusive), in the order of the log. Fewer than `limit`,
    /// but not none, may come back before the end.
    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure>;

    /// The position of the last event; changes whenever one is appended, by anybody.
    fn head(&self) -> watch::Receiver<Position>;
}

/// The version at which `stream` ends; 0 where it does not exist.
pub async fn version_of(store: &dyn EventStore, stream: &StreamName) -> Result<Version, Failure> {
    let last = store
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    Ok(last.first().map_or(Version::ZERO, |event| event.version))
}

/// Up to `limit` events before `before` (exclusive), newest first. The log is looked at in windows that
/// grow until there are enough events in one, as positions may have gaps.
pub async fn read_all_backward(
    store: &dyn EventStore,
    before: Position,
    limit: usize,
) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
    let limit = limit.min(READ_EVENTS_MAX);
    let head = *store.head().borrow();
    // Nothing is beyond the head, so that a window that begins above it would be wasted.
    let before = before.0.min(head.0.saturating_add(1));
    let mut width = limit as u64;
    if limit == 0 {
        return Ok(Vec::new());
    }
    loop {
        let begin = Position(before.saturating_sub(1).saturating_sub(width));
        let newest = newest_between(store, begin, Position(before), limit).await?;
        if newest.len() == limit || begin == Position::ZERO {
            return Ok(newest.into_iter().rev().collect());
        }
        width = width.saturating_mul(WINDOW_GROWTH);
    }
}

/// A position after which everything is that was recorded at `moment` or later, and little else: found
/// by halving, in as many reads of one event as a position has bits at most. Where clocks of several
/// writers differ, it is as far off as they are.
pub async fn position_at(
    store: &dyn EventStore,
    moment: DateTime<Utc>,
) -> Result<Position, Failure> {
    let (mut before, mut after) = (0, store.head().borrow().0);
    while before < after {
        let middle = before + (after - before) / 2;
        let next = store.read_all(Position(middle), 1).await?;
        match next.first() {
            Some(event) if event.recorded_at < moment => before = event.position.0,
            Some(_) | None => after = middle,
        }
    }
    Ok(Position(before))
}

/// Where the log ends, whatever this process has heard of it so far.
pub async fn end_of(store: &dyn EventStore) -> Result<Position, Failure> {
    let mut end = *store.head().borrow();
    loop {
        let next = store.read_all(end, READ_EVENTS_MAX).await?;
        let Some(last) = next.last() else {
            return Ok(end);
        };
        end = last.position;
    }
}

/// How much larger each window of [`read_all_backward`] is than the one before.
const WINDOW_GROWTH: u64 = 8;

/// The last `limit` events after `after` and before `before` (both exclusive), oldest first.
async fn newest_between(
    store: &dyn EventStore,
    after: Position,
    before: Position,
    limit: usize,
) -> Result<VecDeque<Arc<RecordedEvent>>, Failure> {
    let mut newest = VecDeque::new();
    let mut after = after;
    loop {
        let page = store.read_all(after, limit).await?;
        let Some(last) = page.last() else {
            return Ok(newest);
        };
        after = last.position;
        let within = page.partition_point(|event| event.position < before);
        let ended = within < page.len();
        newest.extend(page.into_iter().take(within));
        newest.drain(..newest.len().saturating_sub(limit));
        if ended {
            return Ok(newest);
        }
    }
}

/// Follows the whole log after `after`: first what is there, then [`SubscriptionItem::CaughtUp`]
/// once, then what comes.
pub fn subscribe_all(store: Arc<dyn EventStore>, after: Position) -> Subscription {
    Subscription::new(store, after)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::reservation::{Held, ReservationEvent};
    use domain::{Actor, CommandId, UserId};

    use super::*;
    use crate::clock::{Clock, fresh_id};

    #[tokio::test]
    async fn the_place_of_a_moment_is_before_all_that_came_then_and_later() {
        let start = Clock::system().now();
        let clock = Clock::fixed(start);
        let store = MemoryEventStore::new(clock.clone());
        let after = |seconds| start + TimeDelta::seconds(seconds);
        assert_eq!(position_at(&store, start).await.unwrap(), Position(0));
        for seconds in [0, 0, 1, 3, 3, 3, 9] {
            clock.set(after(seconds));
            let held = Held {
                user: UserId(fresh_id()),
            };
            let metadata = Metadata {
                actor: Actor::System,
                command_id: CommandId(fresh_id()),
                command_hash: String::new(),
                correlation_id: None,
                causation_id: None,
                traceparent: None,
                occurred_at: None,
            };
            let event = ReservationEvent::Claimed(held).into();
            let event = NewEvent::encode(&event, &metadata, 0).unwrap();
            let stream = StreamName::owner();
            let appended = store.append(&stream, Expected::Any, vec![event]).await;
            appended.unwrap();
        }
        for (seconds, position) in [
            (-1, 0),
            (0, 0),
            (1, 2),
            (2, 3),
            (3, 3),
            (4, 6),
            (9, 6),
            (10, 7),
        ] {
            let found = position_at(&store, after(seconds)).await.unwrap();
            assert_eq!(found, Position(position), "{seconds}");
        }
    }
}
