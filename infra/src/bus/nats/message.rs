//! An event as a message: `CloudEvents` 1.0 in binary mode (the headers `ce-…` of its NATS protocol
//! binding, with their values percent-encoded), with what makes it one of ours as extension attributes.

use std::str::FromStr;
use std::sync::Arc;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{EventId, Metadata, Position, StreamName, Version};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use uuid::Uuid;

use crate::event_store::{FOREIGN_BYTES, RecordedEvent};

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

/// What the subject and the headers may take, beyond the fact and the metadata.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// What a value may not have as it is; what is not ASCII neither.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The message of `event`: headers and payload. Larger than `bytes_max` it goes without the payload,
/// and if that is not enough without the metadata.
pub(super) fn encode(event: &RecordedEvent, bytes_max: usize) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-source", "/verbatim");
    headers.insert(ID, event.id.0.to_string());
    headers.insert(SUBJECT, value(event.stream.as_str()));
    headers.insert(TYPE, value(&*event.event_type));
    headers.insert(POSITION, event.position.to_string());
    headers.insert(VERSION, event.version.to_string());
    headers.insert(SCHEMA, event.schema.to_string());
    let content_type = match event.schema {
        FOREIGN_BYTES => "application/octet-stream",
        _ => "application/json",
    };
    headers.insert("ce-datacontenttype", content_type);
    headers.insert("content-type", content_type);
    let recorded_at = time(event.recorded_at);
    let metadata = serde_json::from_slice::<Metadata>(&event.metadata).ok();
    let occurred_at = metadata.as_ref().and_then(|metadata| metadata.occurred_at);
    headers.insert(
        "ce-time",
        occurred_at.map_or_else(|| recorded_at.clone(), time),
    );
    headers.insert(RECORDED_AT, recorded_at);
    let encoded = value(&event.metadata);
    if encoded.len() + HEADERS_BYTES_MAX > bytes_max {
        headers.insert(OMITTED, event.data.len().to_string());
        return (headers, Bytes::new());
    }
    let size = event.data.len() + encoded.len() + HEADERS_BYTES_MAX;
    headers.insert(METADATA, encoded);
    if let Some(metadata) = metadata {
        headers.insert("ce-actor", value(metadata.actor.to_string()));
        if let Some(traceparent) = metadata.traceparent {
            headers.insert("ce-traceparent", value(traceparent));
        }
    }
    if size > bytes_max {
        headers.insert(OMITTED, event.data.len().to_string());
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
    let bytes = |name| -> Option<Vec<u8>> {
        let value = headers.get(name)?.as_str();
        Some(percent_decode_str(value).collect())
    };
    let text = |name| String::from_utf8(bytes(name)?).ok();
    Some(RecordedEvent {
        position: Position(parsed(&headers, POSITION)?),
        stream: StreamName::parse(&text(SUBJECT)?).ok()?,
        version: Version(parsed(&headers, VERSION)?),
        id: EventId(Uuid::parse_str(&text(ID)?).ok()?),
        event_type: Arc::from(text(TYPE)?),
        schema: parsed(&headers, SCHEMA)?,
        metadata: bytes(METADATA)?.into(),
        data: message.payload,
        recorded_at: parsed(&headers, RECORDED_AT)?,
    })
}

/// `bytes` as the value of a header: without line breaks, and ASCII whatever they are.
fn value(bytes: impl AsRef<[u8]>) -> String {
    percent_encode(bytes.as_ref(), ENCODED).to_string()
}

/// The position in `headers`.
pub(super) fn position(headers: &HeaderMap) -> Option<Position> {
    parsed(headers, POSITION).map(Position)
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
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
    fn names_and_metadata_of_others_stay_one_value_each() {
        let mut event = event("\u{0}\r\n");
        event.stream = StreamName::parse("orders of \"ä\" 100%-1").unwrap();
        event.event_type = "placed\r\nNats-Rollup: all".into();
        event.schema = FOREIGN_BYTES;
        event.metadata = Bytes::from_static(&[0, b'\r', b'\n', 0xff]);
        let message = sent(&event, 1024 * 1024);
        for (_, values) in message.headers.as_ref().unwrap().iter() {
            let is_clean = |value: &async_nats::HeaderValue| {
                value.as_str().bytes().all(|byte| byte.is_ascii_graphic())
            };
            assert!(values.iter().all(is_clean), "{values:?}");
        }
        assert_eq!(decode(message), Some(event));
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

        let mut event = event("{}");
        event.metadata = vec![0; 100_000].into();
        let message = sent(&event, 64 * 1024);
        assert!(message.headers.as_ref().unwrap().get(METADATA).is_none());
        assert_eq!(decode(message), None);
    }
}
