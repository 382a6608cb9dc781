//! `GET /v1/users/me/factors`: the asker's second factors. Asked of the log, as every check of them is.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::PasskeyId;
use domain::user::factors::{Factors, Passkey, RecoveryCodes};
use infra::http::Authenticated;
use infra::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::QueryApi;
use crate::answers::ReadProblems;
use crate::users::user_not_found;

/// The asker's second factors, as of now.
#[derive(Serialize, ToSchema)]
pub(crate) struct FactorsView {
    /// Whether logins need one.
    required: bool,
    /// Whether there is an authenticator app.
    totp: bool,
    /// Recovery codes that were not used yet.
    recovery_codes_left: usize,
    /// Passkeys, in the order in which they were added.
    passkeys: Vec<PasskeyView>,
}

/// A passkey.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasskeyView {
    id: PasskeyId,
    /// What its user calls it.
    name: String,
    added_at: DateTime<Utc>,
    /// When it was used last; absent where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<DateTime<Utc>>,
    /// Whether somebody may have a copy, as its count did not grow: it is not taken any more.
    suspected: bool,
}

fn view(factors: Factors) -> FactorsView {
    let passkey = |(id, passkey): (PasskeyId, Passkey)| PasskeyView {
        id,
        name: passkey.name.as_str().to_owned(),
        added_at: passkey.added_at,
        used_at: passkey.used_at,
        suspected: passkey.suspected,
    };
    let required = factors.are_on();
    let mut passkeys: Vec<_> = factors.passkeys.into_iter().map(passkey).collect();
    passkeys.sort_by_key(|passkey| (passkey.added_at, passkey.id));
    FactorsView {
        required,
        totp: factors.totp.is_some(),
        recovery_codes_left: factors.recovery.as_ref().map_or(0, RecoveryCodes::left),
        passkeys,
    }
}

/// My second factors
#[utoipa::path(
    get,
    path = "/v1/users/me/factors",
    tag = "second factors",
    responses(
        (status = 200, description = "As of now", body = FactorsView),
        (status = 404, description = "`user_not_found`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn factors(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Result<Json<FactorsView>, Problem> {
    let account = api.guard.account(caller.user).await?;
    let account = account.ok_or_else(user_not_found)?;
    Ok(Json(view(account.factors)))
}
