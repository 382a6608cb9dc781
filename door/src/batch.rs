//! Appending many batches over one call. They are written one after the other, so that those of one
//! stream stay in order. A refused batch is answered and the call goes on.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use prost::Message;
use prost_types::Any;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::append::{Appender, NotWritten, Proposal, Written};
use crate::events::{read_id, read_name};
use crate::expected::{Expectation, Head};
use crate::limits::{APPEND_BYTES_MAX, BATCHES_PENDING_MAX};
use crate::pages::Answers;
use crate::proto::google::rpc;
use crate::proto::shared;
use crate::proto::streams::batch_append_req::options::ExpectedStreamPosition as Asked;
use crate::proto::streams::batch_append_resp::success::{CurrentRevisionOption, PositionOption};
use crate::proto::streams::batch_append_resp::{self, ExpectedStreamPosition};
use crate::proto::streams::{BatchAppendReq, BatchAppendResp, batch_append_req};
use crate::statuses::{invalid, stopping};

/// One call.
pub(crate) struct Batches {
    pub(crate) appender: Arc<Appender>,
    pub(crate) requests: Streaming<BatchAppendReq>,
    pub(crate) stop: CancellationToken,
    pending: HashMap<Uuid, Pending>,
}

/// A batch that has begun.
struct Pending {
    options: batch_append_req::Options,
    /// An error is told once the batch is complete.
    proposal: Result<Proposal, Status>,
}

