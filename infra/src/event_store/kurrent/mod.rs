//! The event store on `KurrentDB`, or whatever speaks its protocol, through its official client.
//!
//! A version is a revision and one, a position is a commit position: it only grows and has gaps. System
//! events are not seen. An append of more than one event reads them back for their positions, which the
//! server does not tell. Promise 3 holds with [`Expected::Any`] as far as the server keeps it, which
//! calls it best effort; with any other expectation it holds in full.

mod connection;
mod convert;
mod follower;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Position, StreamName, Version};
use eventstore::{
    AppendToStreamOptions, Client, ClientSettings, CurrentRevision, Error, EventData,
    ReadAllOptions, ReadEvent, ReadStream, ReadStreamOptions, StreamPosition, StreamState,
    SubscriptionFilter,
};
use tokio::sync::{Semaphore, watch};

use self::connection::Connection;
use self::convert::{events_of, new_event, position};
use self::follower::Follower;
use super::memory::check_batch;
use crate::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, NewEvent, READ_EVENTS_MAX,
    RecordedEvent, version_of,
};
use crate::failure::Failure;

/// Calls under way at a time; the next one waits for its turn.
const CALLS_MAX: usize = 128;

/// Calls that run or wait; one more is refused as unavailable.
const CALLS_WAITING_MAX: usize = 4_096;

/// How long a call may take; then it has failed, and nobody knows what became of it.
const CALL_MAX: Duration = Duration::from_secs(30);

/// A page ends once it has this many bytes of data and metadata.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The greatest revision that the protocol's servers can have.
const REVISION_MAX: u64 = i64::MAX as u64;

const APPEND: &str = "append to the event store";
const READ: &str = "read the event store";

/// A log on a server.
pub struct KurrentEventStore {
    connection: Connection,
    follower: Follower,
    turns: Semaphore,
    places: Semaphore,
}

impl KurrentEventStore {
    /// Connects to the server that `url` names, a connection string of `KurrentDB`:
    /// `kurrentdb://user:password@host:port?tls=false`.
    ///
    /// # Errors
    /// The string cannot be read, or the server does not answer.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let settings: ClientSettings =
            url.parse()
                .map_err(|error: eventstore::ClientSettingsParseError| {
                    Failure::internal(
                        "read the event store's connection string",
                        error.to_string(),
                    )
                })?;
        let connection = Connection::new(settings.clone());
        let head = tokio::time::timeout(CALL_MAX, read_head(&connection))
            .await
            .map_err(|elapsed| Failure::unavailable(READ, elapsed))??;
        Ok(Self {
            connection,
            follower: Follower::start(settings, head)?,
            turns: Semaphore::new(CALLS_MAX),
            places: Semaphore::new(CALLS_WAITING_MAX),
        })
    }

    /// Stops following the log. Dropping the store does the same, but does not wait for it.
    pub async fn close(&self) {
        self.follower.stop().await;
    }

    /// Runs one call when it is its turn.
    async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Failure> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Failure::unavailable(what, "too many calls at once"));
        };
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|closed| Failure::unavailable(what, closed))?;
        tokio::time::timeout(CALL_MAX, call)
            .await
            .map_err(|elapsed| Failure::unavailable(what, elapsed))
    }

    /// One append; the last revision and its position.
    async fn append_once(
        &self,
        stream: &StreamName,
        state: StreamState,
        events: &[EventData],
    ) -> Result<Result<(u64, Position), Error>, Failure> {
        let options = AppendToStreamOptions::default().stream_state(state);
        let call = self.connection.with(|client| {
            let (stream, options) = (stream.to_string(), options.clone());
            let events = events.to_vec();
            async move { client.append_to_stream(stream, &options, events).await }
        });
        let written = self.call(APPEND, call).await?;
        Ok(written.map(|written| {
            let position = Position(written.position.commit);
            (written.next_expected_version, position)
        }))
    }

    /// The positions of what was just appended, which are those of events with these ids.
    async fn positions_of(
        &self,
        stream: &StreamName,
        first_version: Version,
        events: &[NewEvent],
    ) -> Result<Vec<Position>, Failure> {
        let there = self
            .read_stream(stream, first_version, Direction::Forward, events.len())
            .await?;
        let same = there.len() == events.len()
            && there
                .iter()
                .zip(events)
                .all(|(there, event)| there.id == event.id);
        if !same {
            let problem = "what was appended is not where the server said";
            return Err(Failure::internal(APPEND, problem));
        }
        Ok(there.iter().map(|event| event.position).collect())
    }

    async fn conflict(&self, stream: &StreamName) -> AppendError {
        match version_of(self, stream).await {
            Ok(actual) => AppendError::Conflict { actual },
            Err(failure) => failure.into(),
        }
    }
}

