//! Logging in with a passkey alone: it asked its user for a PIN or a finger, and so shows both what they
//! have and what they know or are.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::Factor;
use domain::user::factors::{FactorCommand, Offer, Shown};
use domain::{Actor, CommandId};
use infra::factors::PasskeyAnswer;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::execute::Envelope;
use crate::identity::factors::show::{PasskeyProof, SecondFactor, carry_out, wrong_factor};
use crate::identity::factors::ticket::PendingLogin;
use crate::identity::open_session::{HandOver, LoggedIn, WayIn, check_device, open_session};
use crate::problems::OpenProblems;

/// Which passkeys would do.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskPasskey {
    /// From the answer `second_factor_required`: those of its account. Without one: any that the device
    /// finds.
    #[serde(default)]
    ticket: Option<String>,
}

/// A challenge for passkeys.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasskeyAsked {
    /// To be sent back with the answer, within five minutes.
    pub(super) challenge: String,
    /// For `navigator.credentials`, through `PublicKeyCredential.parseRequestOptionsFromJSON` or
    /// `parseCreationOptionsFromJSON`.
    #[schema(value_type = Object)]
    pub(super) options: Value,
}

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSessionByPasskey {
    /// From `POST /v1/passkeys/challenge`.
    challenge: String,
    /// What `navigator.credentials.get` gave, by its `toJSON`.
    #[schema(value_type = Object)]
    credential: Value,
    /// What the client calls its device: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
    /// Whether to open the account again, where its user has deactivated it.
    #[serde(default)]
    reactivate: bool,
    /// Whether the tokens come in cookies instead of in the answer: for browsers.
    #[serde(default)]
    cookies: bool,
}

async fn ask(api: &CommandApi, request: AskPasskey) -> Result<PasskeyAsked, Problem> {
    let mut wanted = Vec::new();
    if let Some(ticket) = &request.ticket {
        let pending = PendingLogin::open(api, ticket)?;
        let account = api.account(pending.user).await?;
        let passkeys = account.map(|account| account.factors.passkeys);
        let passkeys = passkeys
            .into_iter()
            .flat_map(std::collections::BTreeMap::into_values);
        wanted.extend(passkeys.map(|passkey| passkey.credential_id));
    }
    let now = api.clock().now();
    let asked = api.second_factors().relying_party.ask(wanted.iter(), now)?;
    Ok(PasskeyAsked {
        challenge: asked.challenge,
        options: asked.options,
    })
}

/// Opens a session for whoever has the passkey. All that is wrong is the same answer.
async fn log_in(
    api: &CommandApi,
    request: OpenSessionByPasskey,
    key: &Key,
    ClientAddress(address): ClientAddress,
) -> Result<LoggedIn, Problem> {
    if let Some(device) = &request.device {
        check_device(device)?;
    }
    let wrong = || wrong_factor(StatusCode::UNAUTHORIZED);
    let user = PasskeyAnswer::parse(&request.credential).and_then(|answer| answer.user());
    let user = user.ok_or_else(wrong)?;
    let account = api.account(user).await?.ok_or_else(wrong)?;
    let proof = SecondFactor::Passkey(PasskeyProof {
        challenge: request.challenge,
        credential: request.credential,
    });
    let offer = proof.offer(api, user, &account.factors)?;
    if matches!(offer, Offer::Wrong(_)) {
        // Strangers must not fill the account's stream.
        return Err(wrong());
    }
    let mark = proof.mark(api)?;
    let command = key.command(|key| CommandId::of(user, key));
    let trying = command.derive(&format!("passkey {mark}"));
    let envelope = Envelope::new(Actor::System, trying, &("passkey", &mark))?;
    let show = FactorCommand::Show(Shown {
        offer,
        ticket: None,
        at: api.clock().now(),
    });
    let shown = carry_out(api, user, envelope, show).await?;
    shown.ok_or_else(wrong)?;
    let body = ("log_in_by_passkey", &mark, &request.device);
    let way_in = WayIn {
        user,
        login_epoch: account.login_epoch,
        command,
        envelope: Envelope::new(Actor::User(user), command, &body)?,
        device: request.device,
        address,
        amr: [Factor::Passkey].into(),
        reactivate: request.reactivate,
        vouched_by: None,
    };
    open_session(api, way_in).await
}

/// Ask for a challenge for a passkey
///
/// For a login with a passkey alone, the second factor of a login, or to show that one is the user. It
/// asks for a passkey that lets its user in without a name, or, with a ticket, for one of the account's.
#[utoipa::path(
    post,
    path = "/v1/passkeys/challenge",
    tag = "sessions",
    request_body = AskPasskey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Of no effect: nothing is changed")),
    responses(
        (status = 200, body = PasskeyAsked, description = "The challenge"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`ticket_invalid`"),
    ),
)]
pub(crate) async fn challenge(
    State(api): State<CommandApi>,
    Body(request): Body<AskPasskey>,
) -> Result<Json<PasskeyAsked>, Problem> {
    Ok(Json(ask(&api, request).await?))
}

/// Log in with a passkey alone
///
/// Without name and password. The passkey asks its user for a PIN or a finger, so no other factor is
/// needed.
#[utoipa::path(
    post,
    path = "/v1/sessions/passkey",
    tag = "sessions",
    request_body = OpenSessionByPasskey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_factor`, `challenge_invalid`; `session_ended` for a retry of a login that \
            was revoked since"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`account_suspended`, `account_deactivated`"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    address: ClientAddress,
    Body(request): Body<OpenSessionByPasskey>,
) -> Result<Response, Problem> {
    let hand_over = HandOver::asked(request.cookies);
    let logged_in = log_in(&api, request, &key, address).await?;
    logged_in.answer(&api, StatusCode::CREATED, hand_over)
}
