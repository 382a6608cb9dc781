//! Asking for a code in the mail.
//!
//! Whether there is an account with an address is nobody's business. So what anybody may ask is answered
//! before it is begun, always the same; it is done afterwards, and a mail comes or does not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use domain::user::code_budget::ISSUED_WITHIN;
use domain::user::codes::{CODE_LIFETIME, CodeCommand, CodePurpose, Stranger};
use domain::user::{Command, Refused};
use domain::values::Email;
use domain::{Actor, CommandId, StreamName, UserId};
use infra::clock::fresh_id;
use infra::codes::{Challenge, ChallengeOf};
use infra::http::{Body, ClientAddress, service_not_allowed};
use infra::limits::Network;
use infra::problem::Problem;
use infra::trace::TraceParent;
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::conversations::broken;
use crate::execute::{Envelope, ExecuteError};
use crate::identity::codes::new_code;
use crate::problems::CommandProblems;

/// Which code, and for whom.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskCode {
    /// What it is for. `verify_email` needs a token.
    purpose: CodePurpose,
    /// The verified address of the account; for `verify_email` the caller's own.
    email: String,
}

/// What is said of a code that was asked for, whether or not there is one.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CodeAsked {
    /// Seconds for which a code is good.
    expires_in_s: i64,
    /// To be sent with the code: it is good with this one alone. Absent for `verify_email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
}

/// What a stranger asks for, and by what they name it.
struct AskedFor {
    purpose: CodePurpose,
    email: Email,
    challenge: Challenge,
    network: Network,
}

impl AskedFor {
    fn new(
        api: &CommandApi,
        purpose: CodePurpose,
        email: Email,
        network: Network,
        key: &Key,
    ) -> Self {
        let request = match &key.0 {
            Some(key) => format!("key {key}"),
            None => fresh_id().to_string(),
        };
        let challenge = api.code_keys().challenge(&ChallengeOf {
            purpose,
            email: &email,
            network,
            request: &request,
        });
        Self {
            purpose,
            email,
            challenge,
            network,
        }
    }
}

/// Has a code mailed to `user`. `command` names the act, whoever asks for it.
async fn issue(
    api: &CommandApi,
    user: UserId,
    purpose: CodePurpose,
    envelope: Envelope,
    asked_by: Option<Stranger>,
) -> Result<(), ExecuteError<Refused>> {
    let command = CodeCommand::Issue {
        user,
        purpose,
        code: new_code(api, user, purpose, envelope.id(), asked_by),
    };
    let stream = StreamName::user(user);
    let issued = api
        .users()
        .execute(&stream, envelope, Command::Code(command));
    issued.await.map(|_| ())
}

/// Has a code mailed to the caller, to verify the address.
async fn verify_own(
    api: &CommandApi,
    headers: &HeaderMap,
    email: &Email,
    key: &Key,
) -> Result<(), Problem> {
    let caller = api.guard().caller_of(&Method::POST, headers).await?;
    if !caller.is_user() {
        return Err(service_not_allowed());
    }
    let user = caller.user;
    let account = api.account(user).await?;
    if account.and_then(|account| account.email).as_ref() != Some(email) {
        let rule = "this is not the address of your account";
        return Err(Problem::invalid_field("/email", "not_your_address", rule));
    }
    let command = key.command(|key| CommandId::of(user, key));
    let purpose = CodePurpose::VerifyEmail;
    let envelope = Envelope::new(Actor::User(user), command, &("ask_code", purpose))?;
    let issued = issue(api, user, purpose, envelope, None).await;
    issued.map_err(|error| error.into_problem(|refused| too_many_or_refused(*refused)))
}

fn too_many_or_refused(refused: Refused) -> Problem {
    let mut problem = Problem::refused(&refused);
    if refused == Refused::TooManyCodes {
        problem.status = StatusCode::TOO_MANY_REQUESTS.as_u16();
        problem.retry_after_s = u64::try_from(ISSUED_WITHIN.num_seconds()).ok();
    }
    problem
}

