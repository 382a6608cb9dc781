//! Reading the log for an auditor: a selection of its events, one JSON object a line, as they are
//! stored. The same for the HTTP routes and for the command line. Each use is first put on the
//! record.

use std::fmt::Write as _;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::SecondsFormat;
use domain::audit::{AuditEvent, Replayed, Selection};
use domain::{Actor, CommandId, ConversationId, Event, Metadata, Position, StreamName, Version};
use futures::stream::{BoxStream, StreamExt as _};
use infra::clock::fresh_id;
use infra::event_store::{AppendError, Direction, EventStore, Expected, NewEvent, RecordedEvent};
use infra::failure::Failure;
use infra::trace::TraceParent;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

/// Events read at once: what a slow reader holds in memory.
const PAGE: usize = 2_000;

/// Lines of JSON, many in one item, each ending with a line feed. An error ends them early.
pub type Lines = BoxStream<'static, Result<Bytes, Failure>>;

/// A selection that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {rule}")]
pub struct SelectionInvalid {
    /// Of which parameter.
    pub name: String,
    /// What it should be.
    pub rule: String,
}

/// Reads a selection from parameters by name: `after`, `up_to`, `since`, `until`, `actor`, `type`
/// (several times, or separated by commas).
pub fn selection<'a>(
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Selection, SelectionInvalid> {
    let mut selection = Selection::default();
    for (name, value) in parameters {
        match name {
            "after" => once(&mut selection.after, name, value, "a position")?,
            "up_to" => once(&mut selection.up_to, name, value, "a position")?,
            "since" => once(&mut selection.since, name, value, "a time as in RFC 3339")?,
            "until" => once(&mut selection.until, name, value, "a time as in RFC 3339")?,
            "actor" => once(&mut selection.actor, name, value, "a user's id")?,
            "type" => {
                for event_type in value.split(',') {
                    if !Event::types().any(|known| known == event_type) {
                        return Err(invalid(name, format!("there is no type {event_type:?}")));
                    }
                    selection.types.push(event_type.to_owned());
                }
            }
            _ => return Err(invalid(name, "there is no such parameter".to_owned())),
        }
    }
    selection.types.sort_unstable();
    selection.types.dedup();
    Ok(selection)
}

fn once<T: FromStr>(
    place: &mut Option<T>,
    name: &str,
    value: &str,
    what: &str,
) -> Result<(), SelectionInvalid> {
    let parsed = value
        .parse()
        .map_err(|_| invalid(name, format!("it should be {what}")))?;
    match place.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(invalid(name, "it may be given once".to_owned())),
    }
}

fn invalid(name: &str, rule: String) -> SelectionInvalid {
    SelectionInvalid {
        name: name.to_owned(),
        rule,
    }
}

/// Puts on the record that `actor` reads `selection`, then hands out its events up to the head of
/// the log as it was before, in the order of positions. Each line has `position`, `stream`,
/// `version`, `id`, `type`, `schema`, `recorded_at`, and `data` and `metadata` as they are stored; what
/// another program wrote and is no JSON is null, with its bytes in `data_base64` and `metadata_base64`.
pub async fn replay(
    store: Arc<dyn EventStore>,
    actor: Actor,
    selection: Selection,
) -> Result<Lines, Failure> {
    let head = *store.head().borrow();
    let replayed = AuditEvent::Replayed(Replayed {
        selection: selection.clone(),
    });
    record(&*store, actor, replayed).await?;
    let up_to = selection.up_to.map_or(head, |up_to| up_to.min(head));
    let source = match selection.conversation {
        None => Source::Log {
            after: selection.after.unwrap_or(Position::ZERO),
        },
        Some(conversation) => Source::conversation(conversation),
    };
    let cursor = Cursor {
        store,
        source,
        up_to,
        filter: Filter::new(selection),
    };
    let lines = futures::stream::try_unfold(cursor, |mut cursor| async move {
        loop {
            let Some(page) = cursor.page().await? else {
                return Ok(None);
            };
            let mut lines = Vec::with_capacity(page.len() * 512);
            for event in &page {
                if cursor.filter.takes(event) {
                    write_line(&mut lines, event)?;
                }
            }
            // Where few events are wanted, most pages have none: go on without handing out nothing.
            if !lines.is_empty() {
                return Ok(Some((Bytes::from(lines), cursor)));
            }
        }
    });
    Ok(lines.boxed())
}

