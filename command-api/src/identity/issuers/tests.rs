//! Use cases with an issuer of the tests' own: a small GitHub, on this machine. Signed tokens and real
//! peers are the business of the journeys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use domain::user::Command;
use domain::values::{DisplayName, Email, Handle, IssuerName, Subject};
use domain::{Actor, CommandId, SessionId, StreamName, UserId};
use infra::auth::FirstSight as _;
use infra::clock::fresh_id;
use infra::issuers::{AccessToken, Client, IssuerConfig, Kind, Policy, Profile, WebhookSecret};
use infra::keys::keyed_hash;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::execute::Envelope;
use crate::identity::claims::{CLAIM_AGE_MAX, Claimant};
use crate::testing::{World, problem};

const CALLBACK: &str = "https://app.example/callback";

const WEBHOOK_KEY: [u8; 32] = [9; 32];

/// A GitHub whose codes are `{number of the user}.{anything}`, each good once.
struct GitHub {
    url: String,
    people: Arc<Mutex<People>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct People {
    /// Name and verified address by number.
    known: BTreeMap<u64, (String, Option<String>)>,
    used: BTreeSet<String>,
}

impl GitHub {
    async fn start() -> Self {
        let people = Arc::<Mutex<People>>::default();
        let router = Router::new()
            .route("/login/oauth/access_token", post(access_token))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/emails", get(emails))
            .with_state(Arc::clone(&people));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            people,
            serving,
        }
    }

    fn knows(&self, number: u64, name: &str, email: Option<&str>) {
        let person = (name.to_owned(), email.map(str::to_owned));
        self.people.lock().known.insert(number, person);
    }

