//! Registration, over three streams: the handle's, the address's and the account's.
//!
//! The account's id comes from the command, so that a retry goes on where the first try ended. A
//! claim may be taken over once it is older than [`CLAIM_AGE_MAX`] and its holder has no account.
//! So that nobody finishes on a claim that they have lost, an account is only made while its claims
//! are younger than [`CLAIM_AGE_GOOD`], and within [`REGISTRATION_TIME_MAX`] of claiming. Claims are
//! never released on the way: another try of the same registration could be about to finish on
//! them.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use domain::reservation::{Command, Refused};
use domain::user;
use domain::user::codes::CodePurpose;
use domain::values::{DisplayName, Email, Handle, Invalid};
use domain::{Actor, CommandId, StreamName, UserId, Version};
use infra::commands::Accepted;
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::reservation_envelope;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Key;
use crate::execute::{Envelope, ExecuteError};
use crate::identity::codes::new_code;
use crate::passwords::check_length;
use crate::problems::OpenProblems;

/// How old the claim of an unfinished registration is before another may take it over.
const CLAIM_AGE_MAX: TimeDelta = TimeDelta::minutes(1);

/// How old one's own claim may be to register on it. Between this and [`CLAIM_AGE_MAX`] a retry is
/// 503 `unavailable`, with the time to wait; after that it claims anew.
const CLAIM_AGE_GOOD: TimeDelta = TimeDelta::seconds(30);

/// How long claiming may take; then it is 503 `unavailable` and may be tried again. Together with
/// [`CLAIM_AGE_GOOD`] less than [`CLAIM_AGE_MAX`], by the time that storing the account may take.
const REGISTRATION_TIME_MAX: TimeDelta = TimeDelta::seconds(15);

/// Namespace of the commands of those who have no user id yet.
const REGISTRATIONS: Uuid = Uuid::from_u128(0x0d5b_68a1_47f2_5c0e_9b3d_2f6a_91c8_e074);

/// A new account.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// The unique name: 2 to 32 of `a-z 0-9 _ . -`, starting with a letter or digit.
    handle: String,
    /// The address: at most 254 bytes.
    email: String,
    /// At least 10 characters, at most 200 bytes, and not easy to guess.
    password: String,
    /// What to be called: 1 to 80 characters.
    display_name: String,
}

/// The same, checked.
struct Registration {
    user: UserId,
    command: CommandId,
    handle: Handle,
    email: Email,
    display_name: DisplayName,
}

/// What the command's hash is made of.
#[derive(Serialize)]
struct Hashed<'a> {
    handle: &'a Handle,
    email: &'a Email,
    display_name: &'a DisplayName,
    password: String,
}

/// Checks all fields and says everything that is wrong at once.
fn check(request: &Register, key: &Key) -> Result<Registration, Problem> {
    let mut broken: Option<Problem> = None;
    let mut note = |pointer: &str, Invalid { code, rule }: Invalid| {
        broken = Some(match broken.take() {
            Some(problem) => problem.with_field(pointer, code, rule),
            None => Problem::invalid_field(pointer, code, rule),
        });
    };
    let handle = Handle::parse(&request.handle).map_err(|invalid| note("/handle", invalid));
    let email = Email::parse(&request.email).map_err(|invalid| note("/email", invalid));
    let display_name =
        DisplayName::parse(&request.display_name).map_err(|invalid| note("/display_name", invalid));
    if let Err(invalid) = check_length(&request.password) {
        note("/password", invalid);
    }
    match (handle, email, display_name, broken) {
        (Ok(handle), Ok(email), Ok(display_name), None) => {
            let command = key.command(|key| {
                let name = format!("{}\n{key}", handle.as_str());
                CommandId(Uuid::new_v5(&REGISTRATIONS, name.as_bytes()))
            });
            Ok(Registration {
                user: UserId(command.derive("user").0),
                command,
                handle,
                email,
                display_name,
            })
        }
        (.., broken) => Err(broken.unwrap_or_else(|| Problem::malformed_body("it is not valid"))),
    }
}

