//! The routes of second factors together: each test is what a user, or somebody who is not the user, does.

use axum::http::Method;
use chrono::TimeDelta;
use domain::StreamName;
use domain::user::SystemRole;
use domain::user::codes::CodePurpose;
use infra::limits::Limit;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::RoleChange;
use crate::identity::factors::remove_all::remove_second_factors;
use crate::identity::system_roles::change_role;
use crate::testing::authenticator::Authenticator;
use crate::testing::{Asked, PASSWORD, World, problem};

const FACTORS: &str = "/v1/users/me/factors";

fn step() -> TimeDelta {
    TimeDelta::seconds(30)
}

fn password() -> Value {
    json!({ "proof": { "password": PASSWORD } })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// An authenticator app that was given a secret.
struct App {
    secret: String,
    /// As they were shown.
    recovery_codes: Vec<String>,
}

impl App {
    /// What it shows now.
    fn code(&self, world: &World) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        let app = Builder::new().with_secret(secret).build_noncompliant();
        let now = u64::try_from(world.clock.now().timestamp()).unwrap();
        app.generate(now).to_string()
    }
}

fn factors<'a>(world: &'a World, who: &str, path: &str) -> Asked<'a> {
    world.post(who, &format!("{FACTORS}/{path}"))
}

async fn begun(world: &World, who: &str) -> App {
    let begin = factors(world, who, "totp").body(password());
    let (status, answer) = begin.send().await;
    assert_eq!(status, 201, "{answer}");
    let secret = text(&answer["secret"]).to_owned();
    assert!(text(&answer["uri"]).contains(&secret));
    App {
        secret,
        recovery_codes: vec![],
    }
}

/// Gives `who` an authenticator app. A step later, so that its next code is good.
async fn with_app(world: &World, who: &str) -> App {
    let mut app = begun(world, who).await;
    let confirm = json!({ "code": app.code(world) });
    let (status, answer) = factors(world, who, "totp/confirm")
        .body(confirm)
        .send()
        .await;
    assert_eq!(status, 200, "{answer}");
    let codes = answer["recovery_codes"].as_array().into_iter().flatten();
    app.recovery_codes = codes.map(|code| text(code).to_owned()).collect();
    world.later(step());
    app
}

/// Logs `who` in with the password as far as that goes; the ticket.
async fn ticket(world: &World, who: &str) -> String {
    let login = json!({ "login": who, "password": PASSWORD, "device": "A phone" });
    let (status, answer) = world.anonymous("/v1/sessions").body(login).send().await;
    assert_eq!(
        (status, &answer["code"]),
        (401, &json!("second_factor_required"))
    );
    assert_eq!(answer.get("token"), None);
    text(&answer["second_factor"]["ticket"]).to_owned()
}

fn complete<'a>(world: &'a World, ticket: &str, factor: impl Into<Value>) -> Asked<'a> {
    let body = json!({ "ticket": ticket, "factor": factor.into() });
    world.anonymous("/v1/sessions/second-factor").body(body)
}

async fn asked(world: &World, body: Value) -> Value {
    let (status, asked) = world
        .anonymous("/v1/passkeys/challenge")
        .body(body)
        .send()
        .await;
    assert_eq!(status, 200, "{asked}");
    asked
}

/// What a passkey answers, as a second factor.
async fn passkey(world: &World, key: &mut Authenticator, ticket: &str) -> Value {
    let asked = asked(world, json!({ "ticket": ticket })).await;
    let credential = key.get(&asked["options"]);
    json!({ "passkey": { "challenge": asked["challenge"], "credential": credential } })
}

async fn new_challenge(world: &World, who: &str) -> Value {
    let challenge = factors(world, who, "passkeys/challenge").body(password());
    let (status, asked) = challenge.send().await;
    assert_eq!(status, 200, "{asked}");
    asked
}