    fn config(&self) -> IssuerConfig {
        let secret = format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY));
        IssuerConfig {
            name: IssuerName::parse("github").unwrap(),
            kind: Kind::GitHub,
            url: self.url.clone(),
            client: Some(Client {
                id: "us".to_owned(),
                secret: None,
                redirect_uris: vec![CALLBACK.to_owned(), "app:/back".to_owned()],
                scopes: vec!["user:email".to_owned()],
            }),
            policy: Policy {
                auto_register: true,
                link_by_verified_email: false,
            },
            audience: None,
            webhook_secrets: vec![WebhookSecret::parse(&secret).unwrap()],
        }
    }

    fn world(&self) -> World {
        World::with_issuers(vec![self.config()])
    }

    fn world_with(&self, policy: Policy) -> World {
        World::with_issuers(vec![IssuerConfig {
            policy,
            ..self.config()
        }])
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn access_token(
    State(people): State<Arc<Mutex<People>>>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Json<Value> {
    let code = form["code"].clone();
    assert_eq!(
        (form["client_id"].as_str(), form["code_verifier"].len()),
        ("us", 43)
    );
    if people.lock().used.insert(code.clone()) {
        Json(json!({ "access_token": code, "token_type": "bearer" }))
    } else {
        Json(json!({ "error": "bad_verification_code" }))
    }
}

fn asker(headers: &HeaderMap) -> u64 {
    let token = headers["authorization"].to_str().unwrap();
    let code = token.strip_prefix("Bearer ").unwrap();
    code.split('.').next().unwrap().parse().unwrap()
}

async fn user(State(people): State<Arc<Mutex<People>>>, headers: HeaderMap) -> Json<Value> {
    let number = asker(&headers);
    let (name, _) = people.lock().known[&number].clone();
    Json(json!({ "id": number, "login": name, "name": format!("{name} of GitHub") }))
}

async fn emails(State(people): State<Arc<Mutex<People>>>, headers: HeaderMap) -> Json<Value> {
    let (_, email) = people.lock().known[&asker(&headers)].clone();
    let address = |email: &str, verified: bool| json!({ "email": email, "primary": verified, "verified": verified });
    let mut addresses = vec![address("unverified@example.org", false)];
    addresses.extend(email.map(|email| address(&email, true)));
    Json(json!(addresses))
}

/// What a client has when the browser comes back with `code`.
async fn begun(world: &World, code: &str) -> Value {
    let (status, begun) = world
        .anonymous("/v1/logins/github")
        .body(json!({}))
        .send()
        .await;
    assert_eq!(status, 200, "{begun}");
    came_back(&begun, code)
}

fn came_back(begun: &Value, code: &str) -> Value {
    let url = begun["authorization_url"].as_str().unwrap();
    let (_, query) = url.split_once('?').unwrap();
    let state = query
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("state="))
        .unwrap();
    json!({ "login": begun["login"], "state": state, "code": code })
}

async fn finish(world: &World, brought: &Value) -> (u16, Value) {
    let path = "/v1/logins/github/callback";
    world.anonymous(path).body(brought.clone()).send().await
}

async fn log_in(world: &World, code: &str) -> (u16, Value) {
    finish(world, &begun(world, code).await).await
}

fn user_of(answer: &Value) -> UserId {
    serde_json::from_value(answer["user"].clone()).unwrap()
}

async fn handle_of(world: &World, user: UserId) -> String {
    let account = world.api.account(user).await.unwrap().unwrap();
    account.handle.as_str().to_owned()
}

#[tokio::test]
async fn who_comes_first_gets_an_account_and_later_comes_into_it() {
    let github = GitHub::start().await;
    github.knows(7, "Alice", Some("alice@example.org"));
    let world = github.world();
    let (status, first) = log_in(&world, "7.a").await;
    assert_eq!(status, 201, "{first}");
    let user = user_of(&first);
    let account = world.api.account(user).await.unwrap().unwrap();
    assert_eq!(account.handle.as_str(), "alice");
    assert_eq!(account.display_name.as_str(), "Alice of GitHub");
    assert_eq!(account.email, Email::parse("alice@example.org").ok());
    let types = world.types(&StreamName::user(user)).await;
    assert_eq!(types, ["user-registered", "external-identity-linked"]);

    github.knows(7, "renamed", None);
    let world = world.restarted().await;
    let (status, second) = log_in(&world, "7.b").await;
    assert_eq!((status, user_of(&second)), (201, user));
    assert_ne!(second["session"], first["session"]);
    // The address is theirs here as for anybody who registered.
    let taken = world.register("alice").problem().await;
    assert_eq!(taken, problem(409, "handle_taken", "/handle"));
}

#[tokio::test]
async fn what_is_taken_is_left_to_who_has_it() {
    let github = GitHub::start().await;
    github.knows(7, "alice", Some("alice@example.org"));
    let mut world = github.world();
    world.join("alice").await;
    world.verify("alice").await;
    let (status, answer) = log_in(&world, "7.a").await;
    assert_eq!(status, 201, "{answer}");
    let account = world.api.account(user_of(&answer)).await.unwrap().unwrap();
    assert_eq!((account.handle.as_str(), account.email), ("alice-2", None));
}

#[tokio::test]
async fn a_login_ends_in_one_session_however_often_it_is_sent() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let mut world = github.world();
    let brought = begun(&world, "7.a").await;
    let (both, first) = tokio::join!(finish(&world, &brought), finish(&world, &brought));
    // Of two at once one is first; the other may come while the code is being shown.
    let answers = [both, first];
    let opened: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == 201)
        .map(|(_, answer)| answer)
        .collect();
    assert!(!opened.is_empty(), "{answers:?}");
    let first = opened[0].clone();
    let (status, again) = finish(&world, &brought).await;
    assert_eq!((status, &again["session"]), (201, &first["session"]));
    assert_eq!(again["expires_at"], first["expires_at"]);

    let mut other = brought.clone();
    other["code"] = "7.b".into();
    let (status, refused) = finish(&world, &other).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (409, Some("login_used"))
    );

    world.meet("alice", user_of(&first), first["token"].as_str().unwrap());
    let out = world.delete("alice", "/v1/sessions/current").send().await;
    assert_eq!(out.0, 200, "{}", out.1);
    let (status, ended) = finish(&world, &brought).await;
    assert_eq!(
        (status, ended["code"].as_str()),
        (401, Some("session_ended"))
    );
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let world = github.world();
    let good = begun(&world, "7.a").await;
    let refused = async |field: &str, value: Value| {
        let mut brought = good.clone();
        brought[field] = value;
        let asked = world.anonymous("/v1/logins/github/callback").body(brought);
        asked.problem().await
    };
    let invalid = |pointer: &str| problem(422, "invalid_body", pointer);
    let another = begun(&world, "7.a").await;
    assert_eq!(
        refused("state", another["state"].clone()).await,
        invalid("/state")
    );
    assert_eq!(
        refused("login", another["login"].clone()).await,
        invalid("/state")
    );
    assert_eq!(refused("login", json!("AAAA")).await, invalid("/login"));
    assert_eq!(refused("code", json!("")).await, invalid("/code"));
    assert_eq!(
        refused("iss", json!("https://evil.example")).await,
        invalid("/iss")
    );
    assert_eq!(refused("device", json!("")).await, invalid("/device"));

    let unknown = world.anonymous("/v1/logins/gitlab").body(json!({}));
    assert_eq!(
        unknown.problem().await,
        problem(404, "issuer_not_found", "")
    );
    let elsewhere = json!({ "redirect_uri": format!("{CALLBACK}/") });
    let elsewhere = world.anonymous("/v1/logins/github").body(elsewhere);
    assert_eq!(elsewhere.problem().await, invalid("/redirect_uri"));
    let (_, app) = world
        .anonymous("/v1/logins/github")
        .body(json!({ "redirect_uri": "app:/back" }))
        .send()
        .await;
    let url = app["authorization_url"].as_str().unwrap();
    assert!(url.contains("redirect_uri=app%3A%2Fback"), "{url}");
    assert!(url.contains("code_challenge_method=S256"), "{url}");

    assert_eq!(finish(&world, &good).await.0, 201);
    let used = begun(&world, "7.a").await;
    let used = world.anonymous("/v1/logins/github/callback").body(used);
    assert_eq!(used.problem().await, problem(401, "login_refused", ""));
    let late = begun(&world, "7.b").await;
    world.later(TimeDelta::minutes(10));
    let (status, late) = finish(&world, &late).await;
    let code = late["errors"][0]["code"].as_str();
    assert_eq!((status, code), (422, Some("login_expired")));
}

