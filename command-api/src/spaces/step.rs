//! Keeping channels in step with their space. Who is in a channel stands in the channel's own stream, as
//! events that whoever changed the space makes there; what is cut short is gone on with by whoever comes
//! next. Doing it again, late, or on two nodes at a time changes nothing: what the channel has followed
//! is in its stream too.

use domain::conversation::{Command, Conversation};
use domain::space::State;
use domain::{Actor, CommandId, ConversationId, Position, SpaceId, StreamName, UserId, Version};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use infra::problem::Problem;

use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError};

/// Channels that follow at the same time.
const AT_ONCE_MAX: usize = 16;

/// Steps of one channel at most: everybody goes and others come, and one that says that it is done.
const STEPS_MAX: usize = 2 * Conversation::MEMBERS_MAX / Conversation::FOLLOW_MEMBERS_MAX + 2;

/// What is to be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Of which space.
    pub(super) space: SpaceId,
    /// From which of its events on.
    pub(super) since: Version,
    /// Who made it.
    pub(super) by: UserId,
    /// The command that did, and the one that began it all.
    pub(super) cause: (CommandId, CommandId),
}

impl CommandApi {
    /// Brings the channels that were touched by a change, or later, in step with the space as it is now,
    /// and those that are `gone`. Returns where the last event that this made is in the log.
    pub(super) async fn keep_in_step(
        &self,
        change: Change,
        gone: &[ConversationId],
    ) -> Result<Position, Problem> {
        let state = self.space_now(change.space).await?;
        let there = |channel: &ConversationId| {
            let channels = state.space.as_ref().map(|space| &space.channels);
            channels.is_some_and(|channels| channels.contains_key(channel))
        };
        let gone = gone.iter().copied().filter(|channel| !there(channel));
        let channels: Vec<ConversationId> = state.touched_since(change.since).chain(gone).collect();
        let followed = channels
            .into_iter()
            .map(|channel| self.follow(&state, change, channel));
        stream::iter(followed)
            .buffer_unordered(AT_ONCE_MAX)
            .try_fold(Position::ZERO, async |last, at| Ok(last.max(at)))
            .await
    }

    async fn follow(
        &self,
        state: &State,
        change: Change,
        channel: ConversationId,
    ) -> Result<Position, Problem> {
        let mut last = Position::ZERO;
        let Some(now) = state.channel_now(channel, change.by) else {
            return Ok(last);
        };
        let (version, by) = (now.version, now.by);
        let stream = StreamName::conversation(channel);
        let (cause, correlation) = change.cause;
        for step in 0..STEPS_MAX {
            // Whoever takes this step, on whichever node, takes the same one.
            let id = CommandId(change.space.0).derive(&format!("{channel} {version} {step}"));
            let body = ("follow_space", change.space, channel, version, step);
            let envelope = Envelope::new(Actor::User(by), id, &body)?;
            let envelope = envelope.caused_by(cause, correlation);
            let command = Command::Follow(Box::new(now.clone()));
            let done = self.conversations().execute(&stream, envelope, command);
            let done = match done.await {
                Err(ExecuteError::Refused(refused)) => {
                    // Others wrote to the stream: trying again would help nobody.
                    tracing::error!(%stream, %refused, "a channel cannot follow its space");
                    break;
                }
                done => done?,
            };
            if !done.changed {
                break;
            }
            last = last.max(done.position);
        }
        Ok(last)
    }
}
