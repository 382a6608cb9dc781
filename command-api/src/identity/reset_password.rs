//! Choosing another password with a code from the mail. Everything that is wrong with address or code is
//! the same answer at the same time.

use axum::extract::State;
use domain::user::codes::{Chosen, CodeCommand, CodePurpose};
use domain::user::{Account, Refused};
use domain::values::Email;
use domain::{CommandId, UserId};
use infra::codes::{Challenge, Code};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Key;
use crate::conversations::broken;
use crate::even::evenly;
use crate::identity::code_login::wrong_code;
use crate::identity::codes::{Try, Verdict, envelope_of_try, offer_code};
use crate::password_strength::Weakness;
use crate::passwords::check_length;
use crate::problems::OpenProblems;

/// Another password, and the code that lets choose it.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetPassword {
    /// The address that the code was mailed to.
    email: String,
    /// What `POST /v1/codes` answered when the code was asked for.
    challenge: String,
    /// The code; spaces and hyphens in it do not count.
    code: String,
    /// At least 10 characters, at most 200 bytes, and not easy to guess.
    password: String,
}

/// What was sent, checked as far as nobody's account matters for it.
struct Reset {
    email: Email,
    challenge: Challenge,
    code: Option<Code>,
    password: String,
}

/// The password, judged.
struct Judged {
    hash: String,
    /// Set where it is easy to guess for who knows the handle. Only who has the code hears of it: to others
    /// it would say what the handle is.
    weakness: Option<Weakness>,
}

fn check(request: ResetPassword) -> Result<Reset, Problem> {
    let email = Email::parse(&request.email).map_err(|invalid| broken("/email", invalid))?;
    check_length(&request.password).map_err(|invalid| broken("/password", invalid))?;
    Ok(Reset {
        email,
        challenge: Challenge::new(request.challenge),
        code: Code::parse(&request.code),
        password: request.password,
    })
}

/// Judges and hashes the password, whose account it may be or nobody's.
async fn judge(
    api: &CommandApi,
    reset: &Reset,
    account: Option<&Account>,
) -> Result<Judged, Problem> {
    let known = vec![reset.email.as_str().to_owned()];
    let handle = account.map(|account| account.handle.as_str().to_owned());
    let theirs = handle.into_iter().collect();
    let hashed = api
        .passwords()
        .hash_for(reset.password.clone(), known, theirs);
    let (hash, weakness) = hashed.await?;
    Ok(Judged { hash, weakness })
}

/// Sets the password of `user`, where there is one and the code is right.
async fn try_code(
    api: &CommandApi,
    reset: &Reset,
    user: Option<UserId>,
    judged: Judged,
    key: &Key,
) -> Result<Option<Answer>, Problem> {
    let (Some(code), Some(user)) = (&reset.code, user) else {
        return Ok(None);
    };
    let purpose = CodePurpose::ResetPassword;
    let tried = Try::new(api, user, purpose, &reset.challenge, code);
    let mark = api.password_mark(&reset.password);
    let body = ("reset_password", &reset.email, &tried, &mark);
    let command = key.command(|key| CommandId::of(user, key));
    let envelope = envelope_of_try(command, &body)?;
    let Judged { hash, weakness } = judged;
    let password = match &weakness {
        None => Chosen::Hashed(hash),
        Some(_) => Chosen::Weak,
    };
    let command = CodeCommand::ResetPassword {
        user,
        offer: tried.offer(api),
        password,
    };
    let verdict = offer_code(api, user, envelope, command).await;
    api.forget_user(user).await;
    match verdict {
        Ok(Verdict::Right { done, .. }) => Ok(Some(Answer::new(user.0, done))),
        Ok(Verdict::Wrong) => Ok(None),
        Err(error) => Err(error.into_problem(|refused| match (refused, weakness) {
            (Refused::WeakPassword, Some(weakness)) => weakness.into(),
            (refused, _) => Problem::refused(refused),
        })),
    }
}

/// Sets another password and ends all sessions of the user. What is done for an account alone is done at
/// even times, and what takes long, or has to wait for its turn, is done for nobody as well.
async fn reset_password(
    api: &CommandApi,
    request: ResetPassword,
    key: &Key,
) -> Result<Answer, Problem> {
    let reset = check(request)?;
    let found = evenly(api.find_user(reset.email.as_str())).await?;
    let (user, account) = found.unzip();
    let judged = judge(api, &reset, account.as_ref()).await?;
    let done = evenly(try_code(api, &reset, user, judged, key)).await?;
    done.ok_or_else(wrong_code)
}