#[tokio::test]
async fn an_issuer_that_is_away_is_told_and_nothing_is_stored() {
    let github = GitHub::start().await;
    let world = github.world();
    let brought = begun(&world, "7.a").await;
    drop(github);
    let (status, away) = finish(&world, &brought).await;
    let code = away["code"].as_str();
    // The connection may be taken before the listener is gone; then there is no answer on it.
    assert_eq!((status, code), (503, Some("issuer_unavailable")));
    assert!(away["retry_after_s"].is_u64());
    assert_eq!(
        infra::event_store::EventStore::head(&*world.store)
            .borrow()
            .0,
        0
    );
}

#[tokio::test]
async fn who_may_not_register_must_be_linked_first() {
    let github = GitHub::start().await;
    github.knows(7, "alice", Some("alice@example.org"));
    let mut world = github.world_with(Policy {
        auto_register: false,
        link_by_verified_email: false,
    });
    let (status, refused) = log_in(&world, "7.a").await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (403, Some("not_registered"))
    );
    world.join("alice").await;
    link(&world, "alice", "7.b").await;
    let (status, answer) = log_in(&world, "7.c").await;
    assert_eq!((status, user_of(&answer)), (201, world.id("alice")));
}

async fn begin_link(world: &World, who: &str, code: &str) -> Value {
    let asked = world.post(who, "/v1/users/me/identities/github");
    let (status, begun) = asked.body(json!({})).send().await;
    assert_eq!(status, 200, "{begun}");
    came_back(&begun, code)
}

const LINK: &str = "/v1/users/me/identities/github/callback";

