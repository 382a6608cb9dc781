//! Logging in with a code from the mail. Everything that is wrong is the same answer at the same time.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::Factor;
use domain::user::codes::{CODE_LIFETIME, CodeCommand, CodePurpose};
use domain::values::Email;
use domain::{Actor, CommandId};
use infra::codes::{Challenge, Code};
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::conversations::broken;
use crate::even::evenly;
use crate::execute::Envelope;
use crate::identity::codes::{Try, Verdict, envelope_of_try, offer_code};
use crate::identity::open_session::{
    HandOver, LoggedIn, WayIn, check_device, open_session, session_ended,
};
use crate::problems::OpenProblems;

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSessionByCode {
    /// The address that the code was mailed to.
    email: String,
    /// What `POST /v1/codes` answered when the code was asked for.
    challenge: String,
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
    .with_detail(
        "a code is good once, with the challenge it was asked for with, for ten minutes and five tries; \
         ask for another",
    )
}

/// Who comes in by the code, where it is right.
///
/// A retry comes in as well, into the session of the first try, which it may find not opened yet. But not
/// when the code would be too old, nor when all sessions were ended since.
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
    let challenge = Challenge::new(request.challenge);
    let tried = Try::new(api, user, CodePurpose::LogIn, &challenge, &code);
    let command = key.command(|key| CommandId::of(user, key));
    let body = ("log_in_by_code", email, &request.device, &tried);
    let offer = tried.offer(api);
    let now = offer.at;
    let log_in = CodeCommand::LogIn { user, offer };
    match offer_code(api, user, envelope_of_try(command, &body)?, log_in).await? {
        Verdict::Wrong => Ok(None),
        Verdict::Right { at, .. } if now - at >= CODE_LIFETIME => Ok(None),
        Verdict::Right { done, .. } if done.seq < account.login_epoch_began => Err(session_ended()),
        Verdict::Right { .. } => Ok(Some(WayIn {
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
/// verified after that; its answer has the challenge. A retry is answered like the first try as long as a
/// code is good, unless the session has ended.
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

    use crate::testing::{Asked, Mailed, World, other_code, problem};

    const ADDRESS: &str = "alice@example.org";

    fn log_in_from<'a>(
        world: &'a World,
        email: &str,
        (challenge, code): (&str, &str),
        device: &str,
    ) -> Asked<'a> {
        let body = json!({
            "email": email, "challenge": challenge, "code": code, "device": device,
        });
        world.anonymous("/v1/sessions/code").body(body)
    }

    fn log_in<'a>(world: &'a World, email: &str, mailed: &Mailed) -> Asked<'a> {
        let Mailed { challenge, code } = mailed;
        log_in_from(world, email, (challenge, code), "A phone")
    }

    async fn with_code() -> (World, Mailed) {
        let world = World::with(&["alice"]).await;
        let mailed = world.mailed_code("alice", CodePurpose::LogIn).await;
        (world, mailed)
    }

    #[tokio::test]
    async fn a_code_lets_in_once() {
        let (world, Mailed { challenge, code }) = with_code().await;
        let spaced = format!("{} {}", &code[..4], &code[4..]);
        let mailed = (challenge.as_str(), spaced.as_str());
        let let_in = log_in_from(&world, "ALICE@example.org", mailed, "A phone");
        let (status, answer) = let_in.send().await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(answer["user"], json!(world.id("alice")));
        let again = log_in_from(&world, ADDRESS, mailed, "A phone");
        assert_eq!(again.problem().await, problem(401, "wrong_code", ""));
    }

    #[tokio::test]
    async fn a_retry_gets_the_same_session_also_after_a_restart() {
        let (world, mailed) = with_code().await;
        let first = log_in(&world, ADDRESS, &mailed).key("k");
        let (status, first) = first.send().await;
        assert_eq!(status, 201, "{first}");
        let world = world.restarted().await;
        let again = log_in(&world, ADDRESS, &mailed).key("k");
        let (status, again) = again.send().await;
        assert_eq!((status, &again["session"]), (201, &first["session"]));
    }

    #[tokio::test]
    async fn a_retry_gets_nothing_when_the_code_would_be_too_old() {
        let (world, mailed) = with_code().await;
        let first = || log_in(&world, ADDRESS, &mailed).key("k");
        assert_eq!(first().send().await.0, 201);
        world.later(TimeDelta::seconds(599));
        assert_eq!(first().send().await.0, 201);
        world.later(TimeDelta::seconds(1));
        assert_eq!(first().problem().await, problem(401, "wrong_code", ""));
    }

    #[tokio::test]
    async fn a_code_that_was_used_before_all_sessions_were_ended_opens_none() {
        let (world, mailed) = with_code().await;
        let sessions = async || {
            let events = world.all_types().await;
            events.iter().filter(|it| *it == "session-opened").count()
        };
        let before = sessions().await;
        let retry = || log_in(&world, ADDRESS, &mailed).key("k");
        // Whoever sent it hangs up when the code is used and before the session is open.
        {
            let mut hung_up = Box::pin(retry().send());
            while world.count("alice", "code-used").await < 2 {
                tokio::select! {
                    biased;
                    _ = &mut hung_up => panic!("it was answered"),
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        let (status, _) = world.delete("alice", "/v1/sessions").send().await;
        assert_eq!(status, 200);
        for _ in 0..2 {
            let ended = retry().problem().await;
            assert_eq!(ended, problem(401, "session_ended", ""));
        }
        assert_eq!(sessions().await, before);
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_the_same_answer() {
        let (world, mailed) = with_code().await;
        let wrong = problem(401, "wrong_code", "");
        let Mailed { challenge, code } = &mailed;
        let other = other_code(code);
        let other = other.as_str();
        for (email, challenge, code, device) in [
            (ADDRESS, challenge.as_str(), other, "A phone"),
            (ADDRESS, challenge, other, "Another phone"),
            (ADDRESS, challenge, "nonsense", "A phone"),
            (ADDRESS, "nonsense", code, "A phone"),
            (ADDRESS, "", code, "A phone"),
            ("nobody@example.org", challenge, other, "A phone"),
            ("nobody@example.org", challenge, other, "Another phone"),
            ("nobody@example.org", challenge, code, "A phone"),
        ] {
            // One key for all of them: that it was used before does not show either.
            let refused = log_in_from(&world, email, (challenge, code), device).key("k");
            assert_eq!(refused.problem().await, wrong, "{email} {code} {device}");
        }
        world.later(TimeDelta::minutes(10));
        let late = log_in(&world, ADDRESS, &mailed).problem().await;
        assert_eq!(late, wrong);
    }

    #[tokio::test]
    async fn wrong_tries_are_counted_over_restarts_and_then_the_code_is_worth_nothing() {
        let (mut world, mailed) = with_code().await;
        let other = Mailed {
            code: other_code(&mailed.code),
            ..mailed.clone()
        };
        let wrong = problem(401, "wrong_code", "");
        for _ in 0..TRIES_MAX {
            let refused = log_in(&world, ADDRESS, &other).problem().await;
            assert_eq!(refused, wrong);
            world = world.restarted().await;
        }
        assert_eq!(
            world.count("alice", "code-refused").await,
            usize::from(TRIES_MAX)
        );
        let too_late = log_in(&world, ADDRESS, &mailed).problem().await;
        assert_eq!(too_late, wrong);
    }

    #[tokio::test]
    async fn a_stranger_uses_up_only_what_they_asked_for() {
        let (world, mailed) = with_code().await;
        let strangers = world.mailed_code("alice", CodePurpose::LogIn).await;
        let guess = Mailed {
            code: other_code(&strangers.code),
            ..strangers
        };
        for _ in 0..=TRIES_MAX {
            let refused = log_in(&world, ADDRESS, &guess).problem().await;
            assert_eq!(refused, problem(401, "wrong_code", ""));
        }
        assert_eq!(log_in(&world, ADDRESS, &mailed).send().await.0, 201);
    }
}
