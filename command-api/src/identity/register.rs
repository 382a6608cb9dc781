//! Registration, over two streams: the handle's and the account's. The address is the account's once it is
//! verified ([`super::verify_email`]): until then it lets nobody in, and nothing says whether it is that of
//! another account.
//!
//! The account's id comes from the command, so that a retry goes on where the first try ended. How
//! long claims hold on the way is said in [`super::claims`].

use axum::extract::State;
use domain::user;
use domain::user::codes::CodePurpose;
use domain::values::{DisplayName, Email, Handle, Invalid};
use domain::{Actor, CommandId, StreamName, UserId};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Key;
use crate::execute::Envelope;
use crate::identity::claims::{Claimant, handle_taken};
use crate::identity::codes::new_code;
use crate::passwords::check_length;
use crate::problems::OpenProblems;

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
    let claimant = Claimant::begin(api, user, registration.command);
    if api.account(user).await?.is_none() {
        claim_handle(api, &claimant, &registration.handle).await?;
    }
    claimant.check_time(api)?;
    let command = user::Command::Register {
        user,
        email: registration.email,
        handle: registration.handle,
        display_name: registration.display_name,
        password_hash,
        code: new_code(
            api,
            user,
            CodePurpose::VerifyEmail,
            registration.command,
            None,
        ),
    };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

async fn claim_handle(
    api: &CommandApi,
    claimant: &Claimant,
    handle: &Handle,
) -> Result<(), Problem> {
    let stream = api.handle_stream(handle);
    let is_of = |account: &user::Account| account.handle == *handle;
    if claimant.claim(api, &stream, is_of).await? {
        return Ok(());
    }
    Err(handle_taken())
}

/// Register
///
/// The answer's `id` is the user's. A code to verify the address is mailed: before that one logs in with
/// the handle only, and gets no codes to log in or to choose another password. Whether the address is that
/// of another account is not said here. A retry with the same Idempotency-Key goes on where the first try
/// ended.
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
         description = "`handle_taken`, pointing at `/handle`; `conflict`"),
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
    use crate::identity::claims::CLAIM_AGE_MAX;
    use crate::testing::{PASSWORD, World, other_code, problem};
    use chrono::TimeDelta;
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
        let claimant = Claimant::begin(&world.api, registration.user, registration.command);
        let stream = world.api.handle_stream(&registration.handle);
        let claimed = claimant.claim(&world.api, &stream, |_| false).await;
        assert!(claimed.unwrap());
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
    async fn a_taken_handle_is_pointed_at_and_of_a_taken_address_nothing_is_said() {
        const OTHER: &str = "seven purple teapots";
        let mut world = World::with(&["alice"]).await;
        world.verify("alice").await;
        let taken = world.register("Alice").problem().await;
        assert_eq!(taken, problem(409, "handle_taken", "/handle"));
        for (handle, email) in [("bob", "ALICE@example.org"), ("carol", "free@example.org")] {
            let body = json!({
                "handle": handle, "email": email, "password": OTHER, "display_name": "Another",
            });
            let (status, answer) = world.anonymous("/v1/users").body(body).send().await;
            assert_eq!(status, 201, "{answer}");
            let login = json!({"login": email, "password": OTHER});
            let login = world.anonymous("/v1/sessions").body(login).problem().await;
            assert_eq!(login, problem(401, "wrong_login", ""), "{email}");
            let user = serde_json::from_value(answer["id"].clone()).unwrap();
            let login = json!({"login": handle, "password": OTHER});
            let (_, answer) = world.anonymous("/v1/sessions").body(login).send().await;
            world.meet(handle, user, answer["token"].as_str().unwrap());
        }
        // Who reads the mail of the address learns it.
        let code = world.last_code("bob", CodePurpose::VerifyEmail).await;
        let verify = |code: &str| {
            let request = world.post("bob", "/v1/users/me/verify-email");
            request.body(json!({ "code": code }))
        };
        let wrong = verify(&other_code(&code)).problem().await;
        assert_eq!(wrong, problem(403, "wrong_code", ""));
        let taken = verify(&code).problem().await;
        assert_eq!(taken, problem(409, "email_taken", ""));
        world.verify("carol").await;
        assert_eq!(
            world.account("alice").await.email,
            world.account("bob").await.email
        );
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
