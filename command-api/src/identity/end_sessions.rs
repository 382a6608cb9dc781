//! Ending what was opened with a password that is another now.

use domain::{CommandId, SessionId, UserId};
use infra::problem::Problem;

use crate::CommandApi;

/// Ends the sessions of `user` but `kept`, in consequence of `command`.
///
/// MERGE: the one call site for `log_out_everywhere(api, envelope, user, kept)` of the branch `sessions`,
/// with an envelope of `command.derive("log out everywhere")`, caused by `command`. Until it is here,
/// another password ends no session.
pub(crate) async fn end_other_sessions(
    api: &CommandApi,
    user: UserId,
    command: CommandId,
    kept: Option<SessionId>,
) -> Result<(), Problem> {
    tracing::debug!(%user, %command, ?kept, "no session is ended");
    api.guard().forget_user(user).await;
    Ok(())
}