fn add<'a>(world: &'a World, who: &str, asked: &Value, credential: &Value) -> Asked<'a> {
    let body = json!({
        "challenge": asked["challenge"], "credential": credential, "name": "Key ring",
    });
    factors(world, who, "passkeys").body(body)
}

/// Gives `who` a passkey; its id.
async fn with_passkey(world: &World, who: &str, key: &mut Authenticator) -> String {
    let asked = new_challenge(world, who).await;
    let credential = key.create(&asked["options"]);
    let (status, answer) = add(world, who, &asked, &credential).send().await;
    assert_eq!(status, 201, "{answer}");
    world.later(TimeDelta::seconds(1));
    text(&answer["id"]).to_owned()
}

fn log_in_by_passkey<'a>(world: &'a World, asked: &Value, credential: &Value) -> Asked<'a> {
    let body = json!({ "challenge": asked["challenge"], "credential": credential });
    world.anonymous("/v1/sessions/passkey").body(body)
}

/// The types of the account's last events.
async fn last(world: &World, who: &str, count: usize) -> Vec<String> {
    let types = world.types(&StreamName::user(world.id(who))).await;
    types[types.len() - count..].to_vec()
}

#[tokio::test]
async fn with_an_app_the_password_is_half_of_a_login() {
    let world = World::with(&["alice"]).await;
    let begin = |body| factors(&world, "alice", "totp").body(body).problem();
    assert_eq!(begin(json!({})).await, problem(403, "proof_required", ""));
    let wrong = json!({ "proof": { "password": "another horse" } });
    assert_eq!(begin(wrong).await, problem(403, "wrong_password", ""));
    let none = json!({ "proof": { "totp": "123456" } });
    assert_eq!(begin(none).await, problem(403, "wrong_factor", ""));

    let app = begun(&world, "alice").await;
    world.log_in("alice").await;
    let confirm = |code: &str| {
        let body = json!({ "code": code });
        factors(&world, "alice", "totp/confirm").body(body)
    };
    let wrong = confirm("12345").problem().await;
    assert_eq!(wrong, problem(403, "wrong_totp", ""));
    let (status, answer) = confirm(&app.code(&world)).key("k").send().await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["recovery_codes"].as_array().unwrap().len(), 10);
    let again = confirm(&app.code(&world)).key("k").send().await;
    assert_eq!(
        again,
        (200, answer),
        "a retry gets the answer of the first try"
    );
    let second = factors(&world, "alice", "totp")
        .body(password())
        .problem()
        .await;
    assert_eq!(second, problem(409, "totp_enrolled", ""));

    world.later(step());
    let login = json!({ "login": "alice", "password": PASSWORD });
    let (_, answer) = world.anonymous("/v1/sessions").body(login).send().await;
    let asked = &answer["second_factor"];
    assert_eq!(asked["ways"], json!(["totp", "recovery_code"]));
    let ticket = text(&asked["ticket"]);
    let factor = json!({ "totp": app.code(&world) });
    let (status, logged_in) = complete(&world, ticket, factor).send().await;
    assert_eq!(status, 201, "{logged_in}");
    let token = text(&logged_in["token"]);
    assert_eq!(world.rename(token).send().await.0, 200);

    let session = text(&logged_in["session"]).parse().unwrap();
    let opened = &world.events(&StreamName::session(session)).await[0];
    let opened: Value = serde_json::from_slice(&opened.data).unwrap();
    assert_eq!(opened["amr"], json!(["password", "totp"]));
    for event in world.events(&StreamName::user(world.id("alice"))).await {
        let stored = String::from_utf8_lossy(&event.data).into_owned();
        assert!(!stored.contains(&app.secret), "{stored}");
    }
}

