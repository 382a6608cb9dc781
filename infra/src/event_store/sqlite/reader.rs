//! Reading the file: a few read-only connections, each with its own prepared statements and its own
//! memory of names, used on the runtime's blocking threads.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use domain::{EventId, Position, StreamName, Version};
use lru::LruCache;
use parking_lot::Mutex;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::schema;
use super::tail::Tail;
use super::unindexed::Unindexed;
use super::writer::EVENT_TYPES_MAX;
use crate::event_store::{Direction, RecordedEvent};
use crate::failure::Failure;

/// Reads at the same time; the next one waits for its turn.
const READERS_MAX: usize = 4;

/// Reads that run or wait; one more is refused as unavailable.
const READS_MAX: usize = 4_096;

/// Stream names that each connection remembers, by number and by name.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A page of the whole log ends once it has this many bytes of data and metadata.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

const READ: &str = "read the log";

/// The columns of [`Names::event`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT events.position, events.stream_id, events.version, id, type_id, schema, ",
            "recorded_at, metadata, data FROM events ",
            $rest
        )
    };
}

/// The connections. Opened when first needed; at most [`READERS_MAX`].
pub(super) struct Readers {
    path: PathBuf,
    /// `None` once closed.
    idle: Mutex<Option<Vec<Reader>>>,
    turns: Arc<Semaphore>,
    places: Semaphore,
    head: watch::Receiver<Position>,
    tail: Arc<Tail>,
    unindexed: Arc<Unindexed>,
}

impl Readers {
    pub(super) fn new(
        path: &Path,
        head: watch::Receiver<Position>,
        tail: Arc<Tail>,
        unindexed: Arc<Unindexed>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Some(Vec::new())),
            turns: Arc::new(Semaphore::new(READERS_MAX)),
            places: Semaphore::new(READS_MAX),
            head,
            tail,
            unindexed,
        }
    }

    /// Runs `work` on a connection, on a thread that may block.
    pub(super) async fn run<T, W>(self: &Arc<Self>, work: W) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnOnce(&mut Reader) -> rusqlite::Result<T> + Send + 'static,
    {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Failure::unavailable(READ, "too many reads at once"));
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|closed| Failure::unavailable(READ, closed))?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut reader = readers.take()?;
            let read = work(&mut reader);
            readers.give_back(reader);
            read.map_err(|error| schema::failure(READ, error))
        });
        reading
            .await
            .map_err(|error| Failure::internal(READ, error))?
    }

    /// Closes the connections; later reads are refused as unavailable.
    pub(super) fn close(&self) {
        *self.idle.lock() = None;
    }

    fn take(&self) -> Result<Reader, Failure> {
        let idle = match self.idle.lock().as_mut() {
            Some(idle) => idle.pop(),
            None => return Err(Failure::unavailable(READ, "the event store was closed")),
        };
        match idle {
            Some(reader) => Ok(reader),
            None => Reader::open(self),
        }
    }

    fn give_back(&self, reader: Reader) {
        if let Some(idle) = self.idle.lock().as_mut() {
            idle.push(reader);
        }
    }
}

/// One connection.
pub(super) struct Reader {
    connection: Connection,
    head: watch::Receiver<Position>,
    tail: Arc<Tail>,
    unindexed: Arc<Unindexed>,
    names: Names,
}

/// What never changes in the file once it is there.
struct Names {
    streams: LruCache<i64, StreamName>,
    stream_ids: LruCache<StreamName, i64>,
    event_types: LruCache<i64, Arc<str>>,
}

impl Reader {
    fn open(readers: &Readers) -> Result<Self, Failure> {
        Ok(Self {
            connection: schema::open_for_reading(&readers.path)?,
            head: readers.head.clone(),
            tail: Arc::clone(&readers.tail),
            unindexed: Arc::clone(&readers.unindexed),
            names: Names {
                streams: LruCache::new(NAMES_MAX),
                stream_ids: LruCache::new(NAMES_MAX),
                event_types: LruCache::new(EVENT_TYPES_MAX),
            },
        })
    }

