//! Making a service. A bot gets an account first: its handle is claimed, then the account made, then
//! the service. Whatever is cut short, the same command again goes on.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::service::{self, Command, Issue, New, Scope};
use domain::user::NewBot;
use domain::values::{DisplayName, Handle};
use domain::{ServiceId, StreamName, UserId, user};
use infra::auth::hash_of_service_token;
use infra::failure::Failure;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::issued::issued;
use super::{By, IssuedToken};
use crate::CommandApi;
use crate::asking::Asked;
use crate::conversations::broken;
use crate::execute::Envelope;
use crate::identity::claim::{HELD_FOR, claim};
use crate::identity::claims::handle_taken;
use crate::problems::CommandProblems;

/// The service to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateService {
    /// What it is called: 1 to 80 characters. Of a bot also the name that others see.
    pub name: String,
    /// What it may do: one at least; `bot` goes alone.
    pub scopes: Vec<Scope>,
    /// The handle of a bot's account; of no other service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// After this moment its token is worth nothing; without it, when it is replaced or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// The same, checked.
struct Checked {
    name: DisplayName,
    scopes: BTreeSet<Scope>,
    /// Of a bot.
    handle: Option<Handle>,
}

impl CreateService {
    fn checked(&self, now: DateTime<Utc>) -> Result<Checked, Problem> {
        let name = DisplayName::parse(&self.name).map_err(|invalid| broken("/name", invalid))?;
        let scopes: BTreeSet<Scope> = self.scopes.iter().copied().collect();
        let handle = self.handle.as_deref().map(Handle::parse).transpose();
        let handle = handle.map_err(|invalid| broken("/handle", invalid))?;
        match (scopes.contains(&Scope::Bot), &handle) {
            (true, None) => {
                let rule = "a bot has a handle";
                return Err(Problem::invalid_field("/handle", "missing", rule));
            }
            (false, Some(_)) => {
                let rule = "only a bot has a handle";
                return Err(Problem::invalid_field("/handle", "invalid", rule));
            }
            (true, Some(_)) | (false, None) => {}
        }
        check_expiry(self.expires_at, now)?;
        Ok(Checked {
            name,
            scopes,
            handle,
        })
    }
}

/// 422 for a token that would be worth nothing from the beginning.
pub(super) fn check_expiry(
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    if expires_at.is_some_and(|at| at <= now) {
        let rule = "a token expires in the future";
        return Err(Problem::invalid_field("/expires_at", "in_the_past", rule));
    }
    Ok(())
}

/// Makes a service and its first token.
///
/// # Errors
/// 403 `forbidden` for scopes that are not the asker's to give, 409 `handle_taken`, 422 for fields
/// that are wrong, and what every command may answer.
pub async fn create(
    api: &CommandApi,
    by: By,
    request: CreateService,
) -> Result<IssuedToken, Problem> {
    let checked = request.checked(api.clock().now())?;
    by.check(&checked.scopes)?;
    let service = ServiceId::created_by(by.command);
    let account = checked.handle.is_some().then(|| service.account());
    let is_new = matches!(*api.service(service).await?, service::State::Absent);
    // What the service would refuse is refused before there is an account.
    if let (Some(handle), true, 1) = (&checked.handle, is_new, checked.scopes.len()) {
        make_account(api, &by, service, handle, &checked.name).await?;
    }
    let token = api.service_tokens().token(service, 1);
    let command = Command::Create(New {
        name: checked.name,
        scopes: checked.scopes,
        account,
        by: by.actor,
        token: Issue {
            generation: 1,
            hash: hash_of_service_token(&token),
            expires_at: request.expires_at,
        },
    });
    let envelope = Envelope::new(by.actor, by.command, &("create_service", &request))?;
    let stream = StreamName::service(service);
    let done = api.services().execute(&stream, envelope, command).await?;
    api.guard().forget_service(service).await;
    Ok(issued(api, service, account, done).await?)
}

/// Makes the account of the bot `service`, to which nobody logs in.
async fn make_account(
    api: &CommandApi,
    by: &By,
    service: ServiceId,
    handle: &Handle,
    name: &DisplayName,
) -> Result<(), Problem> {
    let user = service.account();
    if api.account(user).await?.is_none() {
        hold(api, by, user, handle).await?;
    }
    let command = user::Command::RegisterBot(NewBot {
        user,
        handle: handle.clone(),
        display_name: name.clone(),
        service,
    });
    let envelope = Envelope::new(
        by.actor,
        by.command.derive("account"),
        &("make_bot", handle, name),
    )?
    .caused_by(by.command, by.command);
    let stream = StreamName::user(user);
    api.users().execute(&stream, envelope, command).await?;
    Ok(())
}

/// Claims `handle` for `user`.
async fn hold(api: &CommandApi, by: &By, user: UserId, handle: &Handle) -> Result<(), Problem> {
    let started_at = api.clock().now();
    let stream = api.handle_stream(handle);
    let is_free = api.find_user(handle.as_str()).await?.is_none();
    if !is_free || !claim(api, by.actor, user, &stream).await? {
        return Err(handle_taken());
    }
    if api.clock().now() - started_at > HELD_FOR {
        let slow = Failure::unavailable("make a bot", "the log took longer than claims hold");
        return Err(slow.into());
    }
    Ok(())
}

/// Make a service
///
/// The answer has its token, which is shown only here. For admins and owners; one that reads the
/// whole log, `auditor`, for owners only.
#[utoipa::path(
    post,
    path = "/v1/services",
    tag = "services",
    request_body = CreateService,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = IssuedToken, description = "It is made"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`handle_taken`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `no_scope`, `bot_alone`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<CreateService>,
) -> Result<(StatusCode, Json<IssuedToken>), Problem> {
    let by = By::caller(&asked)?;
    let made = create(&api, by, request).await?;
    Ok((StatusCode::CREATED, Json(made)))
}
