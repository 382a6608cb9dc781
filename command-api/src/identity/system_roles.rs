//! What a user may do on the whole server. Only the owner gives and takes it here; whoever holds
//! the data folder does so through [`change_role`].

use axum::extract::State;
use domain::owners::Command as OwnersCommand;
use domain::user::{Command, SystemRole};
use domain::{Actor, CommandId, StreamName, UserId};
use infra::clock::fresh_id;
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;
use serde::Serialize;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::execute::Envelope;
use crate::identity::reservation_envelope;
use crate::problems::CommandProblems;

/// A change of what a user may do on the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RoleChange {
    /// They may do more.
    Grant(SystemRole),
    /// They may do less.
    Revoke(SystemRole),
}

/// Changes a role of `user` for whoever holds the data folder: [`Actor::Operator`].
///
/// # Errors
/// 404 `user_not_found`, 409 `last_owner`, and what every command may answer.
pub async fn change_role(
    api: &CommandApi,
    user: UserId,
    change: RoleChange,
) -> Result<Accepted, Problem> {
    let command = CommandId(fresh_id());
    let envelope = Envelope::new(Actor::Operator, command, &("change_role", user, change))?;
    Ok(carry_out(api, envelope, user, change).await?.accepted)
}

async fn ask(
    api: &CommandApi,
    asked: &Asked,
    user: UserId,
    change: RoleChange,
) -> Result<Answer, Problem> {
    if !asked.caller.is_owner() {
        return Err(Problem::forbidden("only the owner changes system roles"));
    }
    let envelope = asked
        .asking
        .envelope(&("change_system_role", user, change))?;
    carry_out(api, envelope, user, change).await
}

/// Carries out what somebody asked who may. Who becomes an owner is counted in after that, and who
/// ceases to be one counted out before: whatever is cut short, nobody is counted who is no owner, and
/// the last who is counted stays.
pub(crate) async fn carry_out(
    api: &CommandApi,
    envelope: Envelope,
    user: UserId,
    change: RoleChange,
) -> Result<Answer, Problem> {
    let command = match change {
        RoleChange::Grant(role) => Command::GrantSystemRole(role),
        RoleChange::Revoke(role) => Command::RevokeSystemRole(role),
    };
    if change == RoleChange::Revoke(SystemRole::Owner) && is_owner(api, user).await? {
        count(api, &envelope, OwnersCommand::Remove { user }).await?;
    }
    let added = (change == RoleChange::Grant(SystemRole::Owner)).then(|| envelope.clone());
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    if let Some(envelope) = added {
        count_in(api, &envelope, user).await?;
    }
    api.forget_user(user).await;
    Ok(Answer::new(user.0, done))
}

async fn is_owner(api: &CommandApi, user: UserId) -> Result<bool, Problem> {
    let account = api.account(user).await?;
    Ok(account.is_some_and(|account| account.system_roles.contains(&SystemRole::Owner)))
}

/// Counts `user` in who was made an owner by the command in `envelope`; but not where that is long
/// ago and the role was taken away since, or is being taken away now.
pub(crate) async fn count_in(
    api: &CommandApi,
    envelope: &Envelope,
    user: UserId,
) -> Result<(), Problem> {
    if !is_owner(api, user).await? {
        return Ok(());
    }
    count(api, envelope, OwnersCommand::Add { user }).await?;
    if is_owner(api, user).await? {
        return Ok(());
    }
    count(api, envelope, OwnersCommand::Remove { user }).await
}

/// Counts an owner in or out, in the course of the command in `envelope`.
async fn count(
    api: &CommandApi,
    envelope: &Envelope,
    change: OwnersCommand,
) -> Result<(), Problem> {
    let envelope = reservation_envelope(envelope.actor(), envelope.id())?;
    let stream = StreamName::owners();
    api.owners().execute(&stream, envelope, change).await?;
    Ok(())
}

/// Give a system role
#[utoipa::path(
    put,
    path = "/v1/users/{user}/system-roles/{role}",
    tag = "users",
    params(
        ("user" = UserId, Path, description = "Whom"),
        ("role" = SystemRole, Path, description = "Which role"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They have it, or had it already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: only the owner may"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`, `not_found` for a role that does not exist"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_service`: a bot has no roles; `account_not_active`, `too_many_owners` for \
                        a new owner; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((user, role)): InPath<(UserId, SystemRole)>,
) -> Result<Answered, Problem> {
    let granted = RoleChange::Grant(role);
    Ok(ask(&api, &asked, user, granted).await?.ok())
}

/// Take a system role away
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/system-roles/{role}",
    tag = "users",
    params(
        ("user" = UserId, Path, description = "From whom"),
        ("role" = SystemRole, Path, description = "Which role"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They do not have it, or had it not"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: only the owner may"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`, `not_found` for a role that does not exist"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`last_owner`: somebody owns the server; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((user, role)): InPath<(UserId, SystemRole)>,
) -> Result<Answered, Problem> {
    let revoked = RoleChange::Revoke(role);
    Ok(ask(&api, &asked, user, revoked).await?.ok())
}
