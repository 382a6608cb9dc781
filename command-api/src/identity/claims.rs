//! Claiming what only one may hold, on the way to an account: a handle, an address, an issuer's
//! identity.
//!
//! A claim may be taken over once it is older than [`CLAIM_AGE_MAX`] and its holder has no account that
//! it belongs to. So that nobody finishes on a claim that they have lost, an account is only made or
//! changed while its claims are younger than [`CLAIM_AGE_GOOD`], and within [`CLAIMING_TIME_MAX`] of
//! claiming. Claims are never released on the way: another try of the same command could be about to
//! finish on them.

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::reservation::{Command, Refused};
use domain::user::Account;
use domain::{Actor, CommandId, StreamName, UserId, Version};
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::problem::Problem;

use super::reservation_envelope;
use crate::CommandApi;
use crate::execute::ExecuteError;

/// How old the claim of an unfinished command is before another may take it over.
pub(crate) const CLAIM_AGE_MAX: TimeDelta = TimeDelta::minutes(1);

/// How old one's own claim may be to finish on it. Between this and [`CLAIM_AGE_MAX`] a retry is
/// 503 `unavailable`, with the time to wait; after that it claims anew.
const CLAIM_AGE_GOOD: TimeDelta = TimeDelta::seconds(30);

/// How long claiming may take; then it is 503 `unavailable` and may be tried again. Together with
/// [`CLAIM_AGE_GOOD`] less than [`CLAIM_AGE_MAX`], by the time that storing the account may take.
const CLAIMING_TIME_MAX: TimeDelta = TimeDelta::seconds(15);

/// Somebody who claims, in the course of one command.
pub(crate) struct Claimant {
    user: UserId,
    command: CommandId,
    began_at: DateTime<Utc>,
}

impl Claimant {
    /// `user`, in the course of `command`; the time for claiming begins now.
    pub(crate) fn begin(api: &CommandApi, user: UserId, command: CommandId) -> Self {
        Self {
            user,
            command,
            began_at: api.clock().now(),
        }
    }

    /// Claims `stream`; takes it over from a command that never came to an end. `is_of` says whether it
    /// belongs to the account of whoever holds it. Returns whether it is claimed now, and by a young
    /// claim.
    pub(crate) async fn claim(
        &self,
        api: &CommandApi,
        stream: &StreamName,
        is_of: impl Fn(&Account) -> bool,
    ) -> Result<bool, Problem> {
        let user = self.user;
        let ask = |command| self.ask(api, stream, command);
        if let Some(holder) = ask(Command::Claim { user }).await? {
            let account = api.account(holder).await?;
            if account.is_some_and(|account| is_of(&account))
                || age(api, stream).await? <= CLAIM_AGE_MAX
            {
                return Ok(false);
            }
            let take_over = Command::TakeOver { from: holder, user };
            return Ok(ask(take_over).await?.is_none());
        }
        let age = age(api, stream).await?;
        if age <= CLAIM_AGE_GOOD {
            return Ok(true);
        }
        if age <= CLAIM_AGE_MAX {
            let waiting = "an earlier try of this command may still be under way";
            let mut problem = Problem::from(Failure::unavailable("claim", waiting));
            let seconds = (CLAIM_AGE_MAX - age).num_seconds() + 1;
            problem.retry_after_s = u64::try_from(seconds).ok();
            return Err(problem);
        }
        ask(Command::Release { user }).await?;
        Ok(ask(Command::Claim { user }).await?.is_none())
    }

    /// Lets go of what the account does not have any more.
    pub(crate) async fn release(
        &self,
        api: &CommandApi,
        stream: &StreamName,
    ) -> Result<(), Problem> {
        let user = self.user;
        self.ask(api, stream, Command::Release { user }).await?;
        Ok(())
    }

    /// Refuses to finish where claiming took so long that a claim may be lost: 503 `unavailable`.
    pub(crate) fn check_time(&self, api: &CommandApi) -> Result<(), Failure> {
        if api.clock().now() - self.began_at <= CLAIMING_TIME_MAX {
            return Ok(());
        }
        let slow = "the log took longer than claims hold";
        Err(Failure::unavailable("claim", slow))
    }

    /// Asks `command` of a reservation; says who holds it where that is somebody else.
    async fn ask(
        &self,
        api: &CommandApi,
        stream: &StreamName,
        command: Command,
    ) -> Result<Option<UserId>, Problem> {
        let envelope = reservation_envelope(Actor::User(self.user), self.command)?;
        match api.reservations().execute(stream, envelope, command).await {
            Ok(_) => Ok(None),
            Err(ExecuteError::Refused(Refused::Taken { by })) => Ok(Some(by)),
            Err(error) => Err(Problem::from(error)),
        }
    }
}

/// 409 `handle_taken`, pointing at `/handle`.
pub(crate) fn handle_taken() -> Problem {
    let (code, detail) = ("handle_taken", "this handle is taken");
    let problem = Problem::new(StatusCode::CONFLICT, code, "This is taken");
    problem.with_field("/handle", code, detail)
}

/// How long ago a reservation changed hands last.
async fn age(api: &CommandApi, stream: &StreamName) -> Result<TimeDelta, Failure> {
    let last = api
        .store()
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    Ok(last.first().map_or(TimeDelta::zero(), |changed| {
        api.clock().now() - changed.recorded_at
    }))
}