#[tokio::test]
async fn codes_and_tickets_are_good_once() {
    let world = World::with(&["alice"]).await;
    let app = with_app(&world, "alice").await;
    let first = ticket(&world, "alice").await;
    let factor = json!({ "totp": app.code(&world) });
    let login = || complete(&world, &first, factor.clone()).key("k").send();
    let (status, logged_in) = login().await;
    assert_eq!(status, 201, "{logged_in}");
    let (status, retried) = login().await;
    assert_eq!((status, &retried["session"]), (201, &logged_in["session"]));

    let second = ticket(&world, "alice").await;
    let replayed = complete(&world, &second, factor.clone()).problem().await;
    assert_eq!(replayed, problem(401, "wrong_factor", ""));
    world.later(step());
    let fresh = json!({ "totp": app.code(&world) });
    let replayed = complete(&world, &first, fresh.clone()).problem().await;
    assert_eq!(replayed, problem(401, "ticket_used", ""));
    assert_eq!(complete(&world, &second, fresh).send().await.0, 201);

    let code = json!({ "recovery_code": app.recovery_codes[0].to_uppercase() });
    let third = ticket(&world, "alice").await;
    assert_eq!(complete(&world, &third, code.clone()).send().await.0, 201);
    let fourth = ticket(&world, "alice").await;
    let replayed = complete(&world, &fourth, code).problem().await;
    assert_eq!(replayed, problem(401, "wrong_factor", ""));
    let expected = ["recovery-code-used", "second-factor-refused"];
    assert_eq!(last(&world, "alice", 2).await, expected);
}

#[tokio::test]
async fn a_ticket_takes_five_guesses_and_is_good_for_its_time() {
    let world = World::with(&["alice"]).await;
    let app = with_app(&world, "alice").await;
    let guessed = ticket(&world, "alice").await;
    for _ in 0..5 {
        let guess = complete(&world, &guessed, json!({ "totp": "12345" }));
        assert_eq!(guess.problem().await, problem(401, "wrong_factor", ""));
    }
    let right = json!({ "totp": app.code(&world) });
    let sixth = complete(&world, &guessed, right.clone()).problem().await;
    assert_eq!(sixth, problem(401, "too_many_tries", ""));
    let late = ticket(&world, "alice").await;
    world.later(TimeDelta::minutes(5));
    let late = complete(&world, &late, json!({ "totp": app.code(&world) }));
    assert_eq!(late.problem().await, problem(401, "ticket_expired", ""));
    let forged = complete(&world, "AAAA", right).problem().await;
    assert_eq!(forged, problem(401, "ticket_invalid", ""));
}

#[tokio::test]
async fn guesses_of_all_tickets_together_are_limited_and_no_password_counts_there() {
    let mut world = World::with_logins(Limit::at(3, 600, 3));
    world.join("alice").await;
    let app = with_app(&world, "alice").await;
    for _ in 0..3 {
        let guess = complete(
            &world,
            &ticket(&world, "alice").await,
            json!({ "totp": "12345" }),
        );
        assert_eq!(guess.problem().await, problem(401, "wrong_factor", ""));
    }
    let right = json!({ "totp": app.code(&world) });
    let limited = complete(&world, &ticket(&world, "alice").await, right);
    assert_eq!(limited.problem().await, problem(429, "rate_limited", ""));
}

#[tokio::test]
async fn nobody_completes_anothers_login_with_their_own_factors() {
    let world = World::with(&["alice", "bob"]).await;
    let (_, of_bob) = (
        with_app(&world, "alice").await,
        with_app(&world, "bob").await,
    );
    let mut key = Authenticator::new();
    with_passkey(&world, "bob", &mut key).await;
    let of_alice = ticket(&world, "alice").await;
    for factor in [
        json!({ "totp": of_bob.code(&world) }),
        json!({ "recovery_code": of_bob.recovery_codes[0] }),
        passkey(&world, &mut key, &of_alice).await,
    ] {
        let stolen = complete(&world, &of_alice, factor).problem().await;
        assert_eq!(stolen, problem(401, "wrong_factor", ""));
    }
    assert_eq!(world.count("bob", "totp-used").await, 0);
}

