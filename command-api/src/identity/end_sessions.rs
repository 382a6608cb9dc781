//! Ending what was opened with a password that is another now.

use domain::{CommandId, SessionId, UserId};
use infra::problem::Problem;

use crate::CommandApi;

/// Which session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// None.
    None,
    /// The one that asks.
    Session(SessionId),
}

/// Ends the sessions of `user` but `kept`, in consequence of `command`.
///
/// MERGE: this is the one call site for `log_out_everywhere(api, envelope, user, kept)` of the branch
/// `sessions`. Until it is there no session is ended by another password.
pub(crate) async fn end_other_sessions(
    api: &CommandApi,
    user: UserId,
    command: CommandId,
    kept: Kept,
) -> Result<(), Problem> {
    tracing::debug!(%user, ?command, ?kept, "sessions are not ended yet");
    api.guard().forget_user(user).await;
    Ok(())
}
