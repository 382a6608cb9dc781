//! Deleting streams, where that is allowed: nothing is removed from the log. A deletion writes `$tb` into
//! the stream's metadata, so that what was there is no longer shown and the stream may begin anew; a
//! tombstone is an event at its end, after which nothing comes.

use std::borrow::Cow;

use bytes::Bytes;
use domain::{EventId, Position, StreamName, Version};
use infra::clock::fresh_id;
use infra::event_store::{AppendError, EventStore, Expected, FOREIGN_JSON, NewEvent};
use serde_json::Value;
use tonic::Status;

use crate::access::Deletes;
use crate::expected::{Expectation, Head};
use crate::statuses::{access_denied, failure, stream_deleted, wrong_expected_version};
use crate::streams::{
    METADATA_TYPE, Shape, StreamMetadata, TOMBSTONE_TYPE, TRUNCATE_BEFORE, is_protected,
    metadata_stream,
};

/// How a stream is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// It may begin anew.
    Soft,
    /// For ever.
    Tombstone,
}

impl Deletion {
    const fn name(self) -> &'static str {
        match self {
            Self::Soft => "Delete",
            Self::Tombstone => "Tombstone",
        }
    }
}

/// Deletes `stream`. The caller sees to it that nobody appends meanwhile.
pub(crate) async fn delete(
    store: &dyn EventStore,
    deletes: Deletes,
    deletion: Deletion,
    stream: &StreamName,
    expected: Expectation,
) -> Result<Position, Status> {
    if deletes == Deletes::Refused {
        return Err(access_denied("deleting is not enabled on this server"));
    }
    if is_protected(stream) || stream.as_str().starts_with('$') {
        return Err(access_denied("this stream is never deleted"));
    }
    let shape = Shape::of(store, stream).await;
    let shape = shape.map_err(|error| failure(&error))?;
    if shape.is_tombstoned {
        return Err(stream_deleted(stream));
    }
    let head = shape.head();
    if !expected.is_met(head) {
        let operation = deletion.name();
        return Err(wrong_expected_version(operation, stream, expected, head));
    }
    let (target, after, event) = match deletion {
        Deletion::Soft => hidden(store, stream, shape.version).await?,
        Deletion::Tombstone => {
            let event = system_event(TOMBSTONE_TYPE, Bytes::from_static(b"{}"));
            (stream.clone(), shape.version, event)
        }
    };
    match store
        .append(&target, Expected::Exact(after), vec![event])
        .await
    {
        Ok(appended) => Ok(appended.position()),
        Err(AppendError::Conflict { actual }) => {
            let actual = if target == *stream {
                Head::of(actual)
            } else {
                head
            };
            let operation = deletion.name();
            Err(wrong_expected_version(operation, stream, expected, actual))
        }
        Err(AppendError::Invalid(why)) => Err(crate::statuses::invalid(why)),
        Err(AppendError::Failure(error)) => Err(failure(&error)),
    }
}

/// The metadata that hides everything up to `version`, where it goes and after which.
async fn hidden(
    store: &dyn EventStore,
    stream: &StreamName,
    version: Version,
) -> Result<(StreamName, Version, NewEvent), Status> {
    let metadata = StreamMetadata::of(store, stream).await;
    let mut metadata = metadata.map_err(|error| failure(&error))?;
    // The revision after the last: one that is appended later is shown.
    let before = Value::from(version.0);
    metadata.fields.insert(TRUNCATE_BEFORE.to_owned(), before);
    let data = Value::Object(metadata.fields).to_string();
    let event = system_event(METADATA_TYPE, data.into());
    Ok((metadata_stream(stream)?, metadata.version, event))
}

fn system_event(event_type: &'static str, data: Bytes) -> NewEvent {
    NewEvent {
        id: EventId(fresh_id()),
        event_type: Cow::Borrowed(event_type),
        schema: FOREIGN_JSON,
        data,
        metadata: Bytes::new(),
    }
}
