//! Other recovery codes in place of those that were used up, or may be in other hands.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::user::factors::FactorChange;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::Asked;
use crate::identity::factors::proof::{FactorChanged, Proven, answer, change};
use crate::problems::CommandProblems;

/// Make other recovery codes
///
/// Those from before are worth nothing.
#[utoipa::path(
    post,
    path = "/v1/users/me/factors/recovery-codes",
    tag = "second factors",
    request_body = Proven,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = FactorChanged, description = "The codes, which are not shown again"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`proof_required`, `wrong_password`, `wrong_factor`, `challenge_invalid`, \
            `csrf_token_wrong`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`no_second_factor`: there is nothing that they would stand in for; `is_service`, \
            `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    address: ClientAddress,
    Body(request): Body<Proven>,
) -> Result<Response, Problem> {
    let other_codes = FactorChange::MakeRecoveryCodes {
        set: asked.asking.command,
    };
    let proof = (request.proof, "make_recovery_codes");
    let done = change(&api, &asked, address.0, proof, other_codes).await?;
    let made = Answer::new(asked.asking.user.0, done);
    answer(&api, &asked, StatusCode::CREATED, made).await
}