async fn link(world: &World, who: &str, code: &str) {
    let brought = begin_link(world, who, code).await;
    let (status, answer) = world.post(who, LINK).body(brought).send().await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn an_identity_is_linked_by_whoever_began_it_and_to_one_account() {
    let github = GitHub::start().await;
    github.knows(7, "ally", Some("ally@example.org"));
    github.knows(8, "other", None);
    let mut world = github.world();
    for name in ["alice", "bob"] {
        world.join(name).await;
    }
    let brought = begin_link(&world, "alice", "7.a").await;
    let stolen = world
        .post("bob", LINK)
        .body(brought.clone())
        .problem()
        .await;
    assert_eq!(stolen, problem(422, "invalid_body", "/login"));
    let (status, session) = finish(&world, &brought).await;
    assert_eq!(status, 422, "it is no login: {session}");
    let login = begun(&world, "7.z").await;
    let no_link = world.post("alice", LINK).body(login).problem().await;
    assert_eq!(no_link, problem(422, "invalid_body", "/login"));

    let (status, first) = world
        .post("alice", LINK)
        .key("k")
        .body(brought)
        .send()
        .await;
    assert_eq!(status, 200, "{first}");
    let (_, own) = world
        .get_as("alice", "/v1/users/me/identities")
        .send()
        .await;
    assert_eq!(
        own,
        json!({"has_password": true, "identities": [
            {"issuer": "github", "subject": "7", "email": "ally@example.org"},
        ]})
    );
    let account = world.api.account(world.id("alice")).await.unwrap().unwrap();
    assert_eq!(
        account.email,
        Email::parse("alice@example.org").ok(),
        "as before"
    );

    let brought = begin_link(&world, "bob", "7.b").await;
    let taken = world.post("bob", LINK).body(brought).problem().await;
    assert_eq!(taken, problem(409, "identity_taken", ""));
    let brought = begin_link(&world, "alice", "8.a").await;
    let second = world.post("alice", LINK).body(brought).problem().await;
    assert_eq!(second, problem(409, "issuer_already_linked", ""));
}

#[tokio::test]
async fn letting_an_identity_go_ends_its_sessions_and_frees_it() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let mut world = github.world();
    let (_, only) = log_in(&world, "7.a").await;
    world.meet("octo", user_of(&only), only["token"].as_str().unwrap());
    let path = "/v1/users/me/identities/github";
    let last = world.delete("octo", path).problem().await;
    assert_eq!(last, problem(409, "last_way_in", ""));

    github.knows(8, "carol", None);
    world.join("carol").await;
    link(&world, "carol", "8.a").await;
    let (_, through) = log_in(&world, "8.b").await;
    let token = through["token"].as_str().unwrap();
    let caller = world.guard.caller(token).await.unwrap();
    assert_eq!(
        (caller.user, caller.issuer.is_some()),
        (world.id("carol"), true)
    );
    for _ in 0..2 {
        assert_eq!(world.delete("carol", path).send().await.0, 200);
    }
    assert!(world.guard.caller(token).await.is_err(), "at once");
    assert_eq!(world.caller("carol").await.issuer, None, "by password");
    // Another identity of the same issuer does not bring it back.
    github.knows(9, "charlie", None);
    link(&world, "carol", "9.a").await;
    assert!(world.guard.caller(token).await.is_err(), "for good");
    let (status, anew) = log_in(&world, "8.c").await;
    assert_eq!(status, 201, "{anew}");
    assert_ne!(user_of(&anew), world.id("carol"));
}

#[tokio::test]
async fn a_registration_that_was_cut_short_goes_on_by_whichever_door() {
    let github = GitHub::start().await;
    github.knows(7, "alice", Some("alice@example.org"));
    let world = github.world();
    let name = IssuerName::parse("github").unwrap();
    let issuer = world.api.issuers().get(&name).unwrap();
    let subject = Subject::parse("7").unwrap();
    let stream = world.api.issuers().identity_stream(issuer, &subject);
    let user = UserId(fresh_id());
    let claimant = Claimant::begin(&world.api, user, CommandId(fresh_id()));
    assert!(
        claimant
            .claim(&world.api, &stream, |_| false)
            .await
            .unwrap()
    );
    let handle = world.api.handle_stream(&Handle::parse("alice").unwrap());
    assert!(
        claimant
            .claim(&world.api, &handle, |_| false)
            .await
            .unwrap()
    );

    let world = world.restarted().await;
    let (status, answer) = log_in(&world, "7.a").await;
    assert_eq!((status, user_of(&answer)), (201, user), "{answer}");
    assert_eq!(handle_of(&world, user).await, "alice");
}