/// Makes an account.
async fn register(api: &CommandApi, request: Register, key: &Key) -> Result<Answer, Problem> {
    let registration = check(&request, key)?;
    let user = registration.user;
    let hashed = Hashed {
        handle: &registration.handle,
        email: &registration.email,
        display_name: &registration.display_name,
        password: api.password_mark(&request.password),
    };
    let envelope = Envelope::new(Actor::User(user), registration.command, &hashed)?;
    let known = vec![
        registration.handle.as_str().to_owned(),
        registration.email.as_str().to_owned(),
    ];
    let hashed = api.passwords().hash_chosen(request.password, known);
    let password_hash = hashed.await?;
    let started_at = api.clock().now();
    if api.account(user).await?.is_none() {
        claim_both(api, &registration).await?;
    }
    if api.clock().now() - started_at > REGISTRATION_TIME_MAX {
        let slow = Failure::unavailable("register", "the log took longer than claims hold");
        return Err(slow.into());
    }
    let command = user::Command::Register {
        user,
        email: registration.email,
        handle: registration.handle,
        display_name: registration.display_name,
        password_hash,
        code: new_code(api, user, CodePurpose::VerifyEmail, registration.command),
    };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

async fn claim_both(api: &CommandApi, registration: &Registration) -> Result<(), Problem> {
    let is_handle_of = |account: &user::Account| account.handle == registration.handle;
    let is_email_of = |account: &user::Account| account.email.as_ref() == Some(&registration.email);
    let handle_taken = || taken("/handle", "handle_taken", "this handle is taken");
    let email_taken = || {
        let detail = "there is an account with this address";
        taken("/email", "email_taken", detail)
    };
    // Looked up before anything is claimed, so that who mistook the address keeps no handle busy.
    if api.find_user(registration.handle.as_str()).await?.is_some() {
        return Err(handle_taken());
    }
    if api.find_user(registration.email.as_str()).await?.is_some() {
        return Err(email_taken());
    }
    let handle_stream = api.handle_stream(&registration.handle);
    if !claim(api, registration, &handle_stream, is_handle_of).await? {
        return Err(handle_taken());
    }
    let email_stream = api.email_stream(&registration.email);
    if !claim(api, registration, &email_stream, is_email_of).await? {
        return Err(email_taken());
    }
    Ok(())
}

fn taken(pointer: &str, code: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, "This is taken").with_field(pointer, code, detail)
}

/// Claims `stream`; takes it over from a registration that never came to an end. `is_of` says
/// whether it belongs to an account. Returns whether it is claimed now, and by a young claim.
async fn claim(
    api: &CommandApi,
    registration: &Registration,
    stream: &StreamName,
    is_of: impl Fn(&user::Account) -> bool,
) -> Result<bool, Problem> {
    let user = registration.user;
    let ask = |command| ask(api, registration, stream, command);
    if let Some(holder) = ask(Command::Claim { user }).await? {
        let account = api.account(holder).await?;
        if account.is_some_and(|account| is_of(&account))
            || age(api, stream).await? <= CLAIM_AGE_MAX
        {
            return Ok(false);
        }
        let take_over = Command::TakeOver { from: holder, user };
        return Ok(ask(take_over).await?.is_none());
    }
    let age = age(api, stream).await?;
    if age <= CLAIM_AGE_GOOD {
        return Ok(true);
    }
    if age <= CLAIM_AGE_MAX {
        let waiting = "an earlier try of this registration may still be under way";
        let mut problem = Problem::from(Failure::unavailable("register", waiting));
        let seconds = (CLAIM_AGE_MAX - age).num_seconds() + 1;
        problem.retry_after_s = u64::try_from(seconds).ok();
        return Err(problem);
    }
    ask(Command::Release { user }).await?;
    Ok(ask(Command::Claim { user }).await?.is_none())
}