/// Begins to have a code mailed to whoever has the address, and does not wait for it.
///
/// # Errors
/// 503 `busy` where too many are under way, whosever they are.
fn begin(api: &CommandApi, asked: AskedFor) -> Result<(), Problem> {
    let Ok(place) = Arc::clone(api.codes_under_way()).try_acquire_owned() else {
        let title = "Too many codes are asked for";
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", title);
        problem.retry_after_s = Some(1);
        return Err(problem);
    };
    let trace = TraceParent::current();
    let again = api.clone();
    let work = async move {
        let found = find_and_issue(&again, &asked);
        let issued = match trace {
            Some(trace) => trace.scope(found).await,
            None => found.await,
        };
        if let Err(problem) = issued {
            // Whoever asked was answered; a failure of ours was logged where it became a problem.
            tracing::debug!(%problem, purpose = ?asked.purpose, "no code is mailed");
        }
        drop(place);
    };
    api.afterwards().spawn(work.in_current_span());
    Ok(())
}

async fn find_and_issue(api: &CommandApi, asked: &AskedFor) -> Result<(), Problem> {
    let Some((user, _)) = api.find_user(asked.email.as_str()).await? else {
        return Ok(());
    };
    // The challenge names the command, so that no key that a stranger chose stands in the way of the
    // user's, or of another stranger's.
    let command = format!("ask_code\n{}", asked.challenge.as_str());
    let command = CommandId::of(user, &command);
    let envelope = Envelope::new(Actor::System, command, &("ask_code", asked.purpose))?;
    let by = Stranger {
        challenge: api.code_keys().challenge_hash(user, &asked.challenge),
        network: api.code_keys().network_hash(user, asked.network),
    };
    let issued = issue(api, user, asked.purpose, envelope, Some(by)).await;
    issued.map_err(|error| error.into_problem(|refused| too_many_or_refused(*refused)))
}

