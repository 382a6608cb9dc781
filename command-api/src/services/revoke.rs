//! Ending a service. The account of a bot is closed with it; what it said stays.

use axum::extract::State;
use domain::service::Command;
use domain::{ServiceId, StreamName, user};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use super::By;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::execute::Envelope;
use crate::problems::CommandProblems;

/// Ends `service` for ever. Ending it again changes nothing.
///
/// # Errors
/// 404 `service_not_found`, and what every command may answer.
pub async fn revoke(api: &CommandApi, by: By, service: ServiceId) -> Result<Accepted, Problem> {
    Ok(end(api, by, service).await?.accepted)
}

async fn end(api: &CommandApi, by: By, service: ServiceId) -> Result<Answer, Problem> {
    let envelope = Envelope::new(by.actor, by.command, &("revoke_service", service))?;
    let command = Command::Revoke { by: by.actor };
    let stream = StreamName::service(service);
    let done = api.services().execute(&stream, envelope, command).await?;
    api.guard().forget_service(service).await;
    close_account(api, by, service).await?;
    Ok(Answer::new(service.0, done))
}

async fn close_account(api: &CommandApi, by: By, service: ServiceId) -> Result<(), Problem> {
    let bot = service.account();
    if api.account(bot).await?.is_none() {
        return Ok(());
    }
    let id = by.command.derive("account");
    let envelope = Envelope::new(by.actor, id, &("revoke_service", service))?
        .caused_by(by.command, by.command);
    let stream = StreamName::user(bot);
    let closed = api.users();
    closed
        .execute(&stream, envelope, user::Command::Deactivate)
        .await?;
    api.forget_user(bot).await;
    Ok(())
}

/// End a service
///
/// Its token is worth nothing from then on, and it gets no other; its connections are closed. For
/// admins and owners.
#[utoipa::path(
    delete,
    path = "/v1/services/{service}",
    tag = "services",
    params(
        ("service" = ServiceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is ended, or was already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`service_not_found`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(service): InPath<ServiceId>,
) -> Result<Answered, Problem> {
    let by = By::caller(&asked)?;
    Ok(end(&api, by, service).await?.ok())
}
