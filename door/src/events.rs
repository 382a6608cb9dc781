//! Events between the log and the protocol.
//!
//! Our own events have the content type JSON and our metadata with their schema in it; see
//! [`infra::event_store::custom_metadata`]. Events of others go in and out byte by byte.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use domain::{EventId, StreamName};
use infra::event_store::custom_metadata::{split_ours, with_schema};
use infra::event_store::{
    EVENT_TYPE_BYTES_MAX, FOREIGN_BYTES, FOREIGN_JSON, NewEvent, RecordedEvent,
};
use tonic::Status;
use uuid::Uuid;

use crate::proto::shared;
use crate::proto::streams::read_req::uuid_option;
use crate::proto::streams::{ProposedMessage, ReadResp, read_req, read_resp};
use crate::statuses::{access_denied, invalid, metadata_missing};
use crate::streams;

const TYPE: &str = "type";
const CONTENT_TYPE: &str = "content-type";
const CREATED: &str = "created";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// In which form ids are sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdForm {
    Structured,
    Text,
}

impl From<Option<read_req::UuidOption>> for IdForm {
    fn from(option: Option<read_req::UuidOption>) -> Self {
        match option.and_then(|option| option.content) {
            Some(uuid_option::Content::Structured(_)) => Self::Structured,
            Some(uuid_option::Content::String(_)) | None => Self::Text,
        }
    }
}

impl IdForm {
    pub(crate) fn write(self, id: Uuid) -> shared::Uuid {
        let value = match self {
            Self::Text => shared::uuid::Value::String(id.to_string()),
            Self::Structured => {
                let (most, least) = id.as_u64_pair();
                shared::uuid::Value::Structured(shared::uuid::Structured {
                    most_significant_bits: most.cast_signed(),
                    least_significant_bits: least.cast_signed(),
                })
            }
        };
        shared::Uuid { value: Some(value) }
    }
}

/// Reads an id in either form.
pub(crate) fn read_id(id: Option<&shared::Uuid>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.value.as_ref()) {
        Some(shared::uuid::Value::String(text)) => {
            text.parse().map_err(|_| invalid("an id is no UUID"))
        }
        Some(shared::uuid::Value::Structured(halves)) => Ok(Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
        None => Err(invalid("an id is missing")),
    }
}

/// What the protocol calls a stream.
pub(crate) fn identifier(stream: &StreamName) -> shared::StreamIdentifier {
    shared::StreamIdentifier {
        stream_name: Bytes::copy_from_slice(stream.as_str().as_bytes()),
    }
}

/// Reads the name of a stream.
pub(crate) fn read_name(
    identifier: Option<&shared::StreamIdentifier>,
) -> Result<StreamName, Status> {
    let name = identifier.ok_or_else(|| invalid("a stream's name is missing"))?;
    let name =
        std::str::from_utf8(&name.stream_name).map_err(|_| invalid("a stream's name is UTF-8"))?;
    StreamName::parse(name).map_err(|error| invalid(error.to_string()))
}

/// An event as a reader gets it.
pub(crate) fn answer(event: &RecordedEvent, ids: IdForm) -> ReadResp {
    let position = event.position.0;
    let content_type = if event.schema == FOREIGN_BYTES {
        BYTES
    } else {
        JSON
    };
    let custom_metadata = if event.is_foreign() {
        None
    } else {
        with_schema(&event.metadata, event.schema)
    };
    let ticks = event.recorded_at.timestamp_micros().saturating_mul(10);
    let metadata = HashMap::from([
        (TYPE.to_owned(), event.event_type.as_ref().to_owned()),
        (CONTENT_TYPE.to_owned(), content_type.to_owned()),
        (CREATED.to_owned(), ticks.to_string()),
    ]);
    let recorded = read_resp::RecordedEvent {
        id: Some(ids.write(event.id.0)),
        stream_identifier: Some(identifier(&event.stream)),
        stream_revision: event.version.0.saturating_sub(1),
        prepare_position: position,
        commit_position: position,
        metadata,
        custom_metadata: custom_metadata.unwrap_or_else(|| event.metadata.clone()),
        data: event.data.clone(),
    };
    content(read_resp::Content::Event(read_resp::ReadEvent {
        event: Some(recorded),
        position: Some(read_resp::read_event::Position::CommitPosition(position)),
    }))
}

/// One answer of a reading.
pub(crate) const fn content(content: read_resp::Content) -> ReadResp {
    ReadResp {
        content: Some(content),
    }
}

/// Bytes that count against the size of an append.
pub(crate) fn size_of(message: &ProposedMessage) -> usize {
    let event_type = message.metadata.get(TYPE).map_or(0, String::len);
    message.data.len() + message.custom_metadata.len() + event_type
}

/// Reads an event that is to be appended to `stream`.
pub(crate) fn read_event(
    mut message: ProposedMessage,
    stream: &StreamName,
) -> Result<NewEvent, Status> {
    let id = EventId(read_id(message.id.as_ref())?);
    let mut take = |name| {
        message
            .metadata
            .remove(name)
            .ok_or_else(|| metadata_missing(name))
    };
    let event_type = take(TYPE)?;
    let content_type = take(CONTENT_TYPE)?;
    if !(1..=EVENT_TYPE_BYTES_MAX).contains(&event_type.len()) {
        return Err(invalid("the name of a type has 1 to 1,024 bytes"));
    }
    let is_json = content_type == JSON;
    let ours = is_json
        .then(|| split_ours(&message.custom_metadata))
        .flatten();
    if ours.is_none() && stream.is_of_domain() {
        // The command side could not load the stream any more.
        return Err(access_denied(
            "only Verbatim's own events may be appended to its own streams",
        ));
    }
    let (schema, metadata) = match (ours, is_json) {
        (Some(ours), _) => ours,
        (None, true) => (FOREIGN_JSON, message.custom_metadata),
        (None, false) => (FOREIGN_BYTES, message.custom_metadata),
    };
    let event = NewEvent {
        id,
        event_type: Cow::Owned(event_type),
        schema,
        data: message.data,
        metadata,
    };
    streams::check_reserved(stream, &event)?;
    Ok(event)
}