/// Have a code mailed
///
/// The code is good once and for ten minutes. One to log in or to choose a password is good only together
/// with the `challenge` of the answer, so that strangers use up only what they asked for; a retry from the
/// same network gets the same challenge. Of those to verify an address only the last is good.
///
/// The answer is the same whether or not there is such an account. For each purpose an account is mailed at
/// most three codes in ten minutes and five an hour for each network that asks, and ten an hour for all of them
/// together. The three networks that its codes came back to last have ten each for themselves.
#[utoipa::path(
    post,
    path = "/v1/codes",
    tag = "sessions",
    request_body = AskCode,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 202, body = CodeAsked, description = "If there is such an account a mail is sent"),
        CommandProblems,
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "For `verify_email`: `email_already_verified`, `conflict`"),
        (status = 429, body = Problem, content_type = "application/problem+json",
         description = "For `verify_email`: `too_many_codes`; with Retry-After"),
    ),
    security((), ("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    headers: HeaderMap,
    key: Key,
    ClientAddress(address): ClientAddress,
    Body(request): Body<AskCode>,
) -> Result<(StatusCode, Json<CodeAsked>), Problem> {
    let email = Email::parse(&request.email).map_err(|invalid| broken("/email", invalid))?;
    let challenge = match request.purpose {
        CodePurpose::VerifyEmail => {
            verify_own(&api, &headers, &email, &key).await?;
            None
        }
        purpose @ (CodePurpose::LogIn | CodePurpose::ResetPassword) => {
            let asked = AskedFor::new(&api, purpose, email, Network::from(address), &key);
            let challenge = asked.challenge.as_str().to_owned();
            begin(&api, asked)?;
            Some(challenge)
        }
    };
    let expires_in_s = CODE_LIFETIME.num_seconds();
    let asked = CodeAsked {
        expires_in_s,
        challenge,
    };
    Ok((StatusCode::ACCEPTED, Json(asked)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use crate::testing::{World, problem};

    #[tokio::test]
    async fn the_answer_is_the_same_whoever_is_asked_for_and_however_often() {
        let world = World::with(&["alice"]).await;
        world.verify("alice").await;
        let mut challenges = BTreeSet::new();
        for email in ["alice@example.org", "nobody@example.org"] {
            for _ in 0..5 {
                let (status, mut answer) = world.ask_code("log_in", email).send().await;
                let challenge = answer["challenge"].take();
                let expected = json!({"expires_in_s": 600, "challenge": null});
                assert_eq!((status, answer), (202, expected));
                let challenge = challenge.as_str().unwrap();
                assert_eq!(challenge.len(), 64, "{challenge}");
                challenges.insert(challenge.to_owned());
            }
        }
        assert_eq!(challenges.len(), 10, "each of its own");
        world.settle().await;
        assert_eq!(world.count("alice", "code-issued").await, 1 + 3);
    }

    #[tokio::test]
    async fn who_asks_for_others_codes_keeps_nobody_from_asking_for_theirs() {
        let world = World::with(&["alice"]).await;
        world.verify("alice").await;
        let ask = async |purpose: &str, address: [u8; 4]| {
            let asked = world.ask_code(purpose, "alice@example.org");
            let asked = asked.from(address).key("the same key");
            let (_, answer) = asked.send().await;
            world.settle().await;
            (answer, world.count("alice", "code-issued").await)
        };
        for _ in 0..5 {
            let asked = world.ask_code("log_in", "alice@example.org");
            asked.from([192, 0, 2, 1]).send().await;
        }
        world.settle().await;
        let (mine, issued) = ask("log_in", [192, 0, 2, 2]).await;
        assert_eq!(issued, 1 + 3 + 1);
        let (theirs, issued) = ask("log_in", [192, 0, 2, 3]).await;
        assert_eq!(issued, 1 + 3 + 2);
        assert_ne!(mine, theirs, "whatever their keys are");
        let (_, issued) = ask("reset_password", [192, 0, 2, 1]).await;
        assert_eq!(issued, 1 + 3 + 3);
    }

    #[tokio::test]
    async fn it_is_answered_before_it_is_looked_whether_there_is_an_account() {
        let world = World::with(&["alice"]).await;
        world.verify("alice").await;
        let asked = world.ask_code("log_in", "alice@example.org");
        assert_eq!(asked.send().await.0, 202);
        // Nothing else runs on this thread until it waits.
        assert_eq!(world.count("alice", "code-issued").await, 1);
        world.settle().await;
        assert_eq!(world.count("alice", "code-issued").await, 2);
    }

    #[tokio::test]
    async fn a_retry_mails_no_second_code() {
        let world = World::with(&["alice"]).await;
        world.verify("alice").await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            let asked = world.ask_code("log_in", "Alice@example.org").key("k");
            answers.push(asked.send().await);
            world.settle().await;
        }
        assert_eq!(answers[0].0, 202);
        assert_eq!(answers[0], answers[1]);
        assert_eq!(world.count("alice", "code-issued").await, 1 + 1);
    }

    #[tokio::test]
    async fn only_ones_own_address_is_verified_and_not_too_often() {
        let world = World::with(&["alice"]).await;
        let ask = |email: &str| {
            let body = json!({"purpose": "verify_email", "email": email});
            world.post("alice", "/v1/codes").body(body)
        };
        let anonymous = world.ask_code("verify_email", "alice@example.org");
        assert_eq!(
            anonymous.problem().await,
            problem(401, "unauthenticated", "")
        );
        let others = ask("bob@example.org").problem().await;
        assert_eq!(others, problem(422, "invalid_body", "/email"));
        let nonsense = ask("nonsense").problem().await;
        assert_eq!(nonsense, problem(422, "invalid_body", "/email"));
        for _ in 0..2 {
            let asked = ask("alice@example.org").send().await;
            assert_eq!(asked, (202, json!({"expires_in_s": 600})));
        }
        let (status, answer) = ask("alice@example.org").send().await;
        assert_eq!((status, &answer["code"]), (429, &json!("too_many_codes")));
        assert_eq!(answer["retry_after_s"], 600);
    }
}
