//! Refusals as gRPC statuses, with the trailers by which clients know them.

use domain::StreamName;
use infra::failure::{Failure, FailureSort};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

use crate::expected::{Expectation, Head};
use crate::limits::APPEND_BYTES_MAX;

/// A status whose trailer `exception` names the refusal; `trailers` say more.
fn exception(
    code: Code,
    message: impl Into<String>,
    name: &'static str,
    trailers: &[(&'static str, String)],
) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("exception", AsciiMetadataValue::from_static(name));
    for (name, value) in trailers {
        // A stream's name may have letters that no trailer can; the message has it too.
        if let Ok(value) = AsciiMetadataValue::try_from(value.as_str()) {
            metadata.insert(*name, value);
        }
    }
    Status::with_metadata(code, message, metadata)
}

/// Nobody is known by what was sent.
pub(crate) fn unauthenticated(message: &'static str) -> Status {
    exception(Code::Unauthenticated, message, "access-denied", &[])
}

/// The caller is known and may not.
pub(crate) fn access_denied(message: &'static str) -> Status {
    exception(Code::PermissionDenied, message, "access-denied", &[])
}

/// The stream was deleted for ever.
pub(crate) fn stream_deleted(stream: &StreamName) -> Status {
    exception(
        Code::FailedPrecondition,
        format!("Event stream '{stream}' is deleted."),
        "stream-deleted",
        &[("stream-name", stream.to_string())],
    )
}

/// The stream is not where it was expected to be. Appends say this in a message instead.
pub(crate) fn wrong_expected_version(
    operation: &str,
    stream: &StreamName,
    expected: Expectation,
    actual: Head,
) -> Status {
    let expected = expected.to_number();
    let actual = actual.revision().map_or(-1, i128::from);
    exception(
        Code::FailedPrecondition,
        // One client reads the numbers from the text.
        format!(
            "{operation} failed due to WrongExpectedVersion. Stream: {stream}, Expected version: \
             {expected}, Actual version: {actual}"
        ),
        "wrong-expected-version",
        &[
            ("stream-name", stream.to_string()),
            ("expected-version", expected.to_string()),
            ("actual-version", actual.to_string()),
        ],
    )
}

/// The append is larger than [`APPEND_BYTES_MAX`].
pub(crate) fn append_too_large() -> Status {
    exception(
        Code::InvalidArgument,
        format!("Maximum Append Size of {APPEND_BYTES_MAX} Exceeded."),
        "maximum-append-size-exceeded",
        &[("maximum-append-size", APPEND_BYTES_MAX.to_string())],
    )
}

/// An event without `type` or `content-type`.
pub(crate) fn metadata_missing(property: &'static str) -> Status {
    exception(
        Code::InvalidArgument,
        format!("Required Metadata Property '{property}' is missing"),
        "missing-required-metadata-property",
        &[(
            "required-metadata-properties",
            "type,content-type".to_owned(),
        )],
    )
}

/// A request that makes no sense.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

/// The door is closing; a client that tries again later finds it open.
pub(crate) fn stopping() -> Status {
    Status::unavailable("the server is stopping")
}

/// A fault of ours: logged here, once, and opaque outside.
pub(crate) fn failure(failure: &Failure) -> Status {
    match failure.sort() {
        FailureSort::Unavailable => {
            tracing::warn!(%failure, "a call through the door failed");
            Status::unavailable("try again later")
        }
        FailureSort::StorageFull => {
            tracing::error!(%failure, "a call through the door failed");
            Status::resource_exhausted("the disk is full")
        }
        FailureSort::Internal => {
            tracing::error!(%failure, "a call through the door failed");
            Status::internal("internal error")
        }
    }
}