#[tokio::test]
async fn neither_a_mailed_code_nor_another_password_gets_around_it() {
    let world = World::with(&["alice"]).await;
    let app = with_app(&world, "alice").await;
    let mailed = world.mailed_code("alice", CodePurpose::LogIn).await;
    let login = json!({
        "email": "alice@example.org", "challenge": mailed.challenge, "code": mailed.code,
    });
    let (status, answer) = world
        .anonymous("/v1/sessions/code")
        .body(login)
        .send()
        .await;
    assert_eq!(
        (status, &answer["code"]),
        (401, &json!("second_factor_required"))
    );
    let by_code = text(&answer["second_factor"]["ticket"]).to_owned();
    let by_password = ticket(&world, "alice").await;

    let mailed = world.mailed_code("alice", CodePurpose::ResetPassword).await;
    let other = "seven purple teapots";
    let reset = json!({
        "email": "alice@example.org", "challenge": mailed.challenge, "code": mailed.code,
        "password": other,
    });
    let reset = world.anonymous("/v1/passwords/reset").body(reset).send();
    assert_eq!(reset.await.0, 200);
    let login = json!({ "login": "alice", "password": other });
    let after = world.anonymous("/v1/sessions").body(login).problem().await;
    assert_eq!(after, problem(401, "second_factor_required", ""));
    for before in [by_code, by_password] {
        let factor = json!({ "totp": app.code(&world) });
        let ended = complete(&world, &before, factor).problem().await;
        assert_eq!(ended, problem(401, "session_ended", ""));
        world.later(step());
    }
}

#[tokio::test]
async fn a_password_alone_opens_no_account_again() {
    let world = World::with(&["alice"]).await;
    let app = with_app(&world, "alice").await;
    let deactivate = json!({ "password": PASSWORD });
    let deactivate = world
        .post("alice", "/v1/users/me/deactivate")
        .body(deactivate);
    assert_eq!(deactivate.send().await.0, 200);
    let login = json!({ "login": "alice", "password": PASSWORD, "reactivate": true });
    let (_, answer) = world.anonymous("/v1/sessions").body(login).send().await;
    assert!(world.account("alice").await.deactivated);
    let waiting = text(&answer["second_factor"]["ticket"]);
    let factor = json!({ "totp": app.code(&world) });
    assert_eq!(complete(&world, waiting, factor).send().await.0, 201);
    assert!(!world.account("alice").await.deactivated);
}

#[tokio::test]
async fn a_session_alone_changes_no_second_factor() {
    let world = World::with(&["alice"]).await;
    let app = with_app(&world, "alice").await;
    for path in ["totp/remove", "recovery-codes", "passkeys/challenge"] {
        let alone = factors(&world, "alice", path)
            .body(json!({}))
            .problem()
            .await;
        assert_eq!(alone, problem(403, "proof_required", ""), "{path}");
        let guess = json!({ "proof": { "recovery_code": "aaaaa-aaaaa" } });
        let guess = factors(&world, "alice", path).body(guess).problem().await;
        assert_eq!(guess, problem(403, "wrong_factor", ""), "{path}");
    }
    let proof = json!({ "proof": { "totp": app.code(&world) } });
    let (status, made) = factors(&world, "alice", "recovery-codes")
        .body(proof)
        .send()
        .await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        last(&world, "alice", 2).await,
        ["totp-used", "recovery-codes-made"]
    );
    let old = json!({ "proof": { "recovery_code": app.recovery_codes[1] } });
    let remove = |proof| factors(&world, "alice", "totp/remove").body(proof);
    assert_eq!(
        remove(old).problem().await,
        problem(403, "wrong_factor", "")
    );
    let new = json!({ "proof": { "recovery_code": made["recovery_codes"][1] } });
    assert_eq!(remove(new).send().await.0, 200);
    assert_eq!(
        last(&world, "alice", 2).await,
        ["recovery-code-used", "totp-removed"]
    );
    world.log_in("alice").await;
}

