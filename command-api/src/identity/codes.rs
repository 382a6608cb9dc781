//! What the routes about codes share: making one, and finding out whether one was right.

use chrono::{DateTime, Utc};
use domain::user::codes::{
    CODE_LIFETIME, ChallengeHash, CodeCommand, CodeHash, CodePurpose, NewCode, Offer, Stranger,
};
use domain::user::{Command, Refused, UserEvent};
use domain::{Actor, CommandId, Event, StreamName, UserId};
use infra::codes::{Challenge, Code, CodeOf};
use infra::event_store::Direction;
use infra::failure::Failure;
use serde::Serialize;

use crate::CommandApi;
use crate::execute::{Done, Envelope, ExecuteError};

/// What failed.
const READ: &str = "read what came of a code";

/// What came of a code that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was right, and what it was sent for is done.
    Right {
        /// What the first try and all retries are answered.
        done: Done,
        /// When it was done; for what changed nothing, now.
        at: DateTime<Utc>,
    },
    /// It was wrong, used, too old or tried too often, or there was none.
    Wrong,
}

/// The code that `command` has mailed to `user`. `asked_by` is who asks, where it is not the user.
pub(crate) fn new_code(
    api: &CommandApi,
    user: UserId,
    purpose: CodePurpose,
    command: CommandId,
    asked_by: Option<Stranger>,
) -> NewCode {
    let at = api.clock().now();
    let code = api.code_keys().code(&CodeOf {
        command,
        user,
        purpose,
        expires_at: at + CODE_LIFETIME,
    });
    NewCode {
        hash: api.code_keys().hash(user, purpose, &code),
        asked_by,
        at,
    }
}

/// A code that a stranger tries: what stands for it in the log and in commands' hashes.
#[derive(Serialize)]
pub(crate) struct Try {
    challenge: ChallengeHash,
    hash: CodeHash,
}

impl Try {
    /// The try of `code`, which was asked for with `challenge`.
    pub(crate) fn new(
        api: &CommandApi,
        user: UserId,
        purpose: CodePurpose,
        challenge: &Challenge,
        code: &Code,
    ) -> Self {
        Self {
            challenge: api.code_keys().challenge_hash(user, challenge),
            hash: api.code_keys().hash(user, purpose, code),
        }
    }

    /// What is decided, now.
    pub(crate) fn offer(&self, api: &CommandApi) -> Offer {
        Offer {
            challenge: Some(self.challenge.clone()),
            hash: self.hash.clone(),
            at: api.clock().now(),
        }
    }
}

/// What goes with a try into the log. Everything that is asked, which is `body`, is in the command's id: to
/// be told that a key was used for something else would say that there is an account. Who tries is not
/// known, so the user is not the actor.
///
/// # Errors
/// Only when `body` cannot be written as JSON.
pub(crate) fn envelope_of_try(
    command: CommandId,
    body: &impl Serialize,
) -> Result<Envelope, Failure> {
    let asked = Envelope::new(Actor::System, command, body)?;
    let trying = command.derive(&format!("try a code {}", asked.hash()));
    Envelope::new(Actor::System, trying, body)
}

/// The first event of the command that came to `done`, which says what came of it; also for a retry, long
/// after; and when it was recorded. `what` is what fails where it cannot be read.
pub(crate) async fn first_event(
    api: &CommandApi,
    stream: &StreamName,
    done: Done,
    what: &'static str,
) -> Result<Option<(Event, DateTime<Utc>)>, Failure> {
    let events = api
        .store()
        .read_stream(stream, done.seq, Direction::Forward, 1)
        .await?;
    let Some(recorded) = events.first() else {
        return Ok(None);
    };
    let event = recorded.event();
    let event = event.map_err(|error| Failure::internal(what, error))?;
    Ok(Some((event, recorded.recorded_at)))
}

/// Carries out `command`, which offers a code. A wrong try is in the log when this returns.
pub(crate) async fn offer_code(
    api: &CommandApi,
    user: UserId,
    envelope: Envelope,
    command: CodeCommand,
) -> Result<Verdict, ExecuteError<Refused>> {
    let stream = StreamName::user(user);
    let executed = api
        .users()
        .execute(&stream, envelope, Command::Code(command));
    let done = match executed.await {
        Ok(done) => done,
        Err(ExecuteError::Refused(Refused::WrongCode)) => return Ok(Verdict::Wrong),
        Err(error) => return Err(error),
    };
    if !done.changed {
        let at = api.clock().now();
        return Ok(Verdict::Right { done, at });
    }
    match first_event(api, &stream, done, READ).await? {
        Some((Event::User(UserEvent::CodeUsed(_)), at)) => Ok(Verdict::Right { done, at }),
        Some((Event::User(UserEvent::CodeRefused(_)), _)) => Ok(Verdict::Wrong),
        Some(_) | None => Err(Failure::internal(READ, "the event is another").into()),
    }
}
