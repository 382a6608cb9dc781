//! Giving a service another token. The one before is worth nothing from then on.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::service::{self, Command, Issue, Refused};
use domain::{Change, ServiceId, StreamName};
use infra::auth::hash_of_service_token;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::create::check_expiry;
use super::issued::issued;
use super::{By, IssuedToken};
use crate::CommandApi;
use crate::asking::Asked;
use crate::execute::Envelope;
use crate::problems::CommandProblems;

/// How long the new token lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateService {
    /// After this moment the token is worth nothing; null: when it is replaced or revoked; absent: as
    /// the token before.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<DateTime<Utc>>, required = false)]
    pub expires_at: Change<DateTime<Utc>>,
}

/// Gives `service` another token.
///
/// # Errors
/// 403 `forbidden` where its scopes are not the asker's to give, 404 `service_not_found`, 409
/// `service_revoked`, and what every command may answer.
pub async fn rotate(
    api: &CommandApi,
    by: By,
    service: ServiceId,
    request: RotateService,
) -> Result<IssuedToken, Problem> {
    let state = api.service(service).await?;
    let live = match &*state {
        service::State::Live(live) => live,
        service::State::Absent => return Err(Problem::refused(&Refused::NotFound)),
        service::State::Revoked => return Err(Problem::refused(&Refused::Revoked)),
    };
    by.check(&live.scopes)?;
    let expires_at = request.expires_at.apply(live.expires_at);
    check_expiry(expires_at, api.clock().now())?;
    let generation = live.generation.saturating_add(1);
    let token = api.service_tokens().token(service, generation);
    let command = Command::Rotate(Issue {
        generation,
        hash: hash_of_service_token(&token),
        expires_at,
    });
    let body = ("rotate_service", service, &request);
    let envelope = Envelope::new(by.actor, by.command, &body)?;
    let stream = StreamName::service(service);
    let done = api.services().execute(&stream, envelope, command).await?;
    api.guard().forget_service(service).await;
    Ok(issued(api, service, live.account, done).await?)
}

/// Give a service another token
///
/// The one before is worth nothing from then on, and connections that came in with it are closed. For
/// admins and owners; of one that reads the whole log for owners only.
#[utoipa::path(
    post,
    path = "/v1/services/{service}/rotate",
    tag = "services",
    request_body = RotateService,
    params(
        ("service" = ServiceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = IssuedToken, description = "It has another token"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`service_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`service_revoked`, `token_moved`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(service): InPath<ServiceId>,
    Body(request): Body<RotateService>,
) -> Result<Json<IssuedToken>, Problem> {
    let by = By::caller(&asked)?;
    Ok(Json(rotate(&api, by, service, request).await?))
}
