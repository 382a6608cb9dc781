//! What the routes about codes share: making one, and finding out whether one was right.

use chrono::{DateTime, Utc};
use domain::user::codes::{CODE_LIFETIME, CodeCommand, CodeHash, CodePurpose, NewCode, Offer};
use domain::user::{Command, Refused, UserEvent};
use domain::{CommandId, Event, StreamName, UserId};
use infra::codes::{Code, CodeOf};
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::problem::Problem;

use crate::CommandApi;
use crate::execute::{Done, Envelope, ExecuteError};

/// What failed.
const READ: &str = "read what came of a code";

/// What came of a code that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was right, and what it was sent for is done.
    Right(Done),
    /// It was wrong, used, too old or tried too often, or there was none.
    Wrong,
}

/// The code that `command` has mailed to `user`.
pub(crate) fn new_code(
    api: &CommandApi,
    user: UserId,
    purpose: CodePurpose,
    command: CommandId,
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
        at,
    }
}

/// What stands for a code in the log and in commands' hashes.
pub(crate) fn hash(api: &CommandApi, user: UserId, purpose: CodePurpose, code: &Code) -> CodeHash {
    api.code_keys().hash(user, purpose, code)
}

/// A code that somebody sends now.
pub(crate) fn offer(hash: &CodeHash, now: DateTime<Utc>) -> Offer {
    Offer {
        hash: hash.clone(),
        at: now,
    }
}

/// The first event of the command that came to `done`, which says what came of it; also for a retry, long
/// after. `what` is what fails where it cannot be read.
pub(crate) async fn first_event(
    api: &CommandApi,
    stream: &StreamName,
    done: Done,
    what: &'static str,
) -> Result<Option<Event>, Failure> {
    let events = api
        .store()
        .read_stream(stream, done.seq, Direction::Forward, 1)
        .await?;
    let event = events.first().map(|recorded| recorded.event()).transpose();
    event.map_err(|error| Failure::internal(what, error))
}

/// Carries out `command`, which offers a code. A wrong try is in the log when this returns.
pub(crate) async fn offer_code(
    api: &CommandApi,
    user: UserId,
    envelope: Envelope,
    command: CodeCommand,
) -> Result<Verdict, Problem> {
    let stream = StreamName::user(user);
    let executed = api
        .users()
        .execute(&stream, envelope, Command::Code(command));
    let done = match executed.await {
        Ok(done) => done,
        Err(ExecuteError::Refused(Refused::WrongCode)) => return Ok(Verdict::Wrong),
        Err(error) => return Err(error.into()),
    };
    if !done.changed {
        return Ok(Verdict::Right(done));
    }
    match first_event(api, &stream, done, READ).await? {
        Some(Event::User(UserEvent::CodeUsed(_))) => Ok(Verdict::Right(done)),
        Some(Event::User(UserEvent::CodeRefused(_))) => Ok(Verdict::Wrong),
        Some(_) | None => Err(Failure::internal(READ, "the event is another").into()),
    }
}