/// Asks `command` of a reservation; says who holds it where that is somebody else.
async fn ask(
    api: &CommandApi,
    registration: &Registration,
    stream: &StreamName,
    command: Command,
) -> Result<Option<UserId>, Problem> {
    let envelope = reservation_envelope(Actor::User(registration.user), registration.command)?;
    match api.reservations().execute(stream, envelope, command).await {
        Ok(_) => Ok(None),
        Err(ExecuteError::Refused(Refused::Taken { by })) => Ok(Some(by)),
        Err(error) => Err(Problem::from(error)),
    }
}

/// How long ago a reservation changed hands last.
async fn age(api: &CommandApi, stream: &StreamName) -> Result<TimeDelta, Failure> {
    let last = api
        .store()
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    Ok(last.first().map_or(TimeDelta::zero(), |changed| {
        api.clock().now() - changed.recorded_at
    }))
}

/// Register
///
/// The answer's `id` is the user's. A code to verify the address is mailed. A retry with the same
/// Idempotency-Key goes on where the first try ended.
#[utoipa::path(
    post,
    path = "/v1/users",
    tag = "users",
    request_body = Register,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = Accepted, description = "The account exists"),
        OpenProblems,
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`handle_taken`, `email_taken` with a pointer to the field, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`weak_password`, `invalid_body` with a pointer to each wrong field, \
            `idempotency_key_reused`"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    Body(request): Body<Register>,
) -> Result<Answered, Problem> {
    Ok(register(&api, request, &key).await?.created())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PASSWORD, World, problem};
    use serde_json::json;

    /// The registration of alice under `key`, as far as it comes when the server dies after the
    /// first claim.
    async fn cut_short(world: &World, key: &str) {
        let request = Register {
            handle: "alice".to_owned(),
            email: "alice@example.org".to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "alice".to_owned(),
        };
        let registration = check(&request, &Key(Some(key.to_owned()))).unwrap();
        let user = registration.user;
        let stream = world.api.handle_stream(&registration.handle);
        let held = ask(&world.api, &registration, &stream, Command::Claim { user }).await;
        assert_eq!(held.unwrap(), None);
    }

    #[tokio::test]
    async fn an_account_is_made_once_whatever_is_retried() {
        let world = World::new();
        let (status, first) = world.register("alice").key("k").send().await;
        assert_eq!(status, 201);
        let (status, again) = world.register("alice").key("k").send().await;
        assert_eq!((status, &again), (201, &first));
        let world = world.restarted().await;
        let (_, again) = world.register("alice").key("k").send().await;
        assert_eq!(again, first);
        let user: UserId = serde_json::from_value(first["id"].clone()).unwrap();
        let types = world.types(&StreamName::user(user)).await;
        assert_eq!(types, ["user-registered", "password-set", "code-issued"]);
    }

    #[tokio::test]
    async fn a_taken_handle_or_address_is_pointed_at() {
        let world = World::new();
        world.register("alice").send().await;
        let taken = world.register("Alice").problem().await;
        assert_eq!(taken, problem(409, "handle_taken", "/handle"));
        let other = |handle: &str| {
            world.anonymous("/v1/users").body(json!({
                "handle": handle, "email": "ALICE@example.org", "password": PASSWORD,
                "display_name": "Another",
            }))
        };
        let taken = other("another").problem().await;
        assert_eq!(taken, problem(409, "email_taken", "/email"));
        // Nothing was claimed on the way.
        assert_eq!(world.register("another").send().await.0, 201);
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_said_at_once() {
        let world = World::new();
        let (status, answer) = world
            .anonymous("/v1/users")
            .body(json!({"handle": "!", "email": "x", "password": "short", "display_name": " "}))
            .send()
            .await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (422, Some("invalid_body"))
        );
        let pointers: Vec<_> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(
            pointers,
            ["/handle", "/email", "/display_name", "/password"]
        );
        let unknown = world
            .anonymous("/v1/users")
            .body(json!({"handle": "alice", "colour": "blue"}))
            .problem()
            .await;
        assert_eq!((unknown.0, unknown.1.as_str()), (422, "invalid_body"));
    }

    #[tokio::test]
    async fn a_password_that_is_easy_to_guess_is_refused_and_nothing_claimed() {
        let world = World::new();
        let register = |password: &str| {
            world.anonymous("/v1/users").body(json!({
                "handle": "grumbletop", "email": "grumbletop@example.org", "password": password,
                "display_name": "Alice",
            }))
        };
        for weak in ["password123", "grumbletop1"] {
            let refused = register(weak).problem().await;
            assert_eq!(refused, problem(422, "weak_password", "/password"));
        }
        assert_eq!(register(PASSWORD).send().await.0, 201);
    }

    #[tokio::test]
    async fn the_same_key_with_another_password_is_refused_and_the_log_does_not_help_to_guess_it() {
        let world = World::new();
        let (_, answer) = world.register("alice").key("k").send().await;
        let user: UserId = serde_json::from_value(answer["id"].clone()).unwrap();
        let metadata = world.events(&StreamName::user(user)).await[0]
            .metadata()
            .unwrap();
        let plain = Hashed {
            handle: &Handle::parse("alice").unwrap(),
            email: &Email::parse("alice@example.org").unwrap(),
            display_name: &DisplayName::parse("alice").unwrap(),
            password: PASSWORD.to_owned(),
        };
        let plain = Envelope::new(metadata.actor, metadata.command_id, &plain).unwrap();
        assert_ne!(plain.hash(), metadata.command_hash);
        let reused = world
            .anonymous("/v1/users")
            .key("k")
            .body(json!({
                "handle": "alice", "email": "alice@example.org",
                "password": "seven purple teapots", "display_name": "alice",
            }))
            .problem()
            .await;
        assert_eq!(reused, problem(422, "idempotency_key_reused", ""));
    }

    #[tokio::test]
    async fn what_an_unfinished_registration_holds_is_free_after_a_minute() {
        let world = World::new();
        cut_short(&world, "somebody else's").await;
        let held = world.register("alice").problem().await;
        assert_eq!(held, problem(409, "handle_taken", "/handle"));
        world.later(CLAIM_AGE_MAX + TimeDelta::seconds(1));
        let (status, answer) = world.register("alice").send().await;
        assert_eq!(status, 201, "{answer}");
        let held = world.register("alice").problem().await;
        assert_eq!(held, problem(409, "handle_taken", "/handle"));
    }

    #[tokio::test]
    async fn a_retry_goes_on_with_young_claims_and_makes_old_ones_anew() {
        let (young, old) = (World::new(), World::new());
        for world in [&young, &old] {
            cut_short(world, "k").await;
        }
        young.later(TimeDelta::seconds(29));
        assert_eq!(young.register("alice").key("k").send().await.0, 201);

        old.later(TimeDelta::seconds(45));
        let (status, answer) = old.register("alice").key("k").send().await;
        assert_eq!((status, answer["retry_after_s"].as_u64()), (503, Some(16)));
        old.later(TimeDelta::seconds(16));
        assert_eq!(old.register("alice").key("k").send().await.0, 201);
        let handle = Handle::parse("alice").unwrap();
        let types = old.types(&old.api.handle_stream(&handle)).await;
        assert_eq!(types, ["claimed", "released", "claimed"]);
    }

    #[tokio::test]
    async fn of_many_who_want_a_handle_one_gets_it() {
        let world = World::new();
        let tries = (0..8).map(|number| {
            let request = world.anonymous("/v1/users").body(json!({
                "handle": "alice", "email": format!("{number}@example.org"),
                "password": PASSWORD, "display_name": "Alice",
            }));
            request.send()
        });
        let statuses = futures::future::join_all(tries).await;
        let count = |wanted| {
            statuses
                .iter()
                .filter(|(status, _)| *status == wanted)
                .count()
        };
        assert_eq!((count(201), count(409)), (1, 7));
    }
}
