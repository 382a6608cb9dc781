//! What a user may do on the whole server. Only the owner gives and takes it here; whoever holds
//! the data folder does so through [`change_role`].

use axum::extract::State;
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
/// 404 `user_not_found`, and what every command may answer.
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

/// Carries out what somebody asked who may.
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
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    api.guard().forget_user(user).await;
    Ok(Answer::new(user.0, done))
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