    /// Up to `limit` events of `stream` from `from`.
    pub(super) fn read_stream(
        &mut self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> rusqlite::Result<Vec<Arc<RecordedEvent>>> {
        let Some(stream_id) = self.names.stream_id(&self.connection, stream)? else {
            return Ok(Vec::new());
        };
        match direction {
            Direction::Forward => self.forward(stream, stream_id, from, limit),
            Direction::Backward => self.backward(stream, stream_id, from, limit),
        }
    }

    // Either way it asks first for what the index does not know yet, then the index: what moves from
    // the one to the other meanwhile is seen twice, never missed.

    fn forward(
        &mut self,
        stream: &StreamName,
        stream_id: i64,
        from: Version,
        limit: usize,
    ) -> rusqlite::Result<Vec<Arc<RecordedEvent>>> {
        let head = *self.head.borrow();
        let newest = self.unindexed.from(stream_id, from, limit);
        let mut events = self.indexed(stream_id, from, Direction::Forward, limit)?;
        for (version, position) in newest {
            if events.len() == limit || position > head {
                break;
            }
            if events.last().is_none_or(|last| last.version < version) {
                events.push(self.at(stream, version, position)?);
            }
        }
        Ok(events)
    }

    fn backward(
        &mut self,
        stream: &StreamName,
        stream_id: i64,
        from: Version,
        limit: usize,
    ) -> rusqlite::Result<Vec<Arc<RecordedEvent>>> {
        let head = *self.head.borrow();
        let newest = self.unindexed.down_from(stream_id, from, head, limit);
        let events = newest.iter();
        let mut events = events
            .map(|(version, position)| self.at(stream, *version, *position))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let below = newest.last().map_or(from, |(last, _)| Version(last.0 - 1));
        let left = limit - events.len();
        if left > 0 {
            events.extend(self.indexed(stream_id, below, Direction::Backward, left)?);
        }
        Ok(events)
    }

    /// Up to `limit` events that the file's index knows.
    fn indexed(
        &mut self,
        stream_id: i64,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> rusqlite::Result<Vec<Arc<RecordedEvent>>> {
        let mut select = self.connection.prepare_cached(match direction {
            Direction::Forward => select!(
                "JOIN stream_events AS places ON places.position = events.position \
                 WHERE places.stream_id = ?1 AND places.version >= ?2 \
                 ORDER BY places.version LIMIT ?3"
            ),
            Direction::Backward => select!(
                "JOIN stream_events AS places ON places.position = events.position \
                 WHERE places.stream_id = ?1 AND places.version <= ?2 \
                 ORDER BY places.version DESC LIMIT ?3"
            ),
        })?;
        let limit = schema::to_sql(limit as u64);
        let mut rows = select.query((stream_id, schema::to_sql(from.0), limit))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(self.names.event(&self.connection, row)?);
        }
        Ok(events)
    }

    /// The event at `position`, which is `version` of `stream`.
    fn at(
        &mut self,
        stream: &StreamName,
        version: Version,
        position: Position,
    ) -> rusqlite::Result<Arc<RecordedEvent>> {
        if let Some(event) = self.tail.at(position)
            && event.stream == *stream
            && event.version == version
        {
            return Ok(event);
        }
        let mut select = self.connection.prepare_cached(select!(
            "WHERE position = ?1 AND stream_id = ?2 AND version = ?3"
        ))?;
        let stream_id = self.names.stream_id(&self.connection, stream)?;
        let mut rows = select.query((
            schema::to_sql(position.0),
            stream_id,
            schema::to_sql(version.0),
        ))?;
        match rows.next()? {
            Some(row) => self.names.event(&self.connection, row),
            None => Err(rusqlite::Error::QueryReturnedNoRows),
        }
    }

    /// Up to `limit` events after `after`, fewer where they are large.
    pub(super) fn read_all(
        &mut self,
        after: Position,
        limit: usize,
    ) -> rusqlite::Result<Vec<Arc<RecordedEvent>>> {
        let mut select = self
            .connection
            .prepare_cached(select!("WHERE position > ?1 ORDER BY position LIMIT ?2"))?;
        let mut rows = select.query((schema::to_sql(after.0), schema::to_sql(limit as u64)))?;
        let mut events = Vec::with_capacity(limit);
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let event = self.names.event(&self.connection, row)?;
            bytes += event.data.len() + event.metadata.len();
            events.push(event);
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(events)
    }
}

impl Names {
    fn event(&mut self, file: &Connection, row: &Row<'_>) -> rusqlite::Result<Arc<RecordedEvent>> {
        let blob = |column| -> rusqlite::Result<Bytes> {
            let value = row.get_ref(column)?;
            Ok(Bytes::copy_from_slice(value.as_blob()?))
        };
        let id = row.get_ref(3)?;
        let id = Uuid::from_slice(id.as_blob()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, Type::Blob, Box::new(error))
        })?;
        let recorded_at: i64 = row.get(6)?;
        Ok(Arc::new(RecordedEvent {
            position: Position(schema::from_sql(row, 0)?),
            stream: self.stream(file, row.get(1)?)?,
            version: Version(schema::from_sql(row, 2)?),
            id: EventId(id),
            event_type: self.event_type(file, row.get(4)?)?,
            schema: row.get(5)?,
            recorded_at: DateTime::from_timestamp_micros(recorded_at)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(6, recorded_at))?,
            metadata: blob(7)?,
            data: blob(8)?,
        }))
    }

    fn stream(&mut self, file: &Connection, id: i64) -> rusqlite::Result<StreamName> {
        if let Some(name) = self.streams.get(&id) {
            return Ok(name.clone());
        }
        let name: String = file
            .prepare_cached("SELECT name FROM streams WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        let name = StreamName::parse(&name).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
        })?;
        self.streams.put(id, name.clone());
        Ok(name)
    }

    fn stream_id(&mut self, file: &Connection, name: &StreamName) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.stream_ids.get(name) {
            return Ok(Some(*id));
        }
        let id = stream_id(file, name)?;
        if let Some(id) = id {
            self.stream_ids.put(name.clone(), id);
        }
        Ok(id)
    }

    fn event_type(&mut self, file: &Connection, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(name) = self.event_types.get(&id) {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = file
            .prepare_cached("SELECT name FROM event_types WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        self.event_types.put(id, Arc::clone(&name));
        Ok(name)
    }
}

/// The number of a stream, where it exists.
pub(super) fn stream_id(file: &Connection, name: &StreamName) -> rusqlite::Result<Option<i64>> {
    file.prepare_cached("SELECT id FROM streams WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()
}
