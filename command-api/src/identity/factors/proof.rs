//! Changing one's second factors: whoever holds a session alone may not, so they show once more who they
//! are.

use std::net::IpAddr;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use domain::user::factors::{FactorChange, FactorCommand, Shown};
use domain::user::{Account, Refused};
use infra::commands::Accepted;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::Asked;
use crate::execute::Done;
use crate::identity::factors::show::{
    PasskeyProof, SecondFactor, carry_out, guarded, wrong_factor,
};
use crate::passwords::Verified;

/// That it is really the user who asks: one of these.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// The password.
    Password(String),
    /// The code that the authenticator app shows now.
    Totp(String),
    /// A recovery code that was not used yet.
    RecoveryCode(String),
    /// What a passkey answered.
    Passkey(PasskeyProof),
}

/// What only shows that it is really the user who asks.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proven {
    /// Needed by every account that has a password or a second factor.
    #[serde(default)]
    pub(super) proof: Option<Proof>,
}

/// A change that was accepted, and the recovery codes that came with it.
#[derive(Serialize, ToSchema)]
pub(crate) struct FactorChanged {
    /// The command's answer.
    #[serde(flatten)]
    pub(super) accepted: Accepted,
    /// Where the command made them: ten codes, each good once in place of a second factor. They are shown
    /// to who made them, and not again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recovery_codes: Option<Vec<String>>,
}

/// How it was shown that the user asks.
enum Known {
    /// Already, as far as this account can.
    Already,
    /// By what the domain has to see.
    By(Shown),
    /// Not.
    Not,
}

/// Shows who asks, then makes `change`, or asks for nothing but to know who asks. `body` is all that is
/// asked, but for the proof.
///
/// # Errors
/// 403 `proof_required`, `wrong_password`, `wrong_factor`; 429 `rate_limited`; and what the domain refuses.
pub(super) async fn change(
    api: &CommandApi,
    asked: &Asked,
    address: Option<IpAddr>,
    (proof, body): (Option<Proof>, impl Serialize),
    change: FactorChange,
) -> Result<Done, Problem> {
    let user = asked.asking.user;
    let mark = mark(api, proof.as_ref())?;
    let envelope = asked.asking.envelope(&("second_factors", &body, mark))?;
    let account = account(api, asked).await?;
    let is_password = matches!(proof, Some(Proof::Password(_)));
    let command = |shown| FactorCommand::Change {
        user,
        shown,
        change,
        at: api.clock().now(),
    };
    let Some(proof) = proof else {
        check_needs_none(&account)?;
        let done = carry_out(api, user, envelope, command(None)).await?;
        return done.ok_or_else(|| wrong_factor(StatusCode::FORBIDDEN));
    };
    let work = async {
        match known(api, &account, asked, proof).await? {
            Known::Not => Ok(None),
            Known::Already => carry_out(api, user, envelope, command(None)).await,
            Known::By(shown) => carry_out(api, user, envelope, command(Some(shown))).await,
        }
    };
    let done = guarded(api, user, address, work).await?;
    done.ok_or_else(|| not_shown(is_password))
}

/// Makes `change`, which shows by itself that its user asks, or is no matter. `body` is all that is asked;
/// `None` where what it shows is not right.
pub(super) async fn change_unproven(
    api: &CommandApi,
    asked: &Asked,
    body: impl Serialize,
    change: FactorChange,
    at: DateTime<Utc>,
) -> Result<Option<Done>, Problem> {
    let user = asked.asking.user;
    let envelope = asked.asking.envelope(&body)?;
    let command = FactorCommand::Change {
        user,
        shown: None,
        change,
        at,
    };
    carry_out(api, user, envelope, command).await
}

/// Shows who asks, and nothing else.
///
/// # Errors
/// As above.
pub(super) async fn show(
    api: &CommandApi,
    asked: &Asked,
    address: Option<IpAddr>,
    proof: Option<Proof>,
) -> Result<Account, Problem> {
    let user = asked.asking.user;
    let mark = mark(api, proof.as_ref())?;
    let account = account(api, asked).await?;
    let Some(proof) = proof else {
        check_needs_none(&account)?;
        return Ok(account);
    };
    let is_password = matches!(proof, Proof::Password(_));
    let envelope = asked.asking.envelope(&("show_factor", mark))?;
    let work = async {
        match known(api, &account, asked, proof).await? {
            Known::Not => Ok(None),
            Known::Already => Ok(Some(())),
            Known::By(shown) => {
                let show = FactorCommand::Show(shown);
                let done = carry_out(api, user, envelope, show).await?;
                Ok(done.map(|_| ()))
            }
        }
    };
    let shown = guarded(api, user, address, work).await?;
    shown.ok_or_else(|| not_shown(is_password))?;
    Ok(account)
}

