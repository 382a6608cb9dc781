//! The event store as a model: nothing but vectors behind a lock. The contract suite compares the
//! real adapters with it; unit tests of other crates use it where durability does not matter.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{EventId, Position, StreamName, Version};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::event_store::{
    APPEND_EVENTS_MAX, AppendError, Appended, Direction, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX,
    EventStore, Expected, NewEvent, READ_EVENTS_MAX, RecordedEvent,
};
use crate::failure::Failure;

/// A log in memory; gone with the process.
pub struct MemoryEventStore {
    log: Mutex<Log>,
    head: watch::Sender<Position>,
    clock: Clock,
}

#[derive(Default)]
struct Log {
    all: Vec<Arc<RecordedEvent>>,
    streams: HashMap<StreamName, Vec<Arc<RecordedEvent>>>,
}

impl MemoryEventStore {
    /// An empty log.
    pub fn new(clock: Clock) -> Self {
        Self {
            log: Mutex::default(),
            head: watch::Sender::new(Position::ZERO),
            clock,
        }
    }
}

/// Refuses a batch that no store may take.
pub(super) fn check_batch(events: &[NewEvent]) -> Result<(), AppendError> {
    if events.is_empty() || events.len() > APPEND_EVENTS_MAX {
        return Err(AppendError::Invalid(
            "it has no events, or more than 10,000",
        ));
    }
    if events
        .iter()
        .any(|event| event.data.len() + event.metadata.len() > EVENT_BYTES_MAX)
    {
        return Err(AppendError::Invalid("an event is larger than 1 MiB"));
    }
    let names = events.iter().map(|event| event.event_type.len());
    if !names
        .into_iter()
        .all(|bytes| (1..=EVENT_TYPE_BYTES_MAX).contains(&bytes))
    {
        return Err(AppendError::Invalid(
            "the name of a type has 1 to 1,024 bytes",
        ));
    }
    let mut ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(AppendError::Invalid("two events have the same id"));
    }
    Ok(())
}

impl Log {
    /// Where an earlier append of the same events starts, if there was one.
    fn retried(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: &[NewEvent],
    ) -> Option<usize> {
        let recorded = self.streams.get(stream)?;
        let matches_at = |start: usize| {
            recorded
                .get(start..start + events.len())
                .is_some_and(|there| {
                    there
                        .iter()
                        .zip(events)
                        .all(|(there, event)| there.id == event.id)
                })
        };
        match expected {
            Expected::NoStream => matches_at(0).then_some(0),
            Expected::Exact(version) => {
                let start = usize::try_from(version.0).ok()?;
                matches_at(start).then_some(start)
            }
            Expected::Any => (0..recorded.len()).rev().find(|start| matches_at(*start)),
        }
    }
}

#[async_trait]
impl EventStore for MemoryEventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check_batch(&events)?;
        let mut log = self.log.lock();
        let actual = Version(log.streams.get(stream).map_or(0, Vec::len) as u64);
        if let Some(start) = log.retried(stream, expected, &events) {
            let there = &log.streams[stream][start..start + events.len()];
            return Ok(Appended {
                first_version: Version(start as u64 + 1),
                positions: there.iter().map(|event| event.position).collect(),
            });
        }
        let as_expected = match expected {
            Expected::Any => true,
            Expected::NoStream => actual == Version::ZERO,
            Expected::Exact(version) => actual == version,
        };
        if !as_expected {
            return Err(AppendError::Conflict { actual });
        }
        let recorded_at = self.clock.now();
        let mut positions = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let position = Position(log.all.len() as u64 + 1);
            positions.push(position);
            let recorded = Arc::new(RecordedEvent {
                position,
                stream: stream.clone(),
                version: actual.plus(index + 1),
                id: event.id,
                event_type: event.event_type.into(),
                schema: event.schema,
                data: event.data,
                metadata: event.metadata,
                recorded_at,
            });
            log.all.push(Arc::clone(&recorded));
            log.streams
                .entry(stream.clone())
                .or_default()
                .push(recorded);
        }
        let position = Position(log.all.len() as u64);
        drop(log);
        self.head.send_if_modified(|head| {
            let moved = position > *head;
            *head = position.max(*head);
            moved
        });
        Ok(Appended {
            first_version: actual.next(),
            positions,
        })
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let log = self.log.lock();
        let events = log.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let limit = limit.min(READ_EVENTS_MAX);
        Ok(match direction {
            Direction::Forward => events
                .iter()
                .filter(|event| event.version >= from)
                .take(limit)
                .cloned()
                .collect(),
            Direction::Backward => {
                let wanted = events.iter().rev().filter(|event| event.version <= from);
                wanted.take(limit).cloned().collect()
            }
        })
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let log = self.log.lock();
        let start = log.all.partition_point(|event| event.position <= after);
        Ok(log.all[start..]
            .iter()
            .take(limit.min(READ_EVENTS_MAX))
            .cloned()
            .collect())
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