/// Puts on the record what `actor` is about to read.
pub(crate) async fn record(
    store: &dyn EventStore,
    actor: Actor,
    read: AuditEvent,
) -> Result<(), Failure> {
    const WHAT: &str = "put a reading on the record";
    let read = Event::from(read);
    let body = read
        .encode()
        .map_err(|error| Failure::internal(WHAT, error))?;
    let mut command_hash = String::with_capacity(32);
    for byte in &Sha256::digest(&body)[..16] {
        // Writing into a string cannot fail.
        let _ = write!(command_hash, "{byte:02x}");
    }
    let metadata = Metadata {
        actor,
        command_id: CommandId(fresh_id()),
        command_hash,
        correlation_id: None,
        causation_id: None,
        traceparent: TraceParent::current().map(|trace| trace.to_string()),
        occurred_at: None,
    };
    let event = NewEvent::encode(&read, &metadata, 0)?;
    match store
        .append(&StreamName::audit(), Expected::Any, vec![event])
        .await
    {
        Ok(_) => Ok(()),
        Err(AppendError::Failure(failure)) => Err(failure),
        Err(error @ (AppendError::Conflict { .. } | AppendError::Invalid(_))) => {
            Err(Failure::internal(WHAT, error))
        }
    }
}

struct Cursor {
    store: Arc<dyn EventStore>,
    source: Source,
    up_to: Position,
    filter: Filter,
}

/// Where events come from.
enum Source {
    /// The whole log.
    Log { after: Position },
    /// The streams of one conversation, merged by position.
    Conversation { streams: [Merged; 2] },
}

/// One of several streams, with what was read of it and not handed out yet.
struct Merged {
    stream: StreamName,
    from: Version,
    ready: std::collections::VecDeque<Arc<RecordedEvent>>,
    ended: bool,
}

impl Source {
    fn conversation(id: ConversationId) -> Self {
        let merged = |stream| Merged {
            stream,
            from: Version(1),
            ready: std::collections::VecDeque::new(),
            ended: false,
        };
        Self::Conversation {
            streams: [StreamName::conversation(id), StreamName::receipts(id)].map(merged),
        }
    }
}

impl Cursor {
    /// The next events, in order; `None` after the last.
    async fn page(&mut self) -> Result<Option<Vec<Arc<RecordedEvent>>>, Failure> {
        let mut page = match &mut self.source {
            Source::Log { after } => {
                if *after >= self.up_to {
                    return Ok(None);
                }
                let page = self.store.read_all(*after, PAGE).await?;
                let Some(last) = page.last() else {
                    return Ok(None);
                };
                *after = last.position;
                page
            }
            Source::Conversation { streams } => merge(&*self.store, streams).await?,
        };
        if page.is_empty() {
            return Ok(None);
        }
        let within = page.partition_point(|event| event.position <= self.up_to);
        page.truncate(within);
        // The first page beyond the end is the last.
        Ok((!page.is_empty()).then_some(page))
    }
}

/// Up to [`PAGE`] events, lowest position first; none at the end of all streams.
async fn merge(
    store: &dyn EventStore,
    streams: &mut [Merged; 2],
) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
    let mut page = Vec::with_capacity(PAGE);
    while page.len() < PAGE {
        for merged in streams.iter_mut() {
            merged.fill(store).await?;
        }
        let lowest = streams
            .iter_mut()
            .filter(|merged| !merged.ready.is_empty())
            .min_by_key(|merged| merged.ready.front().map(|event| event.position));
        match lowest.and_then(|merged| merged.ready.pop_front()) {
            Some(event) => page.push(event),
            None => break,
        }
    }
    Ok(page)
}

