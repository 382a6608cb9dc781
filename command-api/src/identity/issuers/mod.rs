//! Other services whose word lets people in: logging in by them, linking them to an account, their own
//! access tokens and their webhooks.

mod admit;
mod begin;
mod callback;
mod first_sight;
mod identities;
mod record;
#[cfg(test)]
mod tests;
mod webhook;

use domain::values::IssuerName;
use infra::issuers::{Client, Issuer, LoginRefused, Pending};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;

/// Longest code that an issuer's browser brings, in bytes.
const CODE_BYTES_MAX: usize = 4 * 1024;

pub(super) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(begin::post))
        .routes(routes!(callback::post))
        .routes(routes!(identities::get))
        .routes(routes!(identities::post, identities::delete))
        .routes(routes!(identities::finish))
        .routes(routes!(webhook::post))
}

/// What the browser brought back from an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Brought {
    /// As the login was begun with.
    login: String,
    /// The parameter `state`.
    state: String,
    /// The parameter `code`.
    code: String,
    /// The parameter `iss`, where there is one.
    #[serde(default)]
    iss: Option<String>,
}

/// The issuer of that name; 404 `issuer_not_found`.
fn issuer<'a>(api: &'a CommandApi, name: &str) -> Result<&'a Issuer, Problem> {
    let name = IssuerName::parse(name).ok();
    name.and_then(|name| api.issuers().get(&name))
        .ok_or_else(|| {
            Problem::not_found("issuer_not_found", "no issuer of this name is configured")
        })
}

/// As whom we are known there; 404 `issuer_not_found` where nobody logs in by it.
fn client(issuer: &Issuer) -> Result<&Client, Problem> {
    let client = issuer.config().client.as_ref();
    client.ok_or_else(|| Problem::not_found("issuer_not_found", "nobody logs in by this issuer"))
}

/// What was begun, if it is what the browser came back from.
async fn pending(api: &CommandApi, issuer: &Issuer, brought: &Brought) -> Result<Pending, Problem> {
    let pending = api.issuers().pending(issuer, &brought.login);
    let pending = pending.map_err(|refused| match refused {
        LoginRefused::Invalid => Problem::invalid_field("/login", "invalid_login", refused),
        LoginRefused::Expired => Problem::invalid_field("/login", "login_expired", refused),
    })?;
    if !pending.is_state(&brought.state) {
        let rule = "this is not the state of this login: another site may have sent the browser";
        return Err(Problem::invalid_field("/state", "wrong_state", rule));
    }
    if !(1..=CODE_BYTES_MAX).contains(&brought.code.len()) {
        let rule = "a code has 1 to 4096 bytes";
        return Err(Problem::invalid_field("/code", "invalid_code", rule));
    }
    if !issuer.answers_as(brought.iss.as_deref()).await? {
        let rule = "the answer does not say that it is of this issuer";
        return Err(Problem::invalid_field("/iss", "wrong_issuer", rule));
    }
    Ok(pending)
}

/// What was begun is of another purpose or of another user.
fn wrong_login() -> Problem {
    let rule = "this login was not begun for this";
    Problem::invalid_field("/login", "invalid_login", rule)
}
