//! Removing all second factors of a user who lost them: by those who run the server, on the record.

use axum::extract::State;
use domain::user::factors::FactorCommand;
use domain::user::{Refused, SystemRole};
use domain::{Actor, CommandId, UserId};
use infra::clock::fresh_id;
use infra::commands::Accepted;
use infra::http::{InPath, admins_only};
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::execute::{Done, Envelope};
use crate::identity::factors::show::carry_out;
use crate::problems::CommandProblems;

/// Removes all second factors of `user` for whoever holds the data folder: [`Actor::Operator`].
///
/// # Errors
/// 404 `user_not_found`, and what every command may answer.
pub async fn remove_second_factors(api: &CommandApi, user: UserId) -> Result<Accepted, Problem> {
    let by = Actor::Operator;
    let envelope = Envelope::new(by, CommandId(fresh_id()), &("remove_second_factors", user))?;
    let done = remove_all(api, envelope, user, by).await?;
    Ok(Answer::new(user.0, done).accepted)
}

async fn remove_all(
    api: &CommandApi,
    envelope: Envelope,
    user: UserId,
    by: Actor,
) -> Result<Done, Problem> {
    let at = api.clock().now();
    let command = FactorCommand::RemoveAll { by, at };
    let done = carry_out(api, user, envelope, command).await?;
    done.ok_or_else(|| Problem::refused(&Refused::NotFound))
}

/// Only the owner takes the second factors of those who run the server away: an admin would be one of them
/// by it, or more.
async fn check_may(api: &CommandApi, asked: &Asked, user: UserId) -> Result<(), Problem> {
    if asked.caller.is_owner() {
        return Ok(());
    }
    admins_only(&asked.caller)?;
    let account = api.account(user).await?;
    let roles = account.map(|account| account.system_roles);
    let runs = |role: &SystemRole| matches!(role, SystemRole::Owner | SystemRole::Admin);
    if roles.is_some_and(|roles| roles.iter().any(runs)) {
        let rule = "only the owner removes second factors of admins and owners";
        return Err(Problem::forbidden(rule));
    }
    Ok(())
}

/// Remove all second factors of a user who lost them
///
/// They log in with what is left: the password, or a code from the mail.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/factors",
    tag = "second factors",
    params(
        ("user" = UserId, Path, description = "Whose"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They have none, or had none"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: only admins and owners may, and only the owner for those who run the \
            server; `csrf_token_wrong`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(user): InPath<UserId>,
) -> Result<Answered, Problem> {
    check_may(&api, &asked, user).await?;
    let by = Actor::User(asked.asking.user);
    let envelope = asked.asking.envelope(&("remove_second_factors", user))?;
    let done = remove_all(&api, envelope, user, by).await?;
    Ok(Answer::new(user.0, done).ok())
}
