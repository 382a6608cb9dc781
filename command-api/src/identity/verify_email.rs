//! Showing with a code that one reads the mail of one's address.

use axum::extract::State;
use axum::http::StatusCode;
use domain::user::codes::{CodeCommand, CodePurpose, Offer};
use domain::user::{Account, Refused};
use infra::codes::Code;
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::identity::claims::Claimant;
use crate::identity::codes::{Verdict, offer_code};
use crate::problems::CommandProblems;

/// The code from the mail.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyEmail {
    /// Spaces and hyphens in it do not count.
    code: String,
}

/// Verifies the asker's address.
async fn verify_email(
    api: &CommandApi,
    asking: Asking,
    request: VerifyEmail,
) -> Result<Answer, Problem> {
    let user = asking.user;
    let wrong = || Problem::refused(&Refused::WrongCode);
    let code = Code::parse(&request.code).ok_or_else(wrong)?;
    let hash = api.code_keys().hash(user, CodePurpose::VerifyEmail, &code);
    let envelope = asking.envelope(&("verify_email", &hash))?;
    let offer = Offer {
        challenge: None,
        hash,
        at: api.clock().now(),
    };
    let account = api.account(user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    // Who has another account with the address learns of it only with the code from its mail.
    if account.would_take(CodePurpose::VerifyEmail, &offer) {
        claim(api, &asking, &account).await?;
    }
    let command = CodeCommand::VerifyEmail { user, offer };
    match offer_code(api, user, envelope, command).await? {
        Verdict::Right { done, .. } => Ok(Answer::new(user.0, done)),
        Verdict::Wrong => Err(wrong()),
    }
}

/// Makes the account's address theirs, which is verified next.
async fn claim(api: &CommandApi, asking: &Asking, account: &Account) -> Result<(), Problem> {
    let email = account.email.as_ref();
    let email = email.ok_or_else(|| Problem::refused(&Refused::NoAddress))?;
    let claimant = Claimant::begin(api, asking.user, asking.command);
    let is_of = |other: &Account| other.has_proven_address(email);
    if !claimant.claim(api, &api.email_stream(email), is_of).await? {
        let title = "This is the address of another account";
        let detail = "log in to that one, with a code from the mail if need be";
        return Err(Problem::new(StatusCode::CONFLICT, "email_taken", title).with_detail(detail));
    }
    Ok(claimant.check_time(api)?)
}

/// Verify one's address
///
/// With the code that was mailed after registration, or after `POST /v1/codes`. From then on the address is
/// a name to log in with, and codes are mailed to it.
#[utoipa::path(
    post,
    path = "/v1/users/me/verify-email",
    tag = "users",
    request_body = VerifyEmail,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is verified, or was so already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`wrong_code`: also for one that was used, is too old or was tried too often"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`email_taken`: it is verified for another account; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<VerifyEmail>,
) -> Result<Answered, Problem> {
    Ok(verify_email(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use domain::user::codes::CodePurpose;
    use serde_json::json;

    use crate::testing::{World, other_code, problem};

    #[tokio::test]
    async fn the_code_of_the_registration_verifies_the_address() {
        let world = World::with(&["alice"]).await;
        let code = world.last_code("alice", CodePurpose::VerifyEmail).await;
        let verify = |code: &str| {
            let request = world.post("alice", "/v1/users/me/verify-email");
            request.body(json!({ "code": code }))
        };
        let other = other_code(&code);
        for wrong in [other.as_str(), "nonsense"] {
            let refused = verify(wrong).problem().await;
            assert_eq!(refused, problem(403, "wrong_code", ""));
        }
        assert_eq!(world.count("alice", "code-refused").await, 1);
        let (status, first) = verify(&code).key("k").send().await;
        assert_eq!(status, 200, "{first}");
        assert!(world.account("alice").await.is_email_verified());
        let (status, again) = verify(&code).key("k").send().await;
        assert_eq!((status, again), (200, first));
        let reused = verify(&other).key("k").problem().await;
        assert_eq!(reused, problem(422, "idempotency_key_reused", ""));
        let body = json!({"purpose": "verify_email", "email": "alice@example.org"});
        let needless = world.post("alice", "/v1/codes").body(body).problem().await;
        assert_eq!(needless, problem(409, "email_already_verified", ""));
    }
}
