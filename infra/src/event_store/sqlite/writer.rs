//! The one writer: a thread that owns its connection. Whatever is queued when it comes round becomes
//! one transaction, flushed to disk before anybody in it is answered.
//!
//! Requests of a group are decided one after the other, each seeing what those before it wrote, so
//! that a conflict touches nobody else. Every answer, also a conflict, waits for the commit, because
//! it may rest on what the group wrote. When a group fails, all of it is rolled back, everything
//! remembered is thrown away and read again before the next group: the writer always goes on, and a
//! fault that stays is told to every caller.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use domain::{EventId, Position, StreamName, Version};
use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::checkpoint::Checkpoints;
use super::reader;
use super::schema::{self, from_sql, to_sql};
use super::streams::{RECENT_EVENTS_MAX, Recent, Stream, Streams};
use super::tail::Tail;
use super::unindexed::{UNINDEXED_EVENTS_MAX, Unindexed};
use crate::clock::Clock;
use crate::event_store::queue::{APPEND, Answer, Request};
use crate::event_store::{AppendError, Appended, Expected, NewEvent, RecordedEvent};
use crate::failure::Failure;

/// Most requests of one transaction; the rest waits for the next.
const GROUP_REQUESTS_MAX: usize = 1_024;

/// A transaction takes no more requests once it has this many bytes of data and metadata.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Index entries are written this many at a time at least, so that those of one stream go together.
const INDEX_ROWS_MIN: usize = 256;

/// Names of types that are remembered; of the others the file is asked. Ours are fewer, but other
/// programs may append too.
pub(super) const EVENT_TYPES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// The thread's own.
pub(super) struct Writer {
    connection: Connection,
    checkpoints: Checkpoints,
    clock: Clock,
    tail: Arc<Tail>,
    unindexed: Arc<Unindexed>,
    head: watch::Sender<Position>,
    /// `None` after a failure: read again before the next group.
    log: Option<Log>,
}

/// What the writer knows of the log, ahead of the file by the group at hand.
struct Log {
    head: Position,
    recorded_at: DateTime<Utc>,
    streams: Streams,
    event_types: LruCache<Arc<str>, i64>,
    unindexed: Arc<Unindexed>,
    sweep: Sweep,
    /// Appended by the group at hand.
    fresh: Vec<Arc<RecordedEvent>>,
}

/// Goes round the streams in the order of their numbers and moves their entries into the file's
/// index. A stream that it visits is left only when all that was there on arrival is moved, so that
/// after a round everything from before it is in the index.
struct Sweep {
    /// Where the log ended when the round began.
    began: Position,
    /// The stream at hand or the next one.
    stream_id: i64,
    /// Entries of the stream at hand that are still to be moved.
    left: usize,
}

impl Sweep {
    const fn begin(head: Position) -> Self {
        Self {
            began: head,
            stream_id: 0,
            left: 0,
        }
    }
}

impl Writer {
    /// Opens the file, makes it where there is none, and reads where the log ends.
    pub(super) fn open(
        path: &Path,
        clock: Clock,
        tail: Arc<Tail>,
        unindexed: Arc<Unindexed>,
    ) -> Result<Self, Failure> {
        let connection = schema::open_for_writing(path)?;
        let log = Log::read(&connection, Arc::clone(&unindexed))
            .map_err(|error| schema::failure("open the log", error))?;
        Ok(Self {
            unindexed,
            checkpoints: Checkpoints::start(path)?,
            connection,
            clock,
            tail,
            head: watch::Sender::new(log.head),
            log: Some(log),
        })
    }

