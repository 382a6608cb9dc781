//! Logging in with a code from the mail. Everything that is wrong is the same answer at the same time.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::Factor;
use domain::user::codes::{CodeCommand, CodePurpose};
use domain::values::Email;
use domain::{Actor, CommandId};
use infra::codes::Code;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::conversations::broken;
use crate::even::evenly;
use crate::execute::Envelope;
use crate::identity::codes::{Verdict, hash, offer, offer_code};
use crate::identity::open_session::{HandOver, LoggedIn, WayIn, check_device, open_session};
use crate::problems::OpenProblems;

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSessionByCode {
    /// The address that the code was mailed to.
    email: String,
    /// The code; spaces and hyphens in it do not count.
    code: String,
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

/// The answer to every code that lets nobody do anything.
pub(crate) fn wrong_code() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong_code",
        "Address or code is wrong",
    )
    .with_detail("a code is good once, for ten minutes and five tries; ask for another")
}

/// Who comes in by the code, where it is right.
async fn try_code(
    api: &CommandApi,
    request: OpenSessionByCode,
    email: &Email,
    key: &Key,
    address: Option<IpAddr>,
) -> Result<Option<WayIn>, Problem> {
    let code = Code::parse(&request.code);
    let found = api.find_user(email.as_str()).await?;
    let (Some(code), Some((user, account))) = (code, found) else {
        return Ok(None);
    };
    let hash = hash(api, user, CodePurpose::LogIn, &code);
    let command = key.command(|key| CommandId::of(user, key));
    let body = ("log_in_by_code", email, &request.device, &hash);
    // Another code under the same key is another command: that a key was used says that there is an
    // account. Who tried it is not known, so the user is not the actor.
    let trying = command.derive(&format!("log in by code {}", hash.as_str()));
    let envelope = Envelope::new(Actor::System, trying, &body)?;
    let offer = offer(&hash, api.clock().now());
    let log_in = CodeCommand::LogIn { user, offer };
    match offer_code(api, user, envelope, log_in).await? {
        Verdict::Wrong => Ok(None),
        Verdict::Right(_) => Ok(Some(WayIn {
            user,
            login_epoch: account.login_epoch,
            command,
            envelope: Envelope::new(Actor::User(user), command, &body)?,
            device: request.device,
            address,
            amr: [Factor::MailedCode].into(),
            reactivate: request.reactivate,
            vouched_by: None,
        })),
    }
}

/// Opens a session for whoever has the code, and with it verifies the address.
async fn log_in(
    api: &CommandApi,
    request: OpenSessionByCode,
    key: &Key,
    address: Option<IpAddr>,
) -> Result<LoggedIn, Problem> {
    let email = Email::parse(&request.email).map_err(|invalid| broken("/email", invalid))?;
    if let Some(device) = &request.device {
        check_device(device)?;
    }
    let way_in = evenly(try_code(api, request, &email, key, address)).await?;
    open_session(api, way_in.ok_or_else(wrong_code)?).await
}

/// Log in with a code from the mail
///
/// `POST /v1/codes` has it mailed to a verified address, and to that of an imported account, which counts as
/// verified after that.
#[utoipa::path(
    post,
    path = "/v1/sessions/code",
    tag = "sessions",
    request_body = OpenSessionByCode,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_code`; `second_factor_required` with a ticket, where the code is right; \
            `session_ended` for a retry of a login that was revoked since"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    ClientAddress(address): ClientAddress,
    Body(request): Body<OpenSessionByCode>,
) -> Result<Response, Problem> {
    let hand_over = HandOver::asked(request.cookies);
    let logged_in = log_in(&api, request, &key, address).await?;
    logged_in.answer(&api, StatusCode::CREATED, hand_over)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::user::codes::{CodePurpose, TRIES_MAX};
    use serde_json::json;

    use crate::testing::{Asked, World, problem};

    fn log_in<'a>(world: &'a World, email: &str, code: &str) -> Asked<'a> {
        let body = json!({"email": email, "code": code, "device": "A phone"});
        world.anonymous("/v1/sessions/code").body(body)
    }

    async fn with_code() -> (World, String) {
        let world = World::with(&["alice"]).await;
        let code = world.mailed_code("alice", CodePurpose::LogIn).await;
        (world, code)
    }

    #[tokio::test]
    async fn a_code_lets_in_once() {
        let (world, code) = with_code().await;
        let spaced = format!("{} {}", &code[..4], &code[4..]);
        let (status, answer) = log_in(&world, "ALICE@example.org", &spaced).send().await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(answer["user"], json!(world.id("alice")));
        let again = log_in(&world, "alice@example.org", &code).problem().await;
        assert_eq!(again, problem(401, "wrong_code", ""));
    }

    #[tokio::test]
    async fn a_retry_gets_the_same_session_also_after_a_restart() {
        let (world, code) = with_code().await;
        let first = log_in(&world, "alice@example.org", &code).key("k");
        let (status, first) = first.send().await;
        assert_eq!(status, 201, "{first}");
        let world = world.restarted().await;
        let again = log_in(&world, "alice@example.org", &code).key("k");
        let (status, again) = again.send().await;
        assert_eq!((status, &again["session"]), (201, &first["session"]));
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_the_same_answer() {
        let (world, code) = with_code().await;
        let wrong = problem(401, "wrong_code", "");
        let other = if code == "00000000" {
            "00000001"
        } else {
            "00000000"
        };
        for (email, code) in [
            ("alice@example.org", other),
            ("alice@example.org", "nonsense"),
            ("nobody@example.org", code.as_str()),
        ] {
            // One key for all of them: that it was used before does not show either.
            let refused = log_in(&world, email, code).key("k").problem().await;
            assert_eq!(refused, wrong, "{email} {code}");
        }
        world.later(TimeDelta::minutes(10));
        let late = log_in(&world, "alice@example.org", &code).problem().await;
        assert_eq!(late, wrong);
    }

    #[tokio::test]
    async fn wrong_tries_are_counted_over_restarts_and_then_the_code_is_worth_nothing() {
        let (mut world, code) = with_code().await;
        let other = if code == "00000000" {
            "00000001"
        } else {
            "00000000"
        };
        let wrong = problem(401, "wrong_code", "");
        for _ in 0..TRIES_MAX {
            let refused = log_in(&world, "alice@example.org", other).problem().await;
            assert_eq!(refused, wrong);
            world = world.restarted().await;
        }
        assert_eq!(
            world.count("alice", "code-refused").await,
            usize::from(TRIES_MAX)
        );
        let too_late = log_in(&world, "alice@example.org", &code).problem().await;
        assert_eq!(too_late, wrong);
    }
}