#[tokio::test]
async fn a_link_that_was_cut_short_keeps_nobody_out_for_long() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let mut world = github.world();
    world.join("bob").await;
    let name = IssuerName::parse("github").unwrap();
    let issuer = world.api.issuers().get(&name).unwrap();
    let subject = Subject::parse("7").unwrap();
    let stream = world.api.issuers().identity_stream(issuer, &subject);
    let claimant = Claimant::begin(&world.api, world.id("bob"), CommandId(fresh_id()));
    assert!(
        claimant
            .claim(&world.api, &stream, |_| false)
            .await
            .unwrap()
    );
    let (status, busy) = log_in(&world, "7.a").await;
    assert_eq!((status, busy["code"].as_str()), (503, Some("unavailable")));
    world.later(CLAIM_AGE_MAX + TimeDelta::seconds(1));
    let (status, answer) = log_in(&world, "7.b").await;
    assert_eq!(status, 201, "{answer}");
    assert_ne!(user_of(&answer), world.id("bob"));
}

/// Somebody who was imported: an account with an address and no way in.
async fn imported(world: &World, name: &str) -> UserId {
    let user = UserId(fresh_id());
    let email = Email::parse(&format!("{name}@example.org")).unwrap();
    let handle = Handle::parse(name).unwrap();
    let claimant = Claimant::begin(&world.api, user, CommandId(fresh_id()));
    for stream in [
        world.api.email_stream(&email),
        world.api.handle_stream(&handle),
    ] {
        assert!(
            claimant
                .claim(&world.api, &stream, |_| false)
                .await
                .unwrap()
        );
    }
    let envelope = Envelope::new(Actor::Operator, CommandId(fresh_id()), &"import").unwrap();
    let import = Command::Import {
        user,
        email: Some(email),
        handle,
        display_name: DisplayName::parse(name).unwrap(),
        imported_from: "slack:U1".to_owned(),
    };
    let stream = StreamName::user(user);
    world
        .api
        .users()
        .execute(&stream, envelope, import)
        .await
        .unwrap();
    user
}

#[tokio::test]
async fn an_address_leads_into_an_account_only_where_nobody_else_can_be_in_it() {
    let github = GitHub::start().await;
    github.knows(7, "alice", Some("alice@example.org"));
    github.knows(8, "mallory", Some("mallory@example.org"));
    github.knows(9, "nobody", None);
    let world = github.world_with(Policy {
        auto_register: true,
        link_by_verified_email: true,
    });
    let alice = imported(&world, "alice").await;
    let (status, answer) = log_in(&world, "7.a").await;
    assert_eq!((status, user_of(&answer)), (201, alice), "{answer}");
    // Whoever registered with the address of another waits for them in vain.
    let (_, squatter) = world.register("mallory").send().await;
    let (status, answer) = log_in(&world, "8.a").await;
    assert_eq!(status, 201, "{answer}");
    assert_ne!(answer["user"], squatter["id"]);
    assert_eq!(log_in(&world, "9.a").await.0, 201);
}

/// Sends a webhook that the issuer signed now.
async fn tell(world: &World, id: &str, event: &str, data: Value) -> (u16, Value) {
    let body = json!({ "type": event, "data": data }).to_string();
    let time = world.clock.now().timestamp().to_string();
    let signed = keyed_hash(&WEBHOOK_KEY, format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signed));
    world
        .anonymous("/v1/issuers/github/webhook")
        .header("webhook-id", id)
        .header("webhook-timestamp", &time)
        .header("webhook-signature", &signature)
        .text(&body)
        .send()
        .await
}

fn record(updated_at: i64, name: &str, email: &str) -> Value {
    json!({
        "id": "7", "username": "alice", "name": name, "email": email, "email_verified": true,
        "updated_at": 1_700_000_000 + updated_at,
    })
}