impl Merged {
    async fn fill(&mut self, store: &dyn EventStore) -> Result<(), Failure> {
        if self.ready.is_empty() && !self.ended {
            let events = store
                .read_stream(&self.stream, self.from, Direction::Forward, PAGE)
                .await?;
            match events.last() {
                Some(last) => self.from = last.version.next(),
                None => self.ended = true,
            }
            self.ready.extend(events);
        }
        Ok(())
    }
}

/// Which events of a page are wanted.
struct Filter {
    selection: Selection,
    actor: Option<String>,
}

impl Filter {
    fn new(selection: Selection) -> Self {
        let actor = selection.actor.map(|user| Actor::User(user).to_string());
        Self { selection, actor }
    }

    fn takes(&self, event: &RecordedEvent) -> bool {
        let wanted = &self.selection;
        wanted.after.is_none_or(|after| event.position > after)
            && wanted.since.is_none_or(|since| event.recorded_at >= since)
            && wanted.until.is_none_or(|until| event.recorded_at < until)
            && (wanted.types.is_empty()
                || wanted
                    .types
                    .iter()
                    .any(|wanted| **wanted == *event.event_type))
            && self
                .actor
                .as_ref()
                .is_none_or(|actor| caused_by(event, actor))
    }
}

/// Whether `actor` caused the event. One whose metadata cannot be read was caused by nobody known.
fn caused_by(event: &RecordedEvent, actor: &str) -> bool {
    #[derive(Deserialize)]
    struct Cause<'a> {
        actor: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Cause<'_>>(&event.metadata).is_ok_and(|cause| cause.actor == actor)
}

fn write_line(lines: &mut Vec<u8>, event: &RecordedEvent) -> Result<(), Failure> {
    write_fields(lines, event).map_err(|error| Failure::internal("write an event as JSON", error))
}

fn write_fields(lines: &mut Vec<u8>, event: &RecordedEvent) -> std::io::Result<()> {
    write!(lines, "{{\"position\":{},\"stream\":", event.position)?;
    serde_json::to_writer(&mut *lines, event.stream.as_str())?;
    write!(
        lines,
        ",\"version\":{},\"id\":\"{}\",\"type\":",
        event.version, event.id
    )?;
    serde_json::to_writer(&mut *lines, &*event.event_type)?;
    write!(
        lines,
        ",\"schema\":{},\"recorded_at\":\"{}\",\"data\":",
        event.schema,
        event
            .recorded_at
            .to_rfc3339_opts(SecondsFormat::Micros, true)
    )?;
    if event.is_foreign() {
        write_foreign(lines, "data", &event.data)?;
        lines.extend_from_slice(b",\"metadata\":");
        write_foreign(lines, "metadata", &event.metadata)?;
    } else {
        write_on_one_line(lines, &event.data);
        lines.extend_from_slice(b",\"metadata\":");
        write_on_one_line(lines, &event.metadata);
    }
    lines.extend_from_slice(b"}\n");
    Ok(())
}

/// What another program wrote need not be JSON: then the field is null and its bytes follow in a field
/// `…_base64`.
fn write_foreign(lines: &mut Vec<u8>, field: &str, bytes: &[u8]) -> std::io::Result<()> {
    if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        write_on_one_line(lines, bytes);
        return Ok(());
    }
    lines.extend_from_slice(b"null");
    if bytes.is_empty() {
        return Ok(());
    }
    write!(lines, ",\"{field}_base64\":\"{}\"", STANDARD.encode(bytes))
}

/// JSON has line ends only between tokens, where a space means the same.
fn write_on_one_line(lines: &mut Vec<u8>, json: &[u8]) {
    let start = lines.len();
    lines.extend_from_slice(json);
    if json.contains(&b'\n') || json.contains(&b'\r') {
        for byte in &mut lines[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}