/// The position of the last event; 0 in an empty log.
async fn read_head(connection: &Connection) -> Result<Position, Failure> {
    let options = ReadAllOptions::default()
        .position(StreamPosition::End)
        .backwards()
        .filter(without_system_events())
        .max_count(1);
    let read = |client: Client| {
        let options = options.clone();
        async move {
            let mut stream = client.read_all(&options).await?;
            let last = stream.next().await?;
            Ok(last.map(|event| event.get_original_event().position.commit))
        }
    };
    let last = connection.with(read).await;
    let last = last.map_err(|error| convert::failure(READ, error))?;
    Ok(Position(last.unwrap_or(0)))
}

/// Leaves out what the server writes for itself, and metadata of streams.
fn without_system_events() -> SubscriptionFilter {
    SubscriptionFilter::on_event_type().exclude_system_events()
}

#[async_trait]
impl EventStore for KurrentEventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check_batch(&events)?;
        let state = match expected {
            Expected::Any => StreamState::Any,
            Expected::NoStream | Expected::Exact(Version::ZERO) => StreamState::NoStream,
            Expected::Exact(version) if version.0 > REVISION_MAX => {
                return Err(self.conflict(stream).await);
            }
            Expected::Exact(version) => StreamState::StreamRevision(version.0 - 1),
        };
        let proposed = events
            .iter()
            .map(new_event)
            .collect::<Result<Vec<_>, _>>()?;
        let (last_revision, last_position) =
            match self.append_once(stream, state, &proposed).await? {
                Ok(written) => written,
                Err(Error::WrongExpectedVersion { current, .. }) => {
                    let actual = match current {
                        CurrentRevision::Current(revision) => Version(revision).next(),
                        CurrentRevision::NoStream => Version::ZERO,
                    };
                    return Err(AppendError::Conflict { actual });
                }
                Err(error) => return Err(convert::not_appended(error)),
            };
        let before = (events.len() as u64).saturating_sub(1);
        let first_version = Version(last_revision.saturating_sub(before)).next();
        let positions = if events.len() == 1 {
            vec![last_position]
        } else {
            self.positions_of(stream, first_version, &events).await?
        };
        let appended = Appended {
            first_version,
            positions,
        };
        self.follower.reached(appended.position());
        Ok(appended)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let limit = limit.min(READ_EVENTS_MAX);
        let place = match direction {
            _ if limit == 0 => return Ok(Vec::new()),
            Direction::Forward if from.0 > REVISION_MAX => return Ok(Vec::new()),
            Direction::Forward => StreamPosition::Position(from.0.saturating_sub(1)),
            Direction::Backward if from == Version::ZERO => return Ok(Vec::new()),
            Direction::Backward if from.0 > REVISION_MAX => StreamPosition::End,
            Direction::Backward => StreamPosition::Position(from.0 - 1),
        };
        let options = ReadStreamOptions::default()
            .position(place)
            .max_count(limit);
        let options = match direction {
            Direction::Forward => options.forwards(),
            Direction::Backward => options.backwards(),
        };
        let call = self.connection.with(|client| {
            let (stream, options) = (stream.to_string(), options.clone());
            async move {
                let read = client.read_stream(stream, &options).await?;
                take(read, limit, usize::MAX).await
            }
        });
        match self.call(READ, call).await? {
            Ok((events, _)) => Ok(events),
            Err(Error::ResourceNotFound | Error::ResourceDeleted) => Ok(Vec::new()),
            Err(error) => Err(convert::failure(READ, error)),
        }
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let limit = limit.min(READ_EVENTS_MAX);
        if limit == 0 || after.0 > REVISION_MAX {
            return Ok(Vec::new());
        }
        let mut after = after;
        loop {
            let place = if after == Position::ZERO {
                StreamPosition::Start
            } else {
                StreamPosition::Position(position(after))
            };
            // The event at the place comes first, and is not wanted.
            let options = ReadAllOptions::default()
                .position(place)
                .forwards()
                .filter(without_system_events())
                .max_count(limit + 1);
            let call = self.connection.with(|client| {
                let options = options.clone();
                async move {
                    let read = client.read_all(&options).await?;
                    take(read, limit + 1, PAGE_BYTES_MAX).await
                }
            });
            let read = self.call(READ, call).await?;
            let (mut events, end) = read.map_err(|error| convert::failure(READ, error))?;
            events.retain(|event| event.position > after);
            events.truncate(limit);
            match end {
                // Nothing but events that we cannot name: go on behind them.
                Some(end) if events.is_empty() && end > after => after = end,
                _ => return Ok(events),
            }
        }
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.follower.head()
    }
}

/// Up to `limit` events of a reading, fewer where they have more than `bytes_max`; and the position of
/// the last, also of those that have a name that we cannot have.
async fn take(
    mut read: ReadStream,
    limit: usize,
    bytes_max: usize,
) -> Result<(Vec<Arc<RecordedEvent>>, Option<Position>), Error> {
    let mut events = Vec::new();
    let (mut bytes, mut end) = (0, None);
    while events.len() < limit && bytes < bytes_max {
        match read.next_read_event().await? {
            Some(ReadEvent::Event(event)) => {
                end = Some(Position(event.get_original_event().position.commit));
                if let Some(event) = events_of(event) {
                    bytes += event.data.len() + event.metadata.len();
                    events.push(Arc::new(event));
                }
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok((events, end))
}
