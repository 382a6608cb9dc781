//! Holding a handle or an address for an account that is made in one go: by an import, or for a bot.
//! People who register or come in by an issuer may come back; for them see [`super::claims`].

use chrono::TimeDelta;
use domain::{Actor, CommandId, StreamName, UserId, reservation};
use infra::clock::fresh_id;
use infra::problem::Problem;

use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError};

/// How long what was claimed is surely held: whoever has no account by then gives up, as another may
/// take a claim over that is a minute old.
pub(crate) const HELD_FOR: TimeDelta = TimeDelta::seconds(30);

/// Whether `user` now holds what `stream` is about, claimed just now: a claim that never came to the
/// account is made anew, as another might take it over for its age.
pub(crate) async fn claim(
    api: &CommandApi,
    actor: Actor,
    user: UserId,
    stream: &StreamName,
) -> Result<bool, Problem> {
    let ask = |command| async move {
        // A fresh id each time: the answer to an earlier try may have been overtaken since.
        let envelope = Envelope::new(actor, CommandId(fresh_id()), &("claim", user))?;
        match api.reservations().execute(stream, envelope, command).await {
            Ok(done) => Ok(Some(done.changed)),
            Err(ExecuteError::Refused(reservation::Refused::Taken { .. })) => Ok(None),
            Err(error) => Err(Problem::from(error)),
        }
    };
    let claim = reservation::Command::Claim { user };
    match ask(claim).await? {
        Some(true) => Ok(true),
        None => Ok(false),
        Some(false) => {
            ask(reservation::Command::Release { user }).await?;
            Ok(ask(claim).await?.is_some())
        }
    }
}