#[tokio::test]
async fn an_account_follows_the_record_of_its_issuer_and_never_goes_back() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let world = github.world_with(Policy {
        auto_register: false,
        link_by_verified_email: false,
    });
    let (stored, none) = (json!({"effect": "stored"}), json!({"effect": "none"}));
    let created = record(10, "Alice", "alice@example.org");
    let told = tell(&world, "1", "user.created", created.clone()).await;
    assert_eq!(told, (200, stored.clone()));
    let (_, answer) = log_in(&world, "7.a").await;
    let user = user_of(&answer);
    let account = async || {
        let account = world.api.account(user).await.unwrap().unwrap();
        (
            account.display_name.as_str().to_owned(),
            account.email.unwrap().as_str().to_owned(),
        )
    };
    let newer = record(30, "Ally", "ally@example.org");
    assert_eq!(
        tell(&world, "3", "user.updated", newer).await,
        (200, stored)
    );
    let expected = ("Ally".to_owned(), "ally@example.org".to_owned());
    assert_eq!(account().await, expected);
    let older = record(20, "Al", "al@example.org");
    assert_eq!(
        tell(&world, "2", "user.updated", older).await,
        (200, none.clone())
    );
    assert_eq!(
        tell(&world, "1b", "user.created", created).await,
        (200, none.clone())
    );
    assert_eq!(account().await, expected);
    assert!(
        world
            .api
            .find_user("ally@example.org")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        world
            .api
            .find_user("alice@example.org")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        tell(&world, "4", "user.danced", json!({})).await,
        (200, none)
    );
    let events = world.events(&StreamName::user(user)).await.len();
    let again = record(30, "Ally", "ally@example.org");
    assert_eq!(tell(&world, "3", "user.updated", again).await.0, 200);
    assert_eq!(world.events(&StreamName::user(user)).await.len(), events);
}

#[tokio::test]
async fn whom_the_issuer_deleted_is_out_at_once_and_stays_out() {
    let github = GitHub::start().await;
    github.knows(7, "alice", None);
    let world = github.world();
    let (_, answer) = log_in(&world, "7.a").await;
    let token = answer["token"].as_str().unwrap();
    world.guard.caller(token).await.unwrap();
    let deleted = json!({ "id": "7", "deleted_at": 1_700_000_020 });
    let told = tell(&world, "d", "user.deleted", deleted.clone()).await;
    assert_eq!(told, (200, json!({"effect": "stored"})));
    assert!(world.guard.caller(token).await.is_err(), "at once");
    let (status, closed) = log_in(&world, "7.b").await;
    assert_eq!(
        (status, closed["code"].as_str()),
        (403, Some("identity_closed"))
    );
    let late = record(10, "Alice", "alice@example.org");
    let late = tell(&world, "c", "user.created", late).await;
    assert_eq!(late, (200, json!({"effect": "none"})));
    assert_eq!(log_in(&world, "7.c").await.0, 403);
    let back = record(30, "Alice", "alice@example.org");
    assert_eq!(tell(&world, "e", "user.created", back).await.0, 200);
    let (status, again) = log_in(&world, "7.d").await;
    assert_eq!((status, user_of(&again)), (201, user_of(&answer)));
}

#[tokio::test]
async fn a_webhook_that_nobody_signed_is_refused() {
    let github = GitHub::start().await;
    let world = github.world();
    let body = json!({ "type": "user.created", "data": { "id": "7" } });
    let refused = problem(401, "webhook_refused", "");
    let plain = world
        .anonymous("/v1/issuers/github/webhook")
        .body(body.clone());
    assert_eq!(plain.problem().await, refused);
    let time = world.clock.now().timestamp().to_string();
    let forged = world
        .anonymous("/v1/issuers/github/webhook")
        .header("svix-id", "1")
        .header("svix-timestamp", &time)
        .header("svix-signature", "v1,AAAA")
        .body(body);
    assert_eq!(forged.problem().await, refused);
    let nobody = tell(&world, "1", "user.created", json!({ "id": "" })).await;
    assert_eq!(
        (nobody.0, nobody.1["errors"][0]["pointer"].as_str()),
        (422, Some("/data/id"))
    );
}

#[tokio::test]
async fn the_first_token_of_an_issuer_makes_an_account_and_a_session_once() {
    let github = GitHub::start().await;
    let world = github.world();
    let token = AccessToken {
        issuer: IssuerName::parse("github").unwrap(),
        profile: Profile {
            subject: Subject::parse("7").unwrap(),
            email: None,
            username: Some("alice".to_owned()),
            name: None,
        },
        session: SessionId(fresh_id()),
        names_session: true,
        expires_at: world.clock.now() + TimeDelta::minutes(1),
    };
    let many = (0..8).map(|_| world.api.admit(&token));
    for admitted in futures::future::join_all(many).await {
        admitted.unwrap();
    }
    let (user, _) = world.api.find_user("alice").await.unwrap().unwrap();
    let types = world.types(&StreamName::user(user)).await;
    assert_eq!(types, ["user-registered", "external-identity-linked"]);
    let session = world.types(&StreamName::session(token.session)).await;
    assert_eq!(session, ["session-opened"]);
}