impl Batches {
    pub(crate) fn new(
        appender: Arc<Appender>,
        requests: Streaming<BatchAppendReq>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            appender,
            requests,
            stop,
            pending: HashMap::new(),
        }
    }

    /// One answer per complete batch; `call` counts the call for as long as it lasts.
    pub(crate) fn answers(self, call: OwnedSemaphorePermit) -> Answers<BatchAppendResp> {
        stream::try_unfold((self, call), |(mut batches, call)| async move {
            let answer = batches.next().await?;
            Ok(answer.map(|answer| (answer, (batches, call))))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<BatchAppendResp>, Status> {
        loop {
            let request = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(stopping()),
                request = self.requests.message() => request?,
            };
            let Some(request) = request else {
                return Ok(None);
            };
            let id = request.correlation_id.clone();
            if let Some(batch) = self.take(request)? {
                let mut answer = Self::write(&self.appender, batch).await?;
                answer.correlation_id = id;
                return Ok(Some(answer));
            }
        }
    }

    /// Adds a message to its batch; the batch, once it is complete.
    fn take(&mut self, request: BatchAppendReq) -> Result<Option<Pending>, Status> {
        let id = read_id(request.correlation_id.as_ref())?;
        let mut batch = match (self.pending.remove(&id), request.options) {
            (Some(batch), _) => batch,
            (None, Some(options)) => Pending {
                options,
                proposal: Ok(Proposal::default()),
            },
            (None, None) => return Err(invalid("a batch begins with its options")),
        };
        for message in request.proposed_messages {
            if let Ok(proposal) = &mut batch.proposal
                && let Err(status) = proposal.push(message)
            {
                batch.proposal = Err(status);
            }
        }
        if request.is_final {
            return Ok(Some(batch));
        }
        if self.pending.len() == BATCHES_PENDING_MAX {
            return Err(Status::resource_exhausted("too many batches have begun"));
        }
        self.pending.insert(id, batch);
        Ok(None)
    }

    async fn write(appender: &Appender, batch: Pending) -> Result<BatchAppendResp, Status> {
        let options = batch.options;
        let identifier = options.stream_identifier;
        let asked = options
            .expected_stream_position
            .ok_or_else(|| invalid("the expected revision is missing"))?;
        let expected = Expectation::from(asked);
        let written = match (read_name(identifier.as_ref()), batch.proposal) {
            (Ok(stream), Ok(proposal)) => appender.write(&stream, expected, proposal).await,
            (Err(status), _) | (_, Err(status)) => Err(NotWritten::Refused(status)),
        };
        let result = match written {
            Ok(written) => batch_append_resp::Result::Success(success(written)),
            Err(refusal) => {
                let status = error(refusal, expected, identifier.as_ref());
                batch_append_resp::Result::Error(status)
            }
        };
        Ok(BatchAppendResp {
            correlation_id: None,
            stream_identifier: identifier,
            expected_stream_position: Some(echo(asked)),
            result: Some(result),
        })
    }
}

const fn echo(asked: Asked) -> ExpectedStreamPosition {
    match asked {
        Asked::StreamPosition(revision) => ExpectedStreamPosition::StreamPosition(revision),
        Asked::NoStream(()) => ExpectedStreamPosition::NoStream(()),
        Asked::Any(()) => ExpectedStreamPosition::Any(()),
        Asked::StreamExists(()) => ExpectedStreamPosition::StreamExists(()),
    }
}

fn success(written: Written) -> batch_append_resp::Success {
    let position = written
        .position
        .map_or(PositionOption::NoPosition(()), |position| {
            PositionOption::Position(shared::AllStreamPosition {
                commit_position: position.0,
                prepare_position: position.0,
            })
        });
    batch_append_resp::Success {
        current_revision_option: Some(match written.head {
            Head::At(revision) => CurrentRevisionOption::CurrentRevision(revision),
            Head::NoStream => CurrentRevisionOption::NoStream(()),
        }),
        position_option: Some(position),
    }
}

/// A refusal as the status inside an answer. The one detail says which.
fn error(
    refusal: NotWritten,
    expected: Expectation,
    stream: Option<&shared::StreamIdentifier>,
) -> rpc::Status {
    match refusal {
        NotWritten::WrongVersion(head) => detailed(
            Code::AlreadyExists,
            "WrongExpectedVersion",
            "WrongExpectedVersion",
            &wrong_version(expected, head),
        ),
        NotWritten::Deleted => detailed(
            Code::NotFound,
            "StreamDeleted",
            "StreamDeleted",
            &shared::StreamDeleted {
                stream_identifier: stream.cloned(),
            },
        ),
        NotWritten::Refused(status) => {
            let (code, message) = (status.code(), status.message());
            let exception = status.metadata().get("exception");
            match (exception.and_then(|name| name.to_str().ok()), code) {
                (Some("access-denied"), _) => {
                    detailed(code, message, "AccessDenied", &shared::AccessDenied {})
                }
                (Some("maximum-append-size-exceeded"), _) => {
                    let max_append_size = u32::try_from(APPEND_BYTES_MAX).unwrap_or(u32::MAX);
                    let details = shared::MaximumAppendSizeExceeded { max_append_size };
                    detailed(code, message, "MaximumAppendSizeExceeded", &details)
                }
                (_, Code::InvalidArgument) => {
                    let details = shared::BadRequest {
                        message: message.to_owned(),
                    };
                    detailed(code, message, "BadRequest", &details)
                }
                _ => detailed(code, message, "Unknown", &shared::Unknown {}),
            }
        }
    }
}

fn wrong_version(expected: Expectation, head: Head) -> shared::WrongExpectedVersion {
    use shared::wrong_expected_version::{
        CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Expected,
    };
    shared::WrongExpectedVersion {
        current_stream_revision_option: Some(match head {
            Head::At(revision) => Current::CurrentStreamRevision(revision),
            Head::NoStream => Current::CurrentNoStream(()),
        }),
        expected_stream_position_option: Some(match expected {
            Expectation::Revision(revision) => Expected::ExpectedStreamPosition(revision),
            Expectation::Any => Expected::ExpectedAny(()),
            Expectation::Exists => Expected::ExpectedStreamExists(()),
            Expectation::NoStream => Expected::ExpectedNoStream(()),
        }),
    }
}

/// A status with one detail, a message of the protocol with this name.
fn detailed(code: Code, message: &str, name: &str, details: &impl Message) -> rpc::Status {
    rpc::Status {
        code: code.into(),
        message: message.to_owned(),
        details: Some(Any {
            type_url: format!("type.googleapis.com/event_store.client.{name}"),
            value: details.encode_to_vec(),
        }),
    }
}