/// The account of who asks: a person, as nobody logs in to a bot's.
async fn account(api: &CommandApi, asked: &Asked) -> Result<Account, Problem> {
    let account = api.account(asked.asking.user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    if account.service.is_some() {
        return Err(Problem::refused(&Refused::IsService));
    }
    Ok(account)
}

/// Whoever has neither password nor second factor has nothing to show.
fn check_needs_none(account: &Account) -> Result<(), Problem> {
    if account.password_hash.is_none() && !account.factors.are_on() {
        return Ok(());
    }
    let title = "Show once more who you are";
    let problem = Problem::new(StatusCode::FORBIDDEN, "proof_required", title);
    Err(problem.with_detail("send a proof: the password, or a second factor"))
}

async fn known(
    api: &CommandApi,
    account: &Account,
    asked: &Asked,
    proof: Proof,
) -> Result<Known, Problem> {
    let factor = match proof {
        Proof::Password(password) => return check_password(api, account, password).await,
        Proof::Totp(code) => SecondFactor::Totp(code),
        Proof::RecoveryCode(code) => SecondFactor::RecoveryCode(code),
        Proof::Passkey(proof) => SecondFactor::Passkey(proof),
    };
    let offer = factor.offer(api, asked.asking.user, &account.factors);
    Ok(Known::By(Shown {
        // Who asks is logged in: what is wrong is forbidden to them.
        offer: offer.map_err(|problem| match problem.status() {
            StatusCode::UNAUTHORIZED => Problem {
                status: StatusCode::FORBIDDEN.as_u16(),
                ..problem
            },
            _ => problem,
        })?,
        ticket: None,
        at: api.clock().now(),
    }))
}

async fn check_password(
    api: &CommandApi,
    account: &Account,
    password: String,
) -> Result<Known, Problem> {
    let hash = account.password_hash.clone();
    match api.passwords().verify(hash, password).await? {
        Verified::Yes | Verified::WithOtherCost => Ok(Known::Already),
        Verified::No => Ok(Known::Not),
    }
}

fn not_shown(is_password: bool) -> Problem {
    if is_password {
        let title = "The password is wrong";
        return Problem::new(StatusCode::FORBIDDEN, "wrong_password", title);
    }
    wrong_factor(StatusCode::FORBIDDEN)
}

/// What stands in for a proof in a command's hash.
fn mark(api: &CommandApi, proof: Option<&Proof>) -> Result<Option<String>, Problem> {
    let text = proof.map(serde_json::to_string).transpose();
    let text = text.map_err(|error| infra::failure::Failure::internal("name a proof", error))?;
    Ok(text.map(|text| api.password_mark(&text)))
}

/// The answer to a change, with the recovery codes where it made them.
pub(super) async fn answer(
    api: &CommandApi,
    asked: &Asked,
    status: StatusCode,
    answer: Answer,
) -> Result<Response, Problem> {
    let (user, command) = (asked.asking.user, asked.asking.command);
    let account = api.account(user).await?;
    let codes = account.and_then(|account| account.factors.recovery);
    let made = codes.filter(|codes| codes.set == command);
    let keys = &api.second_factors().recovery;
    let shown = made.map(|codes| keys.codes(user, codes.set));
    let shown = shown.map(|codes| {
        codes
            .iter()
            .map(infra::factors::RecoveryCode::shown)
            .collect()
    });
    Ok(secret(
        status,
        FactorChanged {
            accepted: answer.accepted,
            recovery_codes: shown,
        },
    ))
}

/// An answer that nobody on the way keeps.
pub(super) fn secret(status: StatusCode, body: impl Serialize) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    (status, [(header::CACHE_CONTROL, no_store)], Json(body)).into_response()
}
