//! What goes to the server in one round trip: requests as the arrays that the function `append` of
//! the schema takes, and its arrays as their answers.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::{EventId, Position, StreamName, Version};
use sqlx::postgres::{PgBindIterExt as _, PgConnection, PgRow};
use sqlx::{Error, Row as _};

use crate::event_store::queue::{Answer, Request};
use crate::event_store::{AppendError, Appended, Expected, NewEvent};
use crate::failure::Failure;

/// Most requests of one transaction; the rest waits for the next.
const REQUESTS_MAX: usize = 1_024;

/// Most events of one transaction, unless they are those of one request.
const EVENTS_MAX: usize = 10_000;

/// Most bytes of data and metadata of one transaction, unless they are those of one request.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The server's words for what became of a request.
const APPENDED: i32 = 0;
const APPENDED_BEFORE: i32 = 1;
const CONFLICT: i32 = 2;

const APPEND: &str = "SELECT outcomes, versions, positions, earlier, head \
                      FROM append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Requests that are decided one after the other and written together. Indexes are the server's,
/// which begin at 1.
#[derive(Default)]
pub(super) struct Batch {
    requests: Vec<Request>,
    bytes: usize,
    stream_names: Vec<StreamName>,
    streams: HashMap<StreamName, i32>,
    request_streams: Vec<i32>,
    request_firsts: Vec<i32>,
    request_counts: Vec<i32>,
    event_requests: Vec<i32>,
    ids: HashSet<(i32, EventId)>,
}

/// What the server said.
pub(super) struct Answers {
    of_requests: Vec<Answer>,
    /// Where the log ends, if anything was appended.
    pub(super) head: Option<Position>,
    /// How many events were appended.
    pub(super) appended: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many requests there are.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Takes `request`, or gives it back for the next batch: there is no room for it, or it retries
    /// one that is in here, whose outcome the server does not know before the commit.
    pub(super) fn push(&mut self, request: Request) -> Option<Request> {
        let bytes = self.bytes + request.bytes();
        let events = self.event_requests.len() + request.events.len();
        let fits = self.len() < REQUESTS_MAX && events <= EVENTS_MAX && bytes <= BYTES_MAX;
        let joins = fits && self.is_new(&request);
        if !(self.is_empty() || joins) {
            return Some(request);
        }
        self.bytes = bytes;
        let stream = match self.streams.get(&request.stream) {
            Some(stream) => *stream,
            None => self.add_stream(&request.stream),
        };
        self.request_streams.push(stream);
        self.request_firsts
            .push(index(events - request.events.len() + 1));
        self.request_counts.push(index(request.events.len()));
        self.event_requests
            .resize(events, index(self.requests.len() + 1));
        let ids = request.events.iter().map(|event| (stream, event.id));
        self.ids.extend(ids);
        self.requests.push(request);
        None
    }

    /// Whether no event of `request` is in here for the same stream.
    fn is_new(&self, request: &Request) -> bool {
        self.streams.get(&request.stream).is_none_or(|stream| {
            let mut events = request.events.iter();
            events.all(|event| !self.ids.contains(&(*stream, event.id)))
        })
    }

    fn add_stream(&mut self, name: &StreamName) -> i32 {
        self.stream_names.push(name.clone());
        let stream = index(self.stream_names.len());
        self.streams.insert(name.clone(), stream);
        stream
    }

    fn events(&self) -> impl Iterator<Item = &NewEvent> + Clone {
        self.requests.iter().flat_map(|request| &request.events)
    }

    /// Has the server decide, write and commit. The answers are true once this returns, because the
    /// driver waits until the server is ready for the next query, which comes after the commit.
    pub(super) async fn append(
        &self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Answers, Error> {
        let names = self.stream_names.iter().map(StreamName::as_str);
        let expected = self.requests.iter().map(|r| expected(r.expected));
        let types = self.events().map(|event| &*event.event_type);
        let row = sqlx::query(APPEND)
            .bind(names.bind_iter())
            .bind(&self.request_streams)
            .bind(expected.bind_iter())
            .bind(&self.request_firsts)
            .bind(&self.request_counts)
            .bind(&self.event_requests)
            .bind(self.events().map(|event| event.id.0).bind_iter())
            .bind(types.bind_iter())
            .bind(self.events().map(|e| i32::from(e.schema)).bind_iter())
            .bind(self.events().map(|event| &event.metadata[..]).bind_iter())
            .bind(self.events().map(|event| &event.data[..]).bind_iter())
            .bind(now)
            .fetch_one(connection)
            .await?;
        self.read(&row)
    }

    fn read(&self, row: &PgRow) -> Result<Answers, Error> {
        let outcomes: Vec<i32> = row.try_get(0)?;
        let versions: Vec<i64> = row.try_get(1)?;
        let positions: Vec<i64> = row.try_get(2)?;
        let earlier: Vec<i64> = row.try_get(3)?;
        let head: Option<i64> = row.try_get(4)?;
        let mut earlier = earlier.into_iter().map(position);
        let mut appended = 0;
        let rows = outcomes.iter().zip(versions).zip(positions);
        let answers = rows
            .zip(&self.requests)
            .map(|(((outcome, version), first), request)| {
                let version = Version(version.cast_unsigned());
                let count = request.events.len();
                let positions = match *outcome {
                    APPENDED => {
                        appended += count;
                        (first..).take(count).map(position).collect()
                    }
                    APPENDED_BEFORE => earlier.by_ref().take(count).collect(),
                    CONFLICT => return Ok(Err(AppendError::Conflict { actual: version })),
                    other => return Err(undecodable(&format!("the outcome {other}"))),
                };
                Ok(Ok(Appended {
                    first_version: version,
                    positions,
                }))
            });
        let answers = answers.collect::<Result<Vec<_>, Error>>()?;
        if answers.len() != self.len() {
            return Err(undecodable(&format!("{} answers", answers.len())));
        }
        Ok(Answers {
            of_requests: answers,
            head: head.map(position),
            appended,
        })
    }

    /// Tells everybody what became of their request.
    pub(super) fn answer(self, answers: Answers) {
        for (request, answer) in self.requests.into_iter().zip(answers.of_requests) {
            drop(request.room);
            // Whoever no longer waits does not want to know.
            let _ = request.answer.send(answer);
        }
    }

    /// Tells everybody of the same failure.
    pub(super) fn fail(self, failure: &Failure) {
        for request in self.requests {
            drop(request.room);
            let _ = request.answer.send(Err(failure.clone().into()));
        }
    }
}

/// All that is counted here is far below the limit: a request has at most 10,000 events.
fn index(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn position(number: i64) -> Position {
    Position(number.cast_unsigned())
}

/// A version beyond what the server can count is as far from every stream's end as the last it can.
fn expected(expected: Expected) -> i64 {
    match expected {
        Expected::Any => -1,
        Expected::NoStream => 0,
        Expected::Exact(version) => super::to_sql(version.0),
    }
}

fn undecodable(what: &str) -> Error {
    Error::Decode(format!("the server answered appends with {what}").into())
}