    /// The position of the last event.
    pub(super) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Serves requests until the queue is closed and empty, then closes the file.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        Checkpoints::watch(&self.connection);
        let mut group = Vec::new();
        while let Some(request) = queue.blocking_recv() {
            let mut bytes = request.bytes();
            group.push(request);
            while group.len() < GROUP_REQUESTS_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(request) = queue.try_recv() else {
                    break;
                };
                bytes += request.bytes();
                group.push(request);
            }
            self.serve(&mut group);
            self.checkpoints.committed(&self.connection);
        }
        if let Err(error) = self.index_everything() {
            tracing::warn!(%error, "the log's index was left incomplete; opening completes it");
        }
        self.checkpoints.close(&self.connection);
    }

    fn serve(&mut self, group: &mut Vec<Request>) {
        let started = Instant::now();
        let mut waiting = Vec::with_capacity(group.len());
        let requests = group.drain(..).map(|request| {
            waiting.push((request.answer, request.room));
            (request.stream, request.expected, request.events)
        });
        match self.commit(requests.collect()) {
            Ok(answers) => {
                for ((answer, room), appended) in waiting.into_iter().zip(answers) {
                    drop(room);
                    // Whoever no longer waits does not want to know.
                    let _ = answer.send(appended);
                }
            }
            Err(error) => {
                let failure = schema::failure(APPEND, error);
                tracing::error!(%failure, requests = waiting.len(), "appends were rolled back");
                for (answer, room) in waiting {
                    drop(room);
                    let _ = answer.send(Err(AppendError::Failure(failure.clone())));
                }
            }
        }
        metrics::histogram!("verbatim_log_group_seconds").record(started.elapsed());
    }

    /// Decides and writes a group; the answers are true once this returns.
    fn commit(
        &mut self,
        group: Vec<(StreamName, Expected, Vec<NewEvent>)>,
    ) -> rusqlite::Result<Vec<Answer>> {
        let requests = u32::try_from(group.len()).unwrap_or(u32::MAX);
        metrics::histogram!("verbatim_log_group_size").record(requests);
        let written = self.write(group);
        if written.is_err() {
            self.log = None;
            if let Err(error) = self.roll_back() {
                tracing::error!(%error, "the log's transaction could not be rolled back");
            }
        }
        written
    }

    /// Ends a transaction that is still open.
    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("ROLLBACK")
    }

    fn write(
        &mut self,
        group: Vec<(StreamName, Expected, Vec<NewEvent>)>,
    ) -> rusqlite::Result<Vec<Answer>> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.recover()?,
        };
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        let now = self.clock.now();
        let answers = group
            .into_iter()
            .map(|(stream, expected, events)| {
                log.append(&self.connection, &stream, expected, events, now)
            })
            .collect::<rusqlite::Result<Vec<Answer>>>()?;
        let moved = log.index(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        log.forget_indexed(&moved);
        let fresh = std::mem::take(&mut log.fresh);
        if !fresh.is_empty() {
            metrics::counter!("verbatim_log_events_total").increment(fresh.len() as u64);
            // Whoever hears of the new head finds the events in the tail.
            self.tail.extend(fresh);
            self.head.send_replace(log.head);
        }
        self.log = Some(log);
        Ok(answers)
    }

    /// Brings the index up to the end of the log, so that opening has nothing to look for.
    fn index_everything(&mut self) -> rusqlite::Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        log.sweep = Sweep::begin(log.head);
        let transaction = self.connection.unchecked_transaction()?;
        let moved = log.move_entries(&transaction, usize::MAX)?;
        transaction.commit()?;
        log.forget_indexed(&moved);
        Ok(())
    }

    /// Reads the log again after a failure. Should the failed group be in it after all, those who
    /// follow the log hear of it now.
    fn recover(&self) -> rusqlite::Result<Log> {
        // Within a transaction this would read, and reveal, what is not committed.
        self.roll_back()?;
        let log = Log::read(&self.connection, Arc::clone(&self.unindexed))?;
        let moved = log.head != *self.head.borrow();
        if moved {
            self.tail.clear();
            self.head.send_replace(log.head);
        }
        Ok(log)
    }
}

