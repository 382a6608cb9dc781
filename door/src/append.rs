//! Appending to one stream: the one path behind single appends and batches.

use std::sync::Arc;

use domain::{Position, StreamName, Version};
use infra::event_store::{APPEND_EVENTS_MAX, AppendError, EventStore, Expected, NewEvent};
use infra::failure::Failure;
use tokio::sync::RwLock;
use tonic::{Status, Streaming};

use crate::access::Deletes;
use crate::events::{read_event, read_name, size_of};
use crate::expected::{Expectation, Head};
use crate::limits::{APPEND_BYTES_MAX, APPEND_IDLE_MAX};
use crate::proto::shared::Empty;
use crate::proto::streams::ProposedMessage;
use crate::proto::streams::append_resp::success::{CurrentRevisionOption, PositionOption};
use crate::proto::streams::{self as messages, AppendReq, AppendResp, append_req, append_resp};
use crate::statuses::{access_denied, append_too_large, failure, invalid, stream_deleted};
use crate::streams::{Shape, end_of, hides, is_protected};

/// Appends for clients.
pub(crate) struct Appender {
    store: Arc<dyn EventStore>,
    deletes: Deletes,
    /// Held by appends together, and by whoever deletes alone: nothing comes after a tombstone.
    pub(crate) streams: RwLock<()>,
}

/// Where the events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The last of them; nowhere where there were none and there is no stream.
    pub(crate) head: Head,
    /// Its position; `None` where there were none.
    pub(crate) position: Option<Position>,
}

/// Why there are none.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// The stream is here, and was expected elsewhere.
    WrongVersion(Head),
    /// The stream was deleted for ever.
    Deleted,
    /// Anything else.
    Refused(Status),
}

impl From<Failure> for NotWritten {
    fn from(error: Failure) -> Self {
        Self::Refused(failure(&error))
    }
}

impl From<Status> for NotWritten {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// The events of one append, as they come in.
#[derive(Debug, Default)]
pub(crate) struct Proposal {
    messages: Vec<ProposedMessage>,
    bytes: usize,
}

impl Proposal {
    /// Takes one more.
    pub(crate) fn push(&mut self, message: ProposedMessage) -> Result<(), Status> {
        self.bytes += size_of(&message);
        if self.bytes > APPEND_BYTES_MAX || self.messages.len() == APPEND_EVENTS_MAX {
            return Err(append_too_large());
        }
        self.messages.push(message);
        Ok(())
    }

    fn into_events(self, stream: &StreamName) -> Result<Vec<NewEvent>, Status> {
        let messages = self.messages.into_iter();
        messages
            .map(|message| read_event(message, stream))
            .collect()
    }
}

impl Appender {
    pub(crate) fn new(store: Arc<dyn EventStore>, deletes: Deletes) -> Self {
        Self {
            store,
            deletes,
            streams: RwLock::new(()),
        }
    }

    /// Serves one call of `Append`.
    pub(crate) async fn serve(&self, mut call: Streaming<AppendReq>) -> Result<AppendResp, Status> {
        let Some(append_req::Content::Options(options)) = next(&mut call).await? else {
            return Err(invalid("an append begins with its options"));
        };
        let stream = read_name(options.stream_identifier.as_ref())?;
        let expected = options
            .expected_stream_revision
            .map(Expectation::from)
            .ok_or_else(|| invalid("the expected revision is missing"))?;
        let mut proposal = Proposal::default();
        while let Some(content) = next(&mut call).await? {
            let append_req::Content::ProposedMessage(message) = content else {
                return Err(invalid("an append has options once"));
            };
            proposal.push(message)?;
        }
        let result = match self.write(&stream, expected, proposal).await {
            Ok(written) => append_resp::Result::Success(success(written)),
            Err(NotWritten::WrongVersion(head)) => {
                append_resp::Result::WrongExpectedVersion(expected.wrong(head))
            }
            Err(NotWritten::Deleted) => return Err(stream_deleted(&stream)),
            Err(NotWritten::Refused(status)) => return Err(status),
        };
        Ok(AppendResp {
            result: Some(result),
        })
    }