#[tokio::test]
async fn a_passkey_is_a_second_factor_and_a_login_by_itself() {
    let world = World::with(&["alice"]).await;
    let mut key = Authenticator::new();
    let id = with_passkey(&world, "alice", &mut key).await;
    let waiting = ticket(&world, "alice").await;
    let factor = passkey(&world, &mut key, &waiting).await;
    let (status, answer) = complete(&world, &waiting, factor).send().await;
    assert_eq!(status, 201, "{answer}");

    world.later(TimeDelta::seconds(1));
    let asked = asked(&world, json!({})).await;
    assert_eq!(asked["options"]["allowCredentials"], json!([]));
    let credential = key.get(&asked["options"]);
    let (status, logged_in) = log_in_by_passkey(&world, &asked, &credential).send().await;
    assert_eq!(status, 201, "{logged_in}");
    assert_eq!(world.rename(text(&logged_in["token"])).send().await.0, 200);
    let session = text(&logged_in["session"]).parse().unwrap();
    let opened = &world.events(&StreamName::session(session)).await[0];
    let opened: Value = serde_json::from_slice(&opened.data).unwrap();
    assert_eq!(opened["amr"], json!(["passkey"]));

    let path = format!("{FACTORS}/passkeys/{id}");
    let renamed = world.patch("alice", &path).body(json!({ "name": "Phone" }));
    assert_eq!(renamed.send().await.0, 200);
    let unnamed = world.patch("alice", &path).body(json!({ "name": "" }));
    assert_eq!(
        unnamed.problem().await,
        problem(422, "invalid_body", "/name")
    );
    let path = format!("{path}/remove");
    let alone = world.post("alice", &path).body(json!({})).problem().await;
    assert_eq!(alone, problem(403, "proof_required", ""));
    assert_eq!(
        world.post("alice", &path).body(password()).send().await.0,
        200
    );
    let gone = world.post("alice", &path).body(password()).problem().await;
    assert_eq!(gone, problem(404, "passkey_not_found", ""));
    world.log_in("alice").await;
}

#[tokio::test]
async fn a_passkey_of_another_page_without_a_finger_or_with_an_old_challenge_is_refused() {
    let world = World::with(&["alice"]).await;
    let mut key = Authenticator::new();
    with_passkey(&world, "alice", &mut key).await;
    let wrong = problem(401, "wrong_factor", "");
    let fresh = asked(&world, json!({})).await;

    key.origin = "https://localhost.example.com".to_owned();
    let elsewhere = key.get(&fresh["options"]);
    assert_eq!(
        log_in_by_passkey(&world, &fresh, &elsewhere)
            .problem()
            .await,
        wrong
    );
    key.origin = "http://localhost:8080".to_owned();
    key.verifies = false;
    let unverified = key.get(&fresh["options"]);
    assert_eq!(
        log_in_by_passkey(&world, &fresh, &unverified)
            .problem()
            .await,
        wrong
    );
    key.verifies = true;
    let other = asked(&world, json!({})).await;
    let of_another = key.get(&other["options"]);
    assert_eq!(
        log_in_by_passkey(&world, &fresh, &of_another)
            .problem()
            .await,
        wrong
    );

    let credential = key.get(&fresh["options"]);
    let login = || log_in_by_passkey(&world, &fresh, &credential);
    assert_eq!(login().send().await.0, 201);
    assert_eq!(login().problem().await, wrong, "the challenge was answered");
    let registration = new_challenge(&world, "alice").await;
    let mixed = log_in_by_passkey(&world, &registration, &credential);
    assert_eq!(mixed.problem().await, problem(401, "challenge_invalid", ""));
    world.later(TimeDelta::minutes(5));
    let late = log_in_by_passkey(&world, &other, &key.get(&other["options"]));
    assert_eq!(late.problem().await, problem(401, "challenge_invalid", ""));
}