/// Choose another password with a code from the mail
///
/// `POST /v1/codes` has it mailed, and its answer has the challenge. Ends all sessions of the user; the address counts as verified. The
/// answer's `id` is the user's.
#[utoipa::path(
    post,
    path = "/v1/passwords/reset",
    tag = "sessions",
    request_body = ResetPassword,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "The password is set"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_code`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`weak_password`, `invalid_body` with a pointer to each wrong field"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    Body(request): Body<ResetPassword>,
) -> Result<Answered, Problem> {
    Ok(reset_password(&api, request, &key).await?.ok())
}

#[cfg(test)]
mod tests {
    use domain::user::codes::{CodePurpose, TRIES_MAX};
    use serde_json::json;

    use crate::testing::{Asked, Mailed, PASSWORD, World, other_code, problem};

    const NEW: &str = "seven purple teapots";

    const ADDRESS: &str = "alice@example.org";

    fn reset<'a>(world: &'a World, email: &str, mailed: &Mailed, password: &str) -> Asked<'a> {
        let Mailed { challenge, code } = mailed;
        let body = json!({
            "email": email, "challenge": challenge, "code": code, "password": password,
        });
        world.anonymous("/v1/passwords/reset").body(body)
    }

    fn guess() -> Mailed {
        Mailed {
            challenge: "a guess".to_owned(),
            code: "00000000".to_owned(),
        }
    }

    async fn log_in(world: &World, password: &str) -> u16 {
        let body = json!({"login": "alice", "password": password});
        world.anonymous("/v1/sessions").body(body).send().await.0
    }

    #[tokio::test]
    async fn a_code_replaces_the_password_once() {
        let world = World::with(&["alice"]).await;
        let mailed = world.mailed_code("alice", CodePurpose::ResetPassword).await;
        let (status, first) = reset(&world, ADDRESS, &mailed, NEW).key("k").send().await;
        assert_eq!((status, &first["id"]), (200, &json!(world.id("alice"))));
        assert_eq!(log_in(&world, NEW).await, 201);
        assert_eq!(log_in(&world, PASSWORD).await, 401);
        let (status, again) = reset(&world, ADDRESS, &mailed, NEW).key("k").send().await;
        assert_eq!((status, again), (200, first), "a retry");
        let used = reset(&world, ADDRESS, &mailed, "four green saucers").key("k");
        assert_eq!(used.problem().await, problem(401, "wrong_code", ""));
        assert_eq!(world.count("alice", "password-set").await, 2);
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_the_same_answer() {
        let world = World::with(&["alice"]).await;
        let mailed = world.mailed_code("alice", CodePurpose::ResetPassword).await;
        let Mailed { challenge, code } = &mailed;
        let other = other_code(code);
        for (email, challenge, code, password) in [
            (ADDRESS, challenge.as_str(), other.as_str(), NEW),
            (ADDRESS, challenge, &other, "four green saucers"),
            (ADDRESS, "nonsense", code, NEW),
            ("nobody@example.org", challenge, code, NEW),
            ("nobody@example.org", challenge, code, "four green saucers"),
        ] {
            let wrong = Mailed {
                challenge: challenge.to_owned(),
                code: code.to_owned(),
            };
            let refused = reset(&world, email, &wrong, password).key("k");
            let refused = refused.problem().await;
            assert_eq!(refused, problem(401, "wrong_code", ""), "{email} {code}");
        }
    }

    #[tokio::test]
    async fn a_weak_password_is_refused_and_says_nothing_of_accounts() {
        let world = World::new();
        let register = json!({
            "handle": "grumbletop", "email": "alice@example.org", "password": PASSWORD,
            "display_name": "Alice",
        });
        let registered = world.anonymous("/v1/users").body(register).send().await;
        assert_eq!(registered.0, 201);
        for email in [ADDRESS, "nobody@example.org"] {
            let tried = async |password| reset(&world, email, &guess(), password).problem().await;
            assert_eq!(
                tried("password123").await,
                problem(422, "weak_password", "/password")
            );
            assert_eq!(
                tried("short").await,
                problem(422, "invalid_body", "/password")
            );
            let own_handle = tried("grumbletop1").await;
            assert_eq!(own_handle, problem(401, "wrong_code", ""), "{email}");
        }
    }

    #[tokio::test]
    async fn who_has_the_code_is_told_that_their_handle_is_no_password() {
        let mut world = World::new();
        world.join("grumbletop").await;
        let purpose = CodePurpose::ResetPassword;
        let mailed = world.mailed_code("grumbletop", purpose).await;
        let email = "grumbletop@example.org";
        let weak = reset(&world, email, &mailed, "grumbletop1").problem().await;
        assert_eq!(weak, problem(422, "weak_password", "/password"));
        assert_eq!(reset(&world, email, &mailed, NEW).send().await.0, 200);
    }

    #[tokio::test]
    async fn guesses_at_the_same_time_count_one_by_one() {
        let world = World::with(&["alice"]).await;
        let purpose = CodePurpose::ResetPassword;
        let mailed = world.mailed_code("alice", purpose).await;
        let wrong = Mailed {
            code: other_code(&mailed.code),
            ..mailed.clone()
        };
        // All look at the account before the first of them has tried its code.
        let tries = (0..4 * TRIES_MAX).map(|_| reset(&world, ADDRESS, &wrong, NEW).problem());
        for refused in futures::future::join_all(tries).await {
            assert_eq!(refused, problem(401, "wrong_code", ""));
        }
        assert_eq!(
            world.count("alice", "code-refused").await,
            usize::from(TRIES_MAX)
        );
        let right = reset(&world, ADDRESS, &mailed, NEW);
        assert_eq!(right.problem().await, problem(401, "wrong_code", ""));
    }
}
