//! Passkeys of an account: adding, naming and removing them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::PasskeyId;
use domain::user::factors::{FactorChange, NewPasskey};
use domain::values::DisplayName;
use infra::commands::Accepted;
use infra::factors::ChallengeRefused;
use infra::http::{Body, ClientAddress, InPath};
use infra::problem::Problem;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::conversations::broken;
use crate::identity::factors::passkey_login::PasskeyAsked;
use crate::identity::factors::proof::{
    FactorChanged, Proven, answer, change, change_unproven, show,
};
use crate::identity::factors::show::{challenge_invalid, wrong_factor};
use crate::problems::CommandProblems;

/// A new passkey.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddPasskey {
    /// From `POST /v1/users/me/factors/passkeys/challenge`.
    challenge: String,
    /// What `navigator.credentials.create` gave, by its `toJSON`.
    #[schema(value_type = Object)]
    credential: Value,
    /// What to call it: 1 to 80 characters.
    name: String,
}

/// Another name.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenamePasskey {
    /// What to call it: 1 to 80 characters.
    name: String,
}

fn parse_name(name: &str) -> Result<DisplayName, Problem> {
    DisplayName::parse(name).map_err(|mut invalid| {
        invalid.rule = "a passkey's name has 1 to 80 characters and no control characters";
        broken("/name", invalid)
    })
}

async fn ask(
    api: &CommandApi,
    asked: &Asked,
    address: ClientAddress,
    request: Proven,
) -> Result<PasskeyAsked, Problem> {
    let account = show(api, asked, address.0, request.proof).await?;
    let names = (account.handle.as_str(), account.display_name.as_str());
    let known = account.factors.passkeys.values();
    let known = known.map(|passkey| &passkey.credential_id);
    let party = &api.second_factors().relying_party;
    let asked = party.ask_new(asked.asking.user, names, known, api.clock().now())?;
    Ok(PasskeyAsked {
        challenge: asked.challenge,
        options: asked.options,
    })
}

async fn add_passkey(
    api: &CommandApi,
    asked: &Asked,
    request: AddPasskey,
) -> Result<Answer, Problem> {
    let name = parse_name(&request.name)?;
    let (user, now) = (asked.asking.user, api.clock().now());
    let AddPasskey {
        challenge,
        credential,
        ..
    } = request;
    let party = &api.second_factors().relying_party;
    let checked = party.check_new(user, &challenge, &credential, now);
    let registered = checked.map_err(|refused| match refused {
        ChallengeRefused::Challenge => challenge_invalid(StatusCode::FORBIDDEN, refused),
        ChallengeRefused::Answer => {
            let title = "The passkey cannot be added";
            let problem = Problem::new(StatusCode::FORBIDDEN, "passkey_refused", title);
            problem.with_detail(refused)
        }
    })?;
    let body = (
        "add_passkey",
        registered.credential_id.clone(),
        name.clone(),
    );
    let passkey = PasskeyId::added_by(asked.asking.command);
    let add = FactorChange::AddPasskey {
        passkey: Box::new(NewPasskey {
            passkey,
            name,
            credential_id: registered.credential_id,
            credential: registered.credential,
            sign_count: registered.sign_count,
            challenged_at: registered.challenged_at,
        }),
        set: asked.asking.command,
    };
    let done = change_unproven(api, asked, body, add, now).await?;
    let done = done.ok_or_else(|| wrong_factor(StatusCode::FORBIDDEN))?;
    Ok(Answer::new(passkey.0, done))
}

/// Ask for a challenge for a new passkey
///
/// Who answers it within five minutes adds the passkey at `POST /v1/users/me/factors/passkeys`.
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/passkeys/challenge",
    tag = "second factors",
    request_body = Proven,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = PasskeyAsked, description = "The challenge"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`proof_required`, `wrong_password`, `wrong_factor`, `challenge_invalid`, \
            `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_service`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn challenge(
    State(api): State<CommandApi>,
    asked: Asked,
    address: ClientAddress,
    Body(request): Body<Proven>,
) -> Result<Json<PasskeyAsked>, Problem> {
    Ok(Json(ask(&api, &asked, address, request).await?))
}

/// Add a passkey
///
/// From now on logins need a second factor, and the passkey alone lets in. Where this is the first second
/// factor, the answer has recovery codes. The answer's `id` is the passkey's.
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/passkeys",
    tag = "second factors",
    request_body = AddPasskey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = FactorChanged, description = "It counts from now on"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`challenge_invalid`, `passkey_refused`, `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`passkey_known`, `too_many_passkeys`; `challenge_used` where another was added or \
            removed since; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn add(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<AddPasskey>,
) -> Result<Response, Problem> {
    let added = add_passkey(&api, &asked, request).await?;
    answer(&api, &asked, StatusCode::CREATED, added).await
}

/// Call a passkey something else
#[utoipa::path(
    patch,
    path = "/v1/users/me/factors/passkeys/{passkey}",
    tag = "second factors",
    request_body = RenamePasskey,
    params(
        ("passkey" = PasskeyId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is called so"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`passkey_not_found`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn rename(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(passkey): InPath<PasskeyId>,
    Body(request): Body<RenamePasskey>,
) -> Result<Answered, Problem> {
    let name = parse_name(&request.name)?;
    let body = ("rename_passkey", passkey, name.clone());
    let rename = FactorChange::RenamePasskey { passkey, name };
    let done = change_unproven(&api, &asked, body, rename, api.clock().now()).await?;
    let done = done.ok_or_else(|| wrong_factor(StatusCode::FORBIDDEN))?;
    Ok(Answer::new(passkey.0, done).ok())
}

/// Remove a passkey
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/passkeys/{passkey}/remove",
    tag = "second factors",
    request_body = Proven,
    params(
        ("passkey" = PasskeyId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It counts no more"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`proof_required`, `wrong_password`, `wrong_factor`, `challenge_invalid`, \
            `csrf_token_wrong`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`passkey_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_service`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn remove(
    State(api): State<CommandApi>,
    asked: Asked,
    address: ClientAddress,
    InPath(passkey): InPath<PasskeyId>,
    Body(request): Body<Proven>,
) -> Result<Answered, Problem> {
    let remove = FactorChange::RemovePasskey { passkey };
    let proof = (request.proof, ("remove_passkey", passkey));
    let done = change(&api, &asked, address.0, proof, remove).await?;
    Ok(Answer::new(passkey.0, done).ok())
}