#[tokio::test]
async fn a_copy_of_a_passkey_is_noticed() {
    let world = World::with(&["alice"]).await;
    let mut key = Authenticator::new();
    with_passkey(&world, "alice", &mut key).await;
    key.count = 0;
    let fresh = asked(&world, json!({})).await;
    let copied = key.get(&fresh["options"]);
    let copied = log_in_by_passkey(&world, &fresh, &copied).problem().await;
    assert_eq!(copied, problem(401, "wrong_factor", ""));
    assert_eq!(last(&world, "alice", 1).await, ["passkey-suspected"]);
    world.later(TimeDelta::seconds(1));
    key.count = 99;
    let fresh = asked(&world, json!({})).await;
    let original = key.get(&fresh["options"]);
    let original = log_in_by_passkey(&world, &fresh, &original).problem().await;
    assert_eq!(
        original,
        problem(401, "wrong_factor", ""),
        "nor the original"
    );
    let login = json!({ "login": "alice", "password": PASSWORD });
    let (_, answer) = world.anonymous("/v1/sessions").body(login).send().await;
    assert_eq!(answer["second_factor"]["ways"], json!(["recovery_code"]));
}

#[tokio::test]
async fn a_passkey_is_added_once_by_who_was_asked() {
    let world = World::with(&["alice", "bob"]).await;
    let mut key = Authenticator::new();
    let of_alice = new_challenge(&world, "alice").await;
    let credential = key.create(&of_alice["options"]);
    let stolen = add(&world, "bob", &of_alice, &credential).problem().await;
    assert_eq!(stolen, problem(403, "challenge_invalid", ""));
    let mut elsewhere = Authenticator::new();
    elsewhere.origin = "https://localhost.example.com".to_owned();
    let elsewhere = elsewhere.create(&of_alice["options"]);
    let elsewhere = add(&world, "alice", &of_alice, &elsewhere).problem().await;
    assert_eq!(elsewhere, problem(403, "passkey_refused", ""));
    let added = add(&world, "alice", &of_alice, &credential).key("k");
    let (status, first) = added.send().await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(first["recovery_codes"].as_array().unwrap().len(), 10);
    let retried = add(&world, "alice", &of_alice, &credential).key("k");
    assert_eq!(retried.send().await, (201, first.clone()));
    let again = add(&world, "alice", &of_alice, &credential).problem().await;
    assert_eq!(again, problem(409, "passkey_known", ""));

    let path = format!("{FACTORS}/passkeys/{}/remove", text(&first["id"]));
    assert_eq!(
        world.post("alice", &path).body(password()).send().await.0,
        200
    );
    let replayed = add(&world, "alice", &of_alice, &credential).problem().await;
    assert_eq!(replayed, problem(409, "challenge_used", ""));
}

#[tokio::test]
async fn those_who_run_the_server_remove_what_a_user_lost() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let owner = RoleChange::Grant(SystemRole::Owner);
    change_role(&world.api, world.id("carol"), owner)
        .await
        .unwrap();
    let admin = RoleChange::Grant(SystemRole::Admin);
    change_role(&world.api, world.id("bob"), admin)
        .await
        .unwrap();
    for who in ["alice", "bob", "carol"] {
        with_app(&world, who).await;
    }
    let remove = |by: &str, of: &str| {
        let path = format!("/v1/users/{}/factors", world.id(of));
        world.ask(Some(world.token(by)), Method::DELETE, &path)
    };
    let forbidden = problem(403, "forbidden", "");
    for (by, of) in [("alice", "alice"), ("bob", "carol"), ("bob", "bob")] {
        assert_eq!(remove(by, of).problem().await, forbidden, "{by} {of}");
    }
    assert_eq!(remove("bob", "alice").send().await.0, 200);
    world.log_in("alice").await;
    assert_eq!(remove("carol", "bob").send().await.0, 200);
    remove_second_factors(&world.api, world.id("carol"))
        .await
        .unwrap();
    world.log_in("carol").await;
    let removed = world.events(&StreamName::user(world.id("carol"))).await;
    let metadata = removed.last().unwrap().metadata().unwrap();
    assert_eq!(metadata.actor, domain::Actor::Operator);
}