    /// Appends, all or none. The same again answers the same, as KurrentDB does it.
    pub(crate) async fn write(
        &self,
        stream: &StreamName,
        expected: Expectation,
        proposal: Proposal,
    ) -> Result<Written, NotWritten> {
        let events = proposal.into_events(stream)?;
        if events.iter().any(|event| hides(stream, event))
            && (self.deletes == Deletes::Refused || is_protected(stream))
        {
            let refusal = "metadata that hides events is a way to delete, which is not allowed";
            return Err(access_denied(refusal).into());
        }
        let _nobody_deletes = self.streams.read().await;
        let (version, is_tombstoned) = end_of(&*self.store, stream).await?;
        if is_tombstoned {
            return Err(NotWritten::Deleted);
        }
        if events.is_empty() {
            let head = self.head(stream).await?;
            return if expected.is_met(head) {
                let position = None;
                Ok(Written { head, position })
            } else {
                Err(NotWritten::WrongVersion(head))
            };
        }
        let in_store = self.in_store(stream, expected, version).await?;
        match self.store.append(stream, in_store, events).await {
            Ok(appended) => Ok(Written {
                head: Head::of(appended.last_version()),
                position: Some(appended.position()),
            }),
            Err(AppendError::Conflict { .. }) => {
                Err(NotWritten::WrongVersion(self.head(stream).await?))
            }
            Err(AppendError::Invalid(why)) => Err(invalid(why).into()),
            Err(AppendError::Failure(error)) => Err(error.into()),
        }
    }

    /// The expectation in terms of a log that forgets nothing. A stream that was deleted goes on
    /// where it ended, though for clients it begins anew.
    async fn in_store(
        &self,
        stream: &StreamName,
        expected: Expectation,
        version: Version,
    ) -> Result<Expected, NotWritten> {
        Ok(match expected {
            Expectation::Any => Expected::Any,
            Expectation::Revision(revision) => Expected::Exact(Version(revision.saturating_add(1))),
            Expectation::NoStream if version == Version::ZERO => Expected::NoStream,
            Expectation::NoStream => {
                let shape = Shape::of(&*self.store, stream).await?;
                let hidden = shape.visible_from.0.saturating_sub(1).min(shape.version.0);
                Expected::Exact(Version(hidden))
            }
            Expectation::Exists => match self.head(stream).await? {
                // Streams do not go away, but for who deletes, and that is nobody now.
                Head::At(_) => Expected::Any,
                Head::NoStream => return Err(NotWritten::WrongVersion(Head::NoStream)),
            },
        })
    }

    async fn head(&self, stream: &StreamName) -> Result<Head, Failure> {
        Ok(Shape::of(&*self.store, stream).await?.head())
    }
}

/// The next message of an append, if the client does not take too long.
async fn next(call: &mut Streaming<AppendReq>) -> Result<Option<append_req::Content>, Status> {
    let message = tokio::time::timeout(APPEND_IDLE_MAX, call.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the rest of the append did not come"))??;
    match message {
        None => Ok(None),
        Some(message) => message
            .content
            .map(Some)
            .ok_or_else(|| invalid("a message of an append is empty")),
    }
}

fn success(written: Written) -> append_resp::Success {
    let revision = match written.head {
        Head::At(revision) => CurrentRevisionOption::CurrentRevision(revision),
        Head::NoStream => CurrentRevisionOption::NoStream(Empty {}),
    };
    let position = match written.position {
        Some(position) => PositionOption::Position(messages::Position {
            commit_position: position.0,
            prepare_position: position.0,
        }),
        None => PositionOption::NoPosition(Empty {}),
    };
    append_resp::Success {
        current_revision_option: Some(revision),
        position_option: Some(position),
    }
}
