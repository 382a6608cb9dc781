//! Choosing another password with a code from the mail. Everything that is wrong with address or code is
//! the same answer at the same time.

use axum::extract::State;
use domain::user::Account;
use domain::user::codes::{CodeCommand, CodeHash, CodePurpose};
use domain::values::Email;
use domain::{Actor, CommandId};
use infra::codes::Code;
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
use crate::execute::Envelope;
use crate::identity::code_login::wrong_code;
use crate::identity::codes::{Verdict, hash, offer, offer_code};
use crate::passwords::check_length;
use crate::problems::OpenProblems;

/// Another password, and the code that lets choose it.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetPassword {
    /// The address that the code was mailed to.
    email: String,
    /// The code; spaces and hyphens in it do not count.
    code: String,
    /// At least 10 characters, at most 200 bytes, and not easy to guess.
    password: String,
}

/// What was sent, checked as far as nobody's account matters for it.
struct Reset {
    email: Email,
    code: Option<Code>,
    password: String,
    password_hash: String,
}

async fn check(api: &CommandApi, request: ResetPassword) -> Result<Reset, Problem> {
    let email = Email::parse(&request.email).map_err(|invalid| broken("/email", invalid))?;
    check_length(&request.password).map_err(|invalid| broken("/password", invalid))?;
    let known = vec![email.as_str().to_owned()];
    let hashed = api.passwords().hash_chosen(request.password.clone(), known);
    Ok(Reset {
        password_hash: hashed.await?,
        code: Code::parse(&request.code),
        email,
        password: request.password,
    })
}

/// Sets the password, where the code is right.
async fn try_code(api: &CommandApi, reset: Reset, key: &Key) -> Result<Option<Answer>, Problem> {
    let found = api.find_user(reset.email.as_str()).await?;
    let (Some(code), Some((user, account))) = (reset.code, found) else {
        return Ok(None);
    };
    let hash = hash(api, user, CodePurpose::ResetPassword, &code);
    refuse_own_handle(api, &account, &hash, &reset.password).await?;
    let mark = api.password_mark(&reset.password);
    // As in logging in: another code or password under the same key is another command.
    let command = key.command(|key| CommandId::of(user, key));
    let trying = command.derive(&format!("reset password {} {mark}", hash.as_str()));
    let body = ("reset_password", &reset.email, &hash, &mark);
    let envelope = Envelope::new(Actor::System, trying, &body)?;
    let command = CodeCommand::ResetPassword {
        user,
        offer: offer(&hash, api.clock().now()),
        password_hash: reset.password_hash,
    };
    let verdict = offer_code(api, user, envelope, command).await?;
    api.forget_user(user).await;
    Ok(match verdict {
        Verdict::Right(done) => Some(Answer::new(user.0, done)),
        Verdict::Wrong => None,
    })
}

/// A password that is easy to guess for who knows the handle is refused only to those who have the code:
/// to others it would say what the handle is.
async fn refuse_own_handle(
    api: &CommandApi,
    account: &Account,
    hash: &CodeHash,
    password: &str,
) -> Result<(), Problem> {
    let offer = offer(hash, api.clock().now());
    let known = vec![account.handle.as_str().to_owned()];
    let weakness = api.passwords().weakness(password.to_owned(), known).await?;
    match weakness {
        Some(weakness) if account.would_take(CodePurpose::ResetPassword, &offer) => {
            Err(weakness.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Sets another password and ends all sessions of the user.
async fn reset_password(
    api: &CommandApi,
    request: ResetPassword,
    key: &Key,
) -> Result<Answer, Problem> {
    let reset = check(api, request).await?;
    let done = evenly(try_code(api, reset, key)).await?;
    done.ok_or_else(wrong_code)
}

/// Choose another password with a code from the mail
///
/// `POST /v1/codes` has it mailed. Ends all sessions of the user; the address counts as verified. The
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
    use domain::user::codes::CodePurpose;
    use serde_json::json;

    use crate::testing::{Asked, PASSWORD, World, problem};

    const NEW: &str = "seven purple teapots";

    fn reset<'a>(world: &'a World, email: &str, code: &str, password: &str) -> Asked<'a> {
        let body = json!({"email": email, "code": code, "password": password});
        world.anonymous("/v1/passwords/reset").body(body)
    }

    async fn log_in(world: &World, password: &str) -> u16 {
        let body = json!({"login": "alice", "password": password});
        world.anonymous("/v1/sessions").body(body).send().await.0
    }

    #[tokio::test]
    async fn a_code_replaces_the_password_once() {
        let world = World::with(&["alice"]).await;
        let code = world.mailed_code("alice", CodePurpose::ResetPassword).await;
        let email = "alice@example.org";
        let (status, first) = reset(&world, email, &code, NEW).key("k").send().await;
        assert_eq!((status, &first["id"]), (200, &json!(world.id("alice"))));
        assert_eq!(log_in(&world, NEW).await, 201);
        assert_eq!(log_in(&world, PASSWORD).await, 401);
        let (status, again) = reset(&world, email, &code, NEW).key("k").send().await;
        assert_eq!((status, again), (200, first), "a retry");
        let used = reset(&world, email, &code, "four green saucers").key("k");
        assert_eq!(used.problem().await, problem(401, "wrong_code", ""));
        assert_eq!(world.count("alice", "password-set").await, 2);
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
        for email in ["alice@example.org", "nobody@example.org"] {
            let weak = reset(&world, email, "00000000", "password123")
                .problem()
                .await;
            assert_eq!(weak, problem(422, "weak_password", "/password"));
            let short = reset(&world, email, "00000000", "short").problem().await;
            assert_eq!(short, problem(422, "invalid_body", "/password"));
            let own_handle = reset(&world, email, "00000000", "grumbletop1")
                .problem()
                .await;
            assert_eq!(own_handle, problem(401, "wrong_code", ""), "{email}");
        }
    }

    #[tokio::test]
    async fn who_has_the_code_is_told_that_their_handle_is_no_password() {
        let mut world = World::new();
        world.join("grumbletop").await;
        let code = world
            .mailed_code("grumbletop", CodePurpose::ResetPassword)
            .await;
        let email = "grumbletop@example.org";
        let weak = reset(&world, email, &code, "grumbletop1").problem().await;
        assert_eq!(weak, problem(422, "weak_password", "/password"));
        assert_eq!(reset(&world, email, &code, NEW).send().await.0, 200);
    }
}
