//! Events and errors between the port and the client.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{EventId, Position, StreamName, Version};
use eventstore::{Error, EventData, ResolvedEvent};
use serde_json::value::RawValue;

use crate::event_store::custom_metadata::{split_schema, with_schema};
use crate::event_store::{AppendError, FOREIGN_BYTES, FOREIGN_JSON, NewEvent, RecordedEvent};
use crate::failure::Failure;

/// An event as it is sent.
pub(super) fn new_event(event: &NewEvent) -> Result<EventData, AppendError> {
    let custom_metadata = if matches!(event.schema, FOREIGN_JSON | FOREIGN_BYTES) {
        event.metadata.clone()
    } else {
        with_schema(&event.metadata, event.schema)
            .ok_or(AppendError::Invalid("the metadata is no object in JSON"))?
    };
    let json = (event.schema != FOREIGN_BYTES)
        .then(|| serde_json::from_slice::<&RawValue>(&event.data).ok())
        .flatten()
        // What is around a value is not sent with it: such bytes go as bytes.
        .filter(|json| json.get().len() == event.data.len())
        .and_then(|json| EventData::json(&event.event_type, &json).ok());
    let data = json.unwrap_or_else(|| EventData::binary(&event.event_type, event.data.clone()));
    Ok(data.id(event.id.0).metadata(custom_metadata))
}

/// An event as it came; `None` where its stream has a name that we cannot have.
pub(super) fn events_of(event: ResolvedEvent) -> Option<RecordedEvent> {
    let event = event.link.or(event.event)?;
    let Ok(stream) = StreamName::parse(event.stream_id()) else {
        tracing::debug!(
            revision = event.revision,
            "an event of a stream with a long name is left out"
        );
        return None;
    };
    let (schema, metadata) = split_schema(&event.custom_metadata).unwrap_or_else(|| {
        let schema = if event.is_json {
            FOREIGN_JSON
        } else {
            FOREIGN_BYTES
        };
        (schema, event.custom_metadata.clone())
    });
    let ticks = event.metadata.get("created");
    Some(RecordedEvent {
        position: Position(event.position.commit),
        stream,
        version: Version(event.revision).next(),
        id: EventId(event.id),
        event_type: Arc::from(event.event_type),
        schema,
        data: event.data,
        metadata,
        recorded_at: ticks
            .and_then(|ticks| time_of(ticks))
            .unwrap_or(event.created),
    })
}

/// A time in ticks of 100 ns since 1970. The client's own field is cut to seconds.
fn time_of(ticks: &str) -> Option<DateTime<Utc>> {
    let ticks: i64 = ticks.parse().ok()?;
    DateTime::from_timestamp_micros(ticks / 10)
}

/// A position as the client has it.
pub(super) const fn position(position: Position) -> eventstore::Position {
    eventstore::Position {
        commit: position.0,
        prepare: position.0,
    }
}

/// Why nothing was appended, or nobody knows whether.
pub(super) fn not_appended(error: Error) -> AppendError {
    const WHAT: &str = "append to the event store";
    match error {
        // A batch that is larger than the server takes, or that it does not take as it is.
        Error::Grpc { code, message } if i32::from(code) == INVALID_ARGUMENT => {
            tracing::warn!(message, "the event store refused an append");
            AppendError::Invalid("the event store does not take it; it may be too large")
        }
        error => AppendError::Failure(failure(WHAT, error)),
    }
}

/// The code of gRPC for a request that makes no sense.
const INVALID_ARGUMENT: i32 = 3;

/// A fault of the server or of the way to it.
pub(super) fn failure(what: &'static str, error: Error) -> Failure {
    match error {
        Error::AccessDenied
        | Error::InternalParsingError(_)
        | Error::UnsupportedFeature
        | Error::ResourceDeleted
        | Error::ResourceNotFound
        | Error::ResourceAlreadyExists
        | Error::InitializationError(_)
        | Error::WrongExpectedVersion { .. } => Failure::internal(what, error),
        Error::ServerError(_)
        | Error::NotLeaderException(_)
        | Error::ConnectionClosed
        | Error::Grpc { .. }
        | Error::GrpcConnectionError(_)
        | Error::InternalClientError
        | Error::DeadlineExceeded
        | Error::IllegalStateError(_) => Failure::unavailable(what, error),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(schema: u16, data: &'static [u8], metadata: &'static [u8]) -> NewEvent {
        NewEvent {
            id: EventId(uuid::Uuid::nil()),
            event_type: "test".into(),
            schema,
            data: Bytes::from_static(data),
            metadata: Bytes::from_static(metadata),
        }
    }

    #[test]
    fn what_is_no_json_goes_as_bytes() {
        for (event, json) in [
            (event(1, b"{}", b"{}"), true),
            (event(FOREIGN_JSON, b"{\"a\":1}", b""), true),
            (event(FOREIGN_JSON, b" {}", b""), false),
            (event(FOREIGN_JSON, b"nonsense", b""), false),
            (event(FOREIGN_BYTES, b"{}", b""), false),
        ] {
            let sent = format!("{:?}", new_event(&event).unwrap());
            assert_eq!(sent.contains("application/json"), json, "{sent}");
        }
        let refused = new_event(&event(1, b"{}", b""));
        assert!(matches!(refused, Err(AppendError::Invalid(_))));
    }

    #[test]
    fn ticks_keep_microseconds() {
        let time = time_of("17000000001234567").unwrap();
        assert_eq!(time.timestamp_micros(), 1_700_000_000_123_456);
        assert_eq!(time_of("soon"), None);
    }
}
