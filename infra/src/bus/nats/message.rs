//! An event as a message: `CloudEvents` 1.0 in binary mode (the headers `ce-…` of its NATS protocol
//! binding), with what makes it one of ours as extension attributes.

use std::str::FromStr;
use std::sync::Arc;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{EventId, Metadata, Position, StreamName, Version};
use uuid::Uuid;

use crate::event_store::RecordedEvent;

/// Position in the log; messages are in its order.
pub(super) const POSITION: &str = "ce-position";

const ID: &str = "ce-id";
const SUBJECT: &str = "ce-subject";
const TYPE: &str = "ce-type";
const VERSION: &str = "ce-streamversion";
const SCHEMA: &str = "ce-schema";
const RECORDED_AT: &str = "ce-recordedat";
const METADATA: &str = "ce-metadata";

/// Set where the fact was too large for a message: read it from the log.
const OMITTED: &str = "ce-dataomitted";

/// What names and headers may take, beyond the fact and the metadata.
const HEADERS_BYTES_MAX: usize = 4 * 1024;

/// The message of `event`: headers and payload. Larger than `bytes_max` it goes without the payload.
pub(super) fn encode(event: &RecordedEvent, bytes_max: usize) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-source", "/verbatim");
    headers.insert(ID, event.id.0.to_string());
    headers.insert(SUBJECT, event.stream.as_str());
    headers.insert(TYPE, &*event.event_type);
    headers.insert(POSITION, event.position.to_string());
    headers.insert(VERSION, event.version.to_string());
    headers.insert(SCHEMA, event.schema.to_string());
    headers.insert("content-type", "application/json");
    let recorded_at = time(event.recorded_at);
    let metadata = serde_json::from_slice::<Metadata>(&event.metadata).ok();
    let occurred_at = metadata.as_ref().and_then(|metadata| metadata.occurred_at);
    headers.insert(
        "ce-time",
        occurred_at.map_or_else(|| recorded_at.clone(), time),
    );
    headers.insert(RECORDED_AT, recorded_at);
    if let Some(metadata) = metadata {
        headers.insert("ce-actor", metadata.actor.to_string());
        if let Some(traceparent) = metadata.traceparent {
            headers.insert("ce-traceparent", traceparent);
        }
    }
    // What we write has no line breaks; what was written otherwise is in the log.
    if let Ok(text) = std::str::from_utf8(&event.metadata)
        && !text.contains(char::is_control)
    {
        headers.insert(METADATA, text);
    }
    if event.data.len() + event.metadata.len() + HEADERS_BYTES_MAX > bytes_max {
        headers.insert(OMITTED, event.data.len().to_string());
        if event.metadata.len() + HEADERS_BYTES_MAX > bytes_max {
            headers.insert(METADATA, "");
        }
        return (headers, Bytes::new());
    }
    (headers, event.data.clone())
}

/// The event of a message; `None` where it has not all of it.
pub(super) fn decode(message: Message) -> Option<RecordedEvent> {
    let headers = message.headers?;
    if headers.get(OMITTED).is_some() {
        return None;
    }
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
    let recorded_at = text(RECORDED_AT)?.parse::<DateTime<Utc>>().ok()?;
    Some(RecordedEvent {
        position: Position(number(&headers, POSITION)?),
        stream: StreamName::parse(text(SUBJECT)?).ok()?,
        version: Version(number(&headers, VERSION)?),
        id: EventId(Uuid::parse_str(text(ID)?).ok()?),
        event_type: Arc::from(text(TYPE)?),
        schema: number(&headers, SCHEMA)?,
        metadata: Bytes::copy_from_slice(text(METADATA)?.as_bytes()),
        data: message.payload,
        recorded_at,
    })
}

/// The position in `headers`.
pub(super) fn position(headers: &HeaderMap) -> Option<Position> {
    number(headers, POSITION).map(Position)
}

fn number<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.as_str().parse().ok()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use async_nats::{Message, Subject};

    use super::*;

    fn event(data: &str) -> RecordedEvent {
        RecordedEvent {
            position: Position(7),
            stream: StreamName::parse("conversation-x").unwrap(),
            version: Version(3),
            id: EventId(Uuid::from_u128(5)),
            event_type: "message-sent".into(),
            schema: 1,
            data: Bytes::copy_from_slice(data.as_bytes()),
            metadata: Bytes::from_static(
                br#"{"actor":"system","command_id":"00000000-0000-0000-0000-000000000001","command_hash":"0"}"#,
            ),
            recorded_at: DateTime::from_timestamp_micros(1_000_001).unwrap(),
        }
    }

    fn sent(event: &RecordedEvent, bytes_max: usize) -> Message {
        let (headers, payload) = encode(event, bytes_max);
        Message {
            subject: Subject::from_static("x"),
            reply: None,
            length: payload.len(),
            payload,
            headers: Some(headers),
            status: None,
            description: None,
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = event(r#"{"body":"hi"}"#);
        assert_eq!(decode(sent(&event, 1024 * 1024)), Some(event));
    }

    #[test]
    fn what_is_too_large_is_read_from_the_log() {
        let message = sent(&event(&"x".repeat(100_000)), 64 * 1024);
        assert!(message.payload.is_empty());
        assert_eq!(
            position(message.headers.as_ref().unwrap()),
            Some(Position(7))
        );
        assert_eq!(decode(message), None);
    }
}
