//! Authenticator apps.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::CommandId;
use domain::user::Refused;
use domain::user::factors::{FactorChange, Refused as FactorRefused};
use infra::commands::Accepted;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::identity::factors::proof::{
    FactorChanged, Proven, answer, change, change_unproven, secret,
};
use crate::problems::CommandProblems;

/// What an authenticator app is given.
#[derive(Serialize, ToSchema)]
pub(crate) struct TotpBegun {
    /// The command's answer.
    #[serde(flatten)]
    accepted: Accepted,
    /// In base32, to be typed: for SHA-1, six digits and 30 seconds.
    secret: String,
    /// `otpauth://totp/…`, to be shown as a QR code.
    uri: String,
}

/// The app's first code.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmTotp {
    /// What it shows now; spaces and hyphens in it do not count.
    code: String,
}

async fn begin_totp(
    api: &CommandApi,
    asked: &Asked,
    address: ClientAddress,
    request: Proven,
) -> Result<TotpBegun, Problem> {
    let (user, enrolment) = (asked.asking.user, asked.asking.command);
    let enrol = FactorChange::BeginTotp { enrolment };
    let done = change(api, asked, address.0, (request.proof, "begin_totp"), enrol).await?;
    let account = api.account(user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    // A retry long after does not show the secret again.
    let begun = account.factors.begun(api.clock().now());
    let begun = begun.filter(|begun| *begun == enrolment);
    begun.ok_or_else(|| Problem::refused(&Refused::Factor(FactorRefused::NothingBegun)))?;
    let keys = api.second_factors();
    let (handle, service) = (account.handle.as_str(), keys.relying_party.name());
    let shown = keys.totp.secret(user, enrolment, handle, service)?;
    Ok(TotpBegun {
        accepted: Answer::new(user.0, done).accepted,
        secret: shown.base32,
        uri: shown.uri,
    })
}

async fn confirm_totp(
    api: &CommandApi,
    asked: &Asked,
    request: &ConfirmTotp,
) -> Result<Answer, Problem> {
    let user = asked.asking.user;
    let now = api.clock().now();
    let account = api.account(user).await?;
    let begun = account.as_ref().and_then(|it| it.factors.begun(now));
    // Where nothing was begun, the rules say so; a retry of what is done gets its answer.
    let enrolment = begun.unwrap_or(CommandId(user.0));
    let keys = &api.second_factors().totp;
    let confirm = FactorChange::EnrolTotp {
        enrolment,
        step: keys.step(user, enrolment, &request.code, now),
        set: asked.asking.command,
    };
    let mark = api.password_mark(&request.code);
    let done = change_unproven(api, asked, ("confirm_totp", mark), confirm, now).await?;
    let done = done.ok_or_else(|| Problem::refused(&Refused::Factor(FactorRefused::WrongTotp)))?;
    Ok(Answer::new(user.0, done))
}

/// Give an authenticator app a secret
///
/// It counts once its first code came, within 15 minutes, at `POST /v1/users/me/factors/totp/confirm`.
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/totp",
    tag = "second factors",
    request_body = Proven,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = TotpBegun, description = "The secret, which is not shown again"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`proof_required`, `wrong_password`, `wrong_factor`, `challenge_invalid`, \
            `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`totp_enrolled`: remove the other first; `is_service`, `nothing_begun` for a retry \
            that came too late, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn begin(
    State(api): State<CommandApi>,
    asked: Asked,
    address: ClientAddress,
    Body(request): Body<Proven>,
) -> Result<Response, Problem> {
    let begun = begin_totp(&api, &asked, address, request).await?;
    Ok(secret(StatusCode::CREATED, begun))
}

/// Let an authenticator app count from now on
///
/// With its first code. From now on logins need a second factor. Where this is the first one, the answer
/// has recovery codes.
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/totp/confirm",
    tag = "second factors",
    request_body = ConfirmTotp,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = FactorChanged, description = "It counts from now on"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`wrong_totp`, `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`nothing_begun`: or it took too long; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn confirm(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ConfirmTotp>,
) -> Result<Response, Problem> {
    let confirmed = confirm_totp(&api, &asked, &request).await?;
    answer(&api, &asked, StatusCode::OK, confirmed).await
}

/// Remove the authenticator app
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/totp/remove",
    tag = "second factors",
    request_body = Proven,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It counts no more, or there was none"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`proof_required`, `wrong_password`, `wrong_factor`, `challenge_invalid`, \
            `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_service`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn remove(
    State(api): State<CommandApi>,
    asked: Asked,
    address: ClientAddress,
    Body(request): Body<Proven>,
) -> Result<Answered, Problem> {
    let proof = (request.proof, "remove_totp");
    let done = change(&api, &asked, address.0, proof, FactorChange::RemoveTotp).await?;
    Ok(Answer::new(asked.asking.user.0, done).ok())
}
