//! Keeping channels in step with their space. Who is in a channel stands in the channel's own stream, as
//! events that whoever changed the space makes there; what is cut short is gone on with by whoever comes
//! next. Doing it again, late, or on two nodes at a time changes nothing: what the channel has followed
//! is in its stream too.

use std::time::Duration;

use domain::conversation::{ChannelNow, Command, Conversation};
use domain::space::{ChannelRemoved, SpaceEvent};
use domain::{Actor, CommandId, ConversationId, Event, Position, SpaceId, StreamName, Version};
use futures::stream::{self, StreamExt as _};
use infra::failure::Failure;
use infra::problem::Problem;

use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError};

/// Channels that follow at the same time.
const AT_ONCE_MAX: usize = 16;

/// Steps of one channel at most: everybody goes and others come, and one that says that it is done.
const STEPS_MAX: usize = 2 * Conversation::MEMBERS_MAX / Conversation::FOLLOW_MEMBERS_MAX + 2;

/// An answer waits no longer for channels to follow; what is left then follows by the log.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The command that changed a space, and the one that began it all.
pub(super) type Cause = (CommandId, CommandId);

/// What is to be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Of which space.
    pub(super) space: SpaceId,
    /// From which of its events on.
    pub(super) since: Version,
    /// What made it.
    pub(super) cause: Cause,
}

/// A channel that is gone.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    /// The event of the space that says so.
    pub(super) version: Version,
    pub(super) removed: ChannelRemoved,
    /// What made it.
    pub(super) cause: Cause,
}

/// How far the channels of a space came.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct InStep {
    /// Where the last event that says so is in the log.
    pub(super) position: Position,
    /// Why one did not come all the way.
    pub(super) late: Option<Problem>,
}

impl InStep {
    fn with(self, channel: Result<Position, Problem>) -> Self {
        match channel {
            Ok(position) => Self {
                position: self.position.max(position),
                ..self
            },
            Err(problem) => Self::late(self.position, problem),
        }
    }

    fn late(position: Position, problem: impl Into<Problem>) -> Self {
        Self {
            position,
            late: Some(problem.into()),
        }
    }
}

/// What a command on a space was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Made {
    /// Removing a channel.
    Removal,
    /// Anything else.
    Other,
}

impl CommandApi {
    /// Has the channels follow what a command has just stored, so that the answer can say where that is
    /// in the log. The answer neither fails by it nor waits for ever: [`super::Following`] sees to the
    /// rest. Only what removed a channel is read: the space knows no more of that.
    pub(super) async fn in_step_for_answer(&self, change: Change, made: Made) -> Position {
        let following = async {
            let removal = match made {
                Made::Removal => self.removal(change).await,
                Made::Other => Ok(None),
            };
            match removal {
                Ok(removal) => self.keep_in_step(change, removal.as_slice()).await,
                Err(failure) => InStep::late(Position::ZERO, failure),
            }
        };
        let space = change.space;
        let Ok(followed) = tokio::time::timeout(ANSWER_WITHIN, following).await else {
            tracing::warn!(%space, "an answer does not wait for the channels of its space any longer");
            return Position::ZERO;
        };
        if let Some(error) = followed.late {
            tracing::warn!(%space, %error, "a channel does not follow its space at once");
        }
        followed.position
    }

    /// The channel that the first event of `change` removes, if it does.
    async fn removal(&self, change: Change) -> Result<Option<Removal>, Failure> {
        let stream = StreamName::space(change.space);
        let found = self.event_at(&stream, change.since).await?;
        Ok(match found {
            Some((Event::Space(SpaceEvent::ChannelRemoved(removed)), _)) => Some(Removal {
                version: change.since,
                removed,
                cause: change.cause,
            }),
            _ => None,
        })
    }

    /// Brings the channels that were touched by a change, or later, in step with the space as it is now,
    /// and those that are gone. One that does not come keeps no other from it.
    pub(super) async fn keep_in_step(&self, change: Change, removals: &[Removal]) -> InStep {
        let state = match self.space_now(change.space).await {
            Ok(state) => state,
            Err(failure) => return InStep::late(Position::ZERO, failure),
        };
        let touched = state.touched_since(change.since).filter_map(|channel| {
            let now = state.channel_now(channel)?;
            Some((channel, now, change.cause))
        });
        let gone = removals.iter().map(|it| {
            let now = ChannelNow::gone(change.space, it.version, &it.removed);
            (it.removed.channel, now, it.cause)
        });
        let channels: Vec<_> = touched.chain(gone).collect();
        let followed = channels
            .into_iter()
            .map(|(channel, now, cause)| self.follow(channel, now, cause));
        stream::iter(followed)
            .buffer_unordered(AT_ONCE_MAX)
            .fold(InStep::default(), async |all, one| all.with(one))
            .await
    }

    /// Takes one step after the other until there is none. Returns where the last event of the channel's
    /// stream is that has to do with it, also where another took the steps.
    async fn follow(
        &self,
        channel: ConversationId,
        now: ChannelNow,
        (cause, correlation): Cause,
    ) -> Result<Position, Problem> {
        let (space, version) = (now.space, now.version);
        let stream = StreamName::conversation(channel);
        let mut last = Position::ZERO;
        for step in 0..STEPS_MAX {
            // Whoever takes this step, on whichever node, takes the same one.
            let id = CommandId(space.0).derive(&format!("{channel} {version} {step}"));
            let body = ("follow_space", space, channel, version, step);
            let envelope = Envelope::new(Actor::User(now.by), id, &body)?;
            let envelope = envelope.caused_by(cause, correlation);
            let command = Command::Follow(Box::new(now.clone()));
            let done = self.conversations().execute(&stream, envelope, command);
            let done = match done.await {
                Err(ExecuteError::Refused(refused)) => {
                    // Others wrote to the stream: trying again would help nobody.
                    tracing::error!(%stream, %refused, "a channel cannot follow its space");
                    return Ok(last);
                }
                done => done?,
            };
            last = last.max(done.position);
            if !done.changed {
                return Ok(last);
            }
        }
        let why = "there are more steps than there can be";
        Err(Failure::internal("have a channel follow its space", why).into())
    }
}