impl Log {
    fn read(file: &Connection, unindexed: Arc<Unindexed>) -> rusqlite::Result<Self> {
        unindexed.replace(find_unindexed(file)?);
        let last = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";
        let last = file
            .query_row(last, [], |row| {
                Ok((from_sql(row, 0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let (head, recorded_at) = last.unwrap_or((0, 0));
        Ok(Self {
            head: Position(head),
            recorded_at: DateTime::from_timestamp_micros(recorded_at)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, recorded_at))?,
            streams: Streams::new(),
            event_types: LruCache::new(EVENT_TYPES_MAX),
            unindexed,
            sweep: Sweep::begin(Position(head)),
            fresh: Vec::new(),
        })
    }

    /// Decides one request and writes its events. An error fails the whole group.
    fn append(
        &mut self,
        file: &Connection,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<Answer> {
        let known = self.stream(file, stream)?;
        let actual = known.map_or(Version::ZERO, |(_, version)| version);
        if let Some((stream_id, _)) = known
            && let Some(earlier) = self.retried(file, stream, stream_id, expected, &events)?
        {
            return Ok(Ok(earlier));
        }
        let as_expected = match expected {
            Expected::Any => true,
            Expected::NoStream => actual == Version::ZERO,
            Expected::Exact(version) => actual == version,
        };
        if !as_expected {
            return Ok(Err(AppendError::Conflict { actual }));
        }
        let stream_id = match known {
            Some((stream_id, _)) => stream_id,
            None => self.create(file, stream)?,
        };
        let positions = self.insert(file, (stream, stream_id), actual, events, now)?;
        Ok(Ok(Appended {
            first_version: actual.next(),
            positions,
        }))
    }

    /// The number of a stream and where it ends, where it exists.
    fn stream(
        &mut self,
        file: &Connection,
        name: &StreamName,
    ) -> rusqlite::Result<Option<(i64, Version)>> {
        if let Some(stream) = self.streams.get(name) {
            return Ok(Some((stream.id, stream.version)));
        }
        let Some(id) = reader::stream_id(file, name)? else {
            return Ok(None);
        };
        let version = match self.unindexed.version(id) {
            Some(version) => version,
            None => indexed_version(file, id)?,
        };
        let stream = Stream {
            id,
            version,
            recent: None,
        };
        self.streams.insert(name.clone(), stream);
        Ok(Some((id, version)))
    }

    fn create(&mut self, file: &Connection, name: &StreamName) -> rusqlite::Result<i64> {
        let id = file
            .prepare_cached("INSERT INTO streams (name) VALUES (?1)")?
            .insert([name.as_str()])?;
        let stream = Stream {
            id,
            version: Version::ZERO,
            recent: Some(Recent::default()),
        };
        self.streams.insert(name.clone(), stream);
        Ok(id)
    }

    /// The answer to an earlier append of the same events to a stream that exists.
    fn retried(
        &mut self,
        file: &Connection,
        name: &StreamName,
        stream_id: i64,
        expected: Expected,
        events: &[NewEvent],
    ) -> rusqlite::Result<Option<Appended>> {
        let candidates = match expected {
            Expected::NoStream => vec![Version::ZERO.plus(events.len())],
            Expected::Exact(version) => match version.0.checked_add(events.len() as u64) {
                Some(last_version) => vec![Version(last_version)],
                None => return Ok(None),
            },
            Expected::Any => {
                self.remember_recent(file, name, stream_id)?;
                let last_id = events.last().map(|event| event.id);
                let stream = self.streams.get(name);
                stream.zip(last_id).map_or_else(Vec::new, |(stream, id)| {
                    let recent = stream.recent.as_ref();
                    recent.map_or_else(Vec::new, |recent| recent.candidates(id, stream.version))
                })
            }
        };
        let end = self.streams.get(name).map_or(Version::ZERO, |s| s.version);
        for last_version in candidates {
            if last_version <= end
                && let Some(appended) = self.recorded(file, stream_id, last_version, events)?
            {
                return Ok(Some(appended));
            }
        }
        Ok(None)
    }

    /// Looks back over the end of a stream once; from then on its appends are remembered.
    fn remember_recent(
        &mut self,
        file: &Connection,
        name: &StreamName,
        stream_id: i64,
    ) -> rusqlite::Result<()> {
        let Some(Stream {
            recent: None,
            version,
            ..
        }) = self.streams.get(name)
        else {
            return Ok(());
        };
        let after = version.0.saturating_sub(RECENT_EVENTS_MAX as u64);
        let ids = self.ids_after(file, stream_id, Version(after), RECENT_EVENTS_MAX)?;
        let recent = ids.into_iter().map(|(id, _)| id).collect();
        self.streams.set_recent(name, recent);
        Ok(())
    }

    /// Writes `events` after the version `after`; returns their positions.
    fn insert(
        &mut self,
        file: &Connection,
        (name, stream_id): (&StreamName, i64),
        after: Version,
        events: Vec<NewEvent>,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<Vec<Position>> {
        // A clock that was set back does not make the log run backwards.
        self.recorded_at = self.recorded_at.max(now);
        let mut insert = file.prepare_cached(
            "INSERT INTO events (position, stream_id, version, id, type_id, schema, recorded_at, \
             metadata, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let mut positions = Vec::with_capacity(events.len());
        let mut version = after;
        for event in events {
            version = version.next();
            let (event_type, type_id) = self.event_type(file, &event.event_type)?;
            let position = Position(self.head.0 + 1);
            insert.execute((
                to_sql(position.0),
                stream_id,
                to_sql(version.0),
                &event.id.0.as_bytes()[..],
                type_id,
                event.schema,
                self.recorded_at.timestamp_micros(),
                &event.metadata[..],
                &event.data[..],
            ))?;
            self.head = position;
            positions.push(position);
            self.streams.append(name, event.id);
            self.unindexed.push(stream_id, version, position);
            self.fresh.push(Arc::new(RecordedEvent {
                position,
                stream: name.clone(),
                version,
                id: event.id,
                event_type,
                schema: event.schema,
                data: event.data,
                metadata: event.metadata,
                recorded_at: self.recorded_at,
            }));
        }
        Ok(positions)
    }

    /// The stored type and its number.
    fn event_type(&mut self, file: &Connection, name: &str) -> rusqlite::Result<(Arc<str>, i64)> {
        if let Some((name, id)) = self.event_types.get_key_value(name) {
            return Ok((Arc::clone(name), *id));
        }
        let known = file
            .prepare_cached("SELECT id FROM event_types WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => file
                .prepare_cached("INSERT INTO event_types (name) VALUES (?1)")?
                .insert([name])?,
        };
        let name: Arc<str> = name.into();
        self.event_types.put(Arc::clone(&name), id);
        Ok((name, id))
    }

    /// Where `events` stand, if they are the ones that end at `last_version`.
    fn recorded(
        &self,
        file: &Connection,
        stream_id: i64,
        last_version: Version,
        events: &[NewEvent],
    ) -> rusqlite::Result<Option<Appended>> {
        let Some(after) = last_version.0.checked_sub(events.len() as u64) else {
            return Ok(None);
        };
        let there = self.ids_after(file, stream_id, Version(after), events.len())?;
        let same = there.len() == events.len()
            && there
                .iter()
                .zip(events)
                .all(|((id, _), event)| *id == event.id);
        Ok(same.then(|| Appended {
            first_version: Version(after + 1),
            positions: there.into_iter().map(|(_, position)| position).collect(),
        }))
    }

    /// The ids and positions of up to `limit` events of a stream, oldest first.
    fn ids_after(
        &self,
        file: &Connection,
        stream_id: i64,
        after: Version,
        limit: usize,
    ) -> rusqlite::Result<Vec<(EventId, Position)>> {
        let mut select = file.prepare_cached(
            "SELECT id, events.position FROM events \
             JOIN stream_events AS places ON places.position = events.position \
             WHERE places.stream_id = ?1 AND places.version > ?2 ORDER BY places.version LIMIT ?3",
        )?;
        let rows = select.query_map((stream_id, to_sql(after.0), to_sql(limit as u64)), |row| {
            let id = Uuid::from_bytes(row.get(0)?);
            Ok((EventId(id), Position(from_sql(row, 1)?)))
        })?;
        let mut ids = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let from = after.plus(ids.len()).next();
        let mut select = file.prepare_cached("SELECT id FROM events WHERE position = ?1")?;
        for (_, position) in self.unindexed.from(stream_id, from, limit - ids.len()) {
            let id = select.query_row([to_sql(position.0)], |row| row.get(0))?;
            ids.push((EventId(Uuid::from_bytes(id)), position));
        }
        Ok(ids)
    }

    /// Moves entries into the file's index once there are too many; returns how many of which
    /// streams.
    fn index(&mut self, file: &Connection) -> rusqlite::Result<Vec<(i64, usize)>> {
        match self.unindexed.events().checked_sub(UNINDEXED_EVENTS_MAX) {
            None | Some(0) => Ok(Vec::new()),
            Some(excess) => self.move_entries(file, excess.max(INDEX_ROWS_MIN)),
        }
    }

    /// Moves up to `rows` entries, not beyond the end of the round.
    fn move_entries(
        &mut self,
        file: &Connection,
        mut rows: usize,
    ) -> rusqlite::Result<Vec<(i64, usize)>> {
        let mut insert = file.prepare_cached(
            "INSERT INTO stream_events (stream_id, version, position) VALUES (?1, ?2, ?3)",
        )?;
        let mut moved = Vec::new();
        while rows > 0 {
            if self.sweep.left == 0 {
                let Some((stream_id, left)) = self.unindexed.next_stream(self.sweep.stream_id)
                else {
                    file.prepare_cached("UPDATE indexed SET position = ?1")?
                        .execute([to_sql(self.sweep.began.0)])?;
                    self.sweep = Sweep::begin(self.head);
                    break;
                };
                self.sweep.stream_id = stream_id;
                self.sweep.left = left;
            }
            let stream_id = self.sweep.stream_id;
            let count = self.sweep.left.min(rows);
            for (version, position) in self.unindexed.from(stream_id, Version::ZERO, count) {
                insert.execute((stream_id, to_sql(version.0), to_sql(position.0)))?;
            }
            moved.push((stream_id, count));
            rows -= count;
            self.sweep.left -= count;
            if self.sweep.left == 0 {
                self.sweep.stream_id += 1;
            }
        }
        Ok(moved)
    }

    /// Forgets entries that the file has for good now.
    fn forget_indexed(&self, moved: &[(i64, usize)]) {
        for (stream_id, count) in moved {
            self.unindexed.remove(*stream_id, *count);
        }
    }
}

/// The last version of a stream that the file's index knows.
fn indexed_version(file: &Connection, stream_id: i64) -> rusqlite::Result<Version> {
    let last =
        "SELECT version FROM stream_events WHERE stream_id = ?1 ORDER BY version DESC LIMIT 1";
    let version = file
        .prepare_cached(last)?
        .query_row([stream_id], |row| from_sql(row, 0))
        .optional()?;
    Ok(Version(version.unwrap_or(0)))
}

/// Finds the events that the file's index does not know: those after the last full round, less those
/// that the next round had come to.
fn find_unindexed(file: &Connection) -> rusqlite::Result<Unindexed> {
    let unindexed = Unindexed::default();
    let mut indexed: HashMap<i64, Version> = HashMap::new();
    let mut select = file.prepare(
        "SELECT stream_id, version, position FROM events \
         WHERE position > (SELECT position FROM indexed) ORDER BY position",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let stream_id = row.get(0)?;
        let version = Version(from_sql(row, 1)?);
        let known = match indexed.get(&stream_id) {
            Some(known) => *known,
            None => indexed_version(file, stream_id)?,
        };
        indexed.insert(stream_id, known);
        if version > known {
            unindexed.push(stream_id, version, Position(from_sql(row, 2)?));
        }
    }
    Ok(unindexed)
}
