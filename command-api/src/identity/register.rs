//! Registration, over three streams: the handle's, the address's and the account's.
//!
//! The account's id comes from the command, so that a retry goes on where the first try ended. A
//! claim whose holder never came to have the account may be taken over after
//! [`CLAIM_AGE_MAX`]; a registration that takes longer than [`REGISTRATION_TIME_MAX`] gives up, so
//! that it never finishes on a claim it has lost.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use domain::reservation;
use domain::user;
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
use crate::passwords::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN};
use crate::problems::OpenProblems;

/// How old the claim of an unfinished registration is before another may take it over.
const CLAIM_AGE_MAX: TimeDelta = TimeDelta::minutes(1);

/// How long a registration may take between claiming and storing the account; then it is 503
/// `unavailable` and may be tried again.
const REGISTRATION_TIME_MAX: TimeDelta = TimeDelta::seconds(30);

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
    /// At least 10 characters, at most 200 bytes.
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
    let display_name = DisplayName::parse(&request.display_name)
        .map_err(|invalid| note("/display_name", invalid));
    if request.password.chars().count() < PASSWORD_CHARACTERS_MIN
        || request.password.len() > PASSWORD_BYTES_MAX
    {
        let rule = "a password has at least 10 characters and at most 200 bytes";
        let code = "invalid_password";
        note("/password", Invalid { code, rule });
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
    let password_hash = api.passwords().hash(request.password).await?;
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
    };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

async fn claim_both(api: &CommandApi, registration: &Registration) -> Result<(), Problem> {
    let handle_stream = api.handle_stream(&registration.handle);
    let is_handle_of = |account: &user::Account| account.handle == registration.handle;
    if !claim(api, registration, &handle_stream, is_handle_of).await? {
        return Err(taken("/handle", "handle_taken", "this handle is taken"));
    }
    let email_stream = api.email_stream(&registration.email);
    let is_email_of = |account: &user::Account| account.email.as_ref() == Some(&registration.email);
    if !claim(api, registration, &email_stream, is_email_of).await? {
        let actor = Actor::User(registration.user);
        let envelope = reservation_envelope(actor, registration.command)?;
        let release = reservation::Command::Release {
            user: registration.user,
        };
        api.reservations()
            .execute(&handle_stream, envelope, release)
            .await?;
        let detail = "there is an account with this address";
        return Err(taken("/email", "email_taken", detail));
    }
    Ok(())
}

fn taken(pointer: &str, code: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, "This is taken").with_field(pointer, code, detail)
}

/// Claims `stream`; takes it over from a registration that never came to an end. `is_of` says
/// whether it belongs to an account. Returns whether it is claimed now.
async fn claim(
    api: &CommandApi,
    registration: &Registration,
    stream: &StreamName,
    is_of: impl Fn(&user::Account) -> bool,
) -> Result<bool, Problem> {
    let user = registration.user;
    let ask = |command| async move {
        let envelope = reservation_envelope(Actor::User(user), registration.command)?;
        match api.reservations().execute(stream, envelope, command).await {
            Ok(_) => Ok(None),
            Err(ExecuteError::Refused(reservation::Refused::Taken { by })) => Ok(Some(by)),
            Err(error) => Err(Problem::from(error)),
        }
    };
    let Some(holder) = ask(reservation::Command::Claim { user }).await? else {
        return Ok(true);
    };
    if api.account(holder).await?.is_some_and(|account| is_of(&account)) {
        return Ok(false);
    }
    let last = api
        .store()
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    let old_enough = last
        .first()
        .is_some_and(|claimed| api.clock().now() - claimed.recorded_at > CLAIM_AGE_MAX);
    if !old_enough {
        return Ok(false);
    }
    let take_over = reservation::Command::TakeOver { from: holder, user };
    Ok(ask(take_over).await?.is_none())
}

/// Register
///
/// The answer's `id` is the user's. A retry with the same Idempotency-Key goes on where the first
/// try ended.
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
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    Body(request): Body<Register>,
) -> Result<Answered, Problem> {
    Ok(register(&api, request, &key).await?.created())
}
