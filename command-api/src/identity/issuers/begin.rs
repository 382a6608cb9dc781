//! Beginning a login at another service. Nothing is stored: what must be known when the browser comes
//! back travels sealed with the client.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use infra::http::{Body, InPath};
use infra::issuers::Purpose;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{client, issuer};
use crate::CommandApi;
use crate::problems::OpenProblems;

/// Where to come back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginLogin {
    /// One of the addresses that the issuer is configured with, letter by letter; the first of them where
    /// none is given.
    #[serde(default)]
    redirect_uri: Option<String>,
}

/// A login that was begun.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LoginBegun {
    /// Where to send the user's browser.
    authorization_url: String,
    /// To be kept by whoever began, and sent with what the browser brings back. Not to be given to
    /// others.
    login: String,
    /// After this moment it is worth nothing.
    expires_at: DateTime<Utc>,
}

/// Begins a login at the issuer `name` for `purpose`.
pub(super) async fn begin(
    api: &CommandApi,
    name: &str,
    request: &BeginLogin,
    purpose: Purpose,
) -> Result<LoginBegun, Problem> {
    let issuer = issuer(api, name)?;
    let client = client(issuer)?;
    let mut allowed = client.redirect_uris.iter();
    let redirect_uri = match &request.redirect_uri {
        None => allowed.next(),
        Some(wanted) => allowed.find(|uri| *uri == wanted),
    };
    let redirect_uri = redirect_uri.ok_or_else(|| {
        let rule = "the browser comes back only to an address that is configured for this issuer";
        Problem::invalid_field("/redirect_uri", "invalid_redirect_uri", rule)
    })?;
    let begun = api.issuers().begin(issuer, client, redirect_uri, purpose);
    let begun = begun.await?;
    Ok(LoginBegun {
        authorization_url: begun.authorization_url,
        login: begun.login,
        expires_at: begun.expires_at,
    })
}

/// Begin a login at another service
///
/// Send the user's browser to `authorization_url`. It comes back to the redirect address with `state` and
/// `code`, or with `error` where the user changed their mind. Each call begins another login; nothing is
/// stored, so that an Idempotency-Key changes nothing.
#[utoipa::path(
    post,
    path = "/v1/logins/{issuer}",
    tag = "sessions",
    request_body = BeginLogin,
    params(
        ("issuer" = String, Path, description = "The name that it is configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Has no effect here"),
    ),
    responses(
        (status = 200, body = LoginBegun, description = "Go there"),
        OpenProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`issuer_unavailable`, `busy`, `unavailable`; with Retry-After"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    InPath(name): InPath<String>,
    Body(request): Body<BeginLogin>,
) -> Result<(StatusCode, Json<LoginBegun>), Problem> {
    let begun = begin(&api, &name, &request, Purpose::LogIn).await?;
    Ok((StatusCode::OK, Json(begun)))
}
