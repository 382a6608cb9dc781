//! A small world for the tests of the routes: the command side on a log in memory, users who are
//! logged in, and requests that read like what they ask.

pub(crate) mod authenticator;
pub(crate) mod uploads;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, header};
use chrono::TimeDelta;
use domain::user::codes::CodePurpose;
use domain::user::{Account, UserEvent};
use domain::{Event, Position, StreamName, UserId, Version};
use infra::auth::{Caller, Guard, Tokens};
use infra::clock::Clock;
use infra::codes::CodeOf;
use infra::event_store::{Direction, EventStore, MemoryEventStore, RecordedEvent};
use infra::factors::RelyingPartyConfig;
use infra::files::Scanner;
use infra::http::{ClientAddress, IDEMPOTENCY_KEY};
use infra::issuers::{IssuerConfig, Issuers};
use infra::keys::Secret;
use infra::limits::{Limit, LoginGate};
use infra::snapshots::MemorySnapshots;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::api::CODES_UNDER_WAY_MAX;
use crate::execute::Limits;
use crate::owner::OwnerCode;
use crate::testing::uploads::Place;
use crate::{CommandApi, Parts, PasswordCost, SecondFactorRules, SessionRules, routes};

/// What makes the owner.
pub(crate) const OWNER_CODE: &str = "an owner's code";

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Second factors on this machine, where wrong ones are limited by `failures`.
pub(crate) fn second_factors(failures: Limit) -> SecondFactorRules {
    SecondFactorRules {
        relying_party: RelyingPartyConfig {
            name: "Verbatim".to_owned(),
            id: "localhost".to_owned(),
            origins: vec![],
        },
        gate: LoginGate::new(failures, failures),
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<MemoryEventStore>,
    pub(crate) api: CommandApi,
    pub(crate) clock: Clock,
    pub(crate) guard: Arc<Guard>,
    issuers: Vec<IssuerConfig>,
    pub(crate) place: Place,
    router: Router,
    users: HashMap<String, (UserId, String)>,
}

impl World {
    /// Nobody there yet. The clock stands at the real time, at which tokens are checked.
    pub(crate) fn new() -> Self {
        Self::configured(vec![], Limit::Off)
    }

    /// The same, where these issuers' word lets people in.
    pub(crate) fn with_issuers(issuers: Vec<IssuerConfig>) -> Self {
        Self::configured(issuers, Limit::Off)
    }

    /// The same, where wrong passwords are limited.
    pub(crate) fn with_logins(failures: Limit) -> Self {
        Self::configured(vec![], failures)
    }

    /// The same, where files are scanned.
    pub(crate) fn with_scanner(scanner: Scanner) -> Self {
        let place = Place::new(Some(scanner));
        Self::fresh(vec![], place, Limit::Off)
    }

    fn configured(issuers: Vec<IssuerConfig>, failures: Limit) -> Self {
        Self::fresh(issuers, Place::new(None), failures)
    }

    fn fresh(issuers: Vec<IssuerConfig>, place: Place, failures: Limit) -> Self {
        let clock = Clock::fixed(Clock::system().now());
        let store = Arc::new(MemoryEventStore::new(clock.clone()));
        let cost = PasswordCost::default();
        Self::on(store, clock, issuers, place, cost, failures)
    }

    /// The command side, started on `store`.
    fn on(
        store: Arc<MemoryEventStore>,
        clock: Clock,
        issuers: Vec<IssuerConfig>,
        place: Place,
        password_cost: PasswordCost,
        failures: Limit,
    ) -> Self {
        let log: Arc<dyn EventStore> = store.clone();
        let secret = Secret::new([7; 32]);
        let configured = Arc::new(Issuers::new(issuers.clone(), &secret, &clock).unwrap());
        let guard = Guard::new(Tokens::new(&secret).unwrap(), &log, &clock);
        let guard = Arc::new(guard.with_issuers(Arc::clone(&configured)));
        let api = CommandApi::new(Parts {
            store: log,
            snapshots: Arc::new(MemorySnapshots::default()),
            guard: Arc::clone(&guard),
            issuers: configured,
            secret,
            clock: clock.clone(),
            limits: Limits::default(),
            session_rules: SessionRules::default(),
            password_cost,
            login_gate: LoginGate::new(failures, failures),
            second_factors: second_factors(failures),
            attachments: place.rules.clone(),
            owner_code: Some(OwnerCode::new(OWNER_CODE.to_owned())),
        })
        .unwrap();
        Self {
            store,
            router: routes(api.clone()).into(),
            api,
            clock,
            guard,
            issuers,
            place,
            users: HashMap::new(),
        }
    }

    /// Users who are registered and logged in.
    pub(crate) async fn with(names: &[&str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.join(name).await;
        }
        world
    }

    /// The same log under a server that was started again; logins stay.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_at(PasswordCost::default()).await
    }

    /// The same, where hashing passwords costs `cost` from now on.
    pub(crate) async fn restarted_at(self, cost: PasswordCost) -> Self {
        self.api.close().await;
        let mut world = Self::on(
            self.store,
            self.clock,
            self.issuers,
            self.place,
            cost,
            Limit::Off,
        );
        world.users = self.users;
        world
    }

    /// Registers `name` and logs them in.
    pub(crate) async fn join(&mut self, name: &str) {
        let (status, answer) = self.register(name).send().await;
        assert_eq!(status, 201, "{answer}");
        let user = serde_json::from_value(answer["id"].clone()).unwrap();
        let login = json!({"login": name, "password": PASSWORD});
        let (status, answer) = self.anonymous("/v1/sessions").body(login).send().await;
        assert_eq!(status, 201, "{answer}");
        let token = answer["token"].as_str().unwrap().to_owned();
        self.users.insert(name.to_owned(), (user, token));
    }

    /// Logs `name` in once more; gives the answer.
    pub(crate) async fn log_in(&self, name: &str) -> Value {
        let login = json!({"login": name, "password": PASSWORD});
        let (status, answer) = self.anonymous("/v1/sessions").body(login).send().await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// Exchanges a refresh token.
    pub(crate) fn refresh(&self, refresh_token: &str) -> Asked<'_> {
        let body = json!({ "refresh_token": refresh_token });
        self.anonymous("/v1/sessions/refresh").body(body)
    }

    /// A command that anybody may ask, with an access token.
    pub(crate) fn rename(&self, token: &str) -> Asked<'_> {
        let request = self.ask(Some(token), Method::PATCH, "/v1/users/me");
        request.body(json!({"display_name": "Somebody"}))
    }

    pub(crate) fn register(&self, name: &str) -> Asked<'_> {
        self.anonymous("/v1/users").body(json!({
            "handle": name,
            "email": format!("{name}@example.org"),
            "password": PASSWORD,
            "display_name": name,
        }))
    }

    /// Starts a group and returns its id.
    pub(crate) async fn group(&self, owner: &str, members: &[&str]) -> String {
        let members: Vec<_> = members.iter().map(|name| self.id(name)).collect();
        let group = json!({"kind": "group", "title": "A group", "members": members});
        let (status, answer) = self
            .post(owner, "/v1/conversations")
            .body(group)
            .send()
            .await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Sends a message and returns its seq.
    pub(crate) async fn say(&self, who: &str, conversation: &str, text: &str) -> u64 {
        let path = format!("/v1/conversations/{conversation}/messages");
        let (status, answer) = self
            .post(who, &path)
            .body(json!({ "body": text }))
            .send()
            .await;
        assert_eq!(status, 201, "{answer}");
        answer["seq"].as_u64().unwrap()
    }

    /// Asks for a code as a stranger.
    pub(crate) fn ask_code(&self, purpose: &str, email: &str) -> Asked<'_> {
        let body = json!({"purpose": purpose, "email": email});
        self.anonymous("/v1/codes").body(body)
    }

    /// Waits until everything is done that was answered before it was begun.
    pub(crate) async fn settle(&self) {
        let all = u32::try_from(CODES_UNDER_WAY_MAX).unwrap();
        let under_way = self.api.codes_under_way().acquire_many(all).await;
        drop(under_way.unwrap());
    }

    /// Verifies the address of `name`, unless it is, with the code that was mailed last.
    pub(crate) async fn verify(&self, name: &str) {
        if self.account(name).await.is_email_verified() {
            return;
        }
        let code = self.last_code(name, CodePurpose::VerifyEmail).await;
        let verify = self.post(name, "/v1/users/me/verify-email");
        let (status, answer) = verify.body(json!({ "code": code })).send().await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Has a code mailed to `name`, whose address is verified first.
    pub(crate) async fn mailed_code(&self, name: &str, purpose: CodePurpose) -> Mailed {
        self.verify(name).await;
        let named = serde_json::to_value(purpose).unwrap();
        let email = format!("{name}@example.org");
        let asked = self.ask_code(named.as_str().unwrap(), &email);
        let (status, answer) = asked.send().await;
        assert_eq!(status, 202, "{answer}");
        self.settle().await;
        Mailed {
            challenge: answer["challenge"].as_str().unwrap().to_owned(),
            code: self.last_code(name, purpose).await,
        }
    }

    /// The code that was mailed to `name` last, made as the mail's is.
    pub(crate) async fn last_code(&self, name: &str, purpose: CodePurpose) -> String {
        let user = self.id(name);
        let events = self.events(&StreamName::user(user)).await;
        let mut issued = events.iter().rev().filter_map(|recorded| {
            let Event::User(UserEvent::CodeIssued(issued)) = recorded.event().unwrap() else {
                return None;
            };
            (issued.purpose == purpose).then(|| CodeOf {
                command: recorded.metadata().unwrap().command_id,
                user,
                purpose,
                expires_at: issued.expires_at,
            })
        });
        let code = self.api.code_keys().code(&issued.next().unwrap());
        code.as_str().to_owned()
    }

    /// How many events of a type the account of `name` has.
    pub(crate) async fn count(&self, name: &str, event_type: &str) -> usize {
        let types = self.types(&StreamName::user(self.id(name))).await;
        types.iter().filter(|it| *it == event_type).count()
    }

    /// Types of all events in the log.
    pub(crate) async fn all_types(&self) -> Vec<String> {
        let events = self.store.read_all(Position::ZERO, 10_000).await.unwrap();
        let types = events.iter().map(|event| event.event_type.to_string());
        types.collect()
    }

    pub(crate) async fn account(&self, name: &str) -> Account {
        self.api.account(self.id(name)).await.unwrap().unwrap()
    }

    pub(crate) fn id(&self, name: &str) -> UserId {
        self.users[name].0
    }

    pub(crate) fn token(&self, name: &str) -> &str {
        &self.users[name].1
    }

    pub(crate) async fn caller(&self, name: &str) -> Caller {
        self.guard.caller(self.token(name)).await.unwrap()
    }

    /// Lets time pass.
    pub(crate) fn later(&self, by: TimeDelta) {
        self.clock.set(self.clock.now() + by);
    }

    pub(crate) async fn events(&self, stream: &StreamName) -> Vec<Arc<RecordedEvent>> {
        self.store
            .read_stream(stream, Version(1), Direction::Forward, 10_000)
            .await
            .unwrap()
    }

    /// Types of the events of a stream.
    pub(crate) async fn types(&self, stream: &StreamName) -> Vec<String> {
        let events = self.events(stream).await;
        events
            .iter()
            .map(|event| event.event_type.to_string())
            .collect()
    }

    pub(crate) fn anonymous(&self, path: &str) -> Asked<'_> {
        self.ask(None, Method::POST, path)
    }

    pub(crate) fn post(&self, who: &str, path: &str) -> Asked<'_> {
        self.ask(Some(self.token(who)), Method::POST, path)
    }

    pub(crate) fn put(&self, who: &str, path: &str) -> Asked<'_> {
        self.ask(Some(self.token(who)), Method::PUT, path)
    }

    pub(crate) fn patch(&self, who: &str, path: &str) -> Asked<'_> {
        self.ask(Some(self.token(who)), Method::PATCH, path)
    }

    pub(crate) fn delete(&self, who: &str, path: &str) -> Asked<'_> {
        self.ask(Some(self.token(who)), Method::DELETE, path)
    }

    pub(crate) fn get_as(&self, who: &str, path: &str) -> Asked<'_> {
        self.ask(Some(self.token(who)), Method::GET, path)
    }

    /// Lets `name` act with a token that they came by.
    pub(crate) fn meet(&mut self, name: &str, user: UserId, token: &str) {
        self.users.insert(name.to_owned(), (user, token.to_owned()));
    }

    pub(crate) fn get(&self, path: &str) -> Asked<'_> {
        self.ask(None, Method::GET, path)
    }

    /// Whoever has `token`.
    pub(crate) fn with_token<'a>(&'a self, token: &'a str) -> Holder<'a> {
        Holder { world: self, token }
    }

    pub(crate) fn ask(&self, token: Option<&str>, method: Method, path: &str) -> Asked<'_> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        Asked {
            router: &self.router,
            request,
            body: String::new(),
        }
    }
}

/// A code from the mail, and the challenge that it was asked for with.
#[derive(Clone)]
pub(crate) struct Mailed {
    pub(crate) challenge: String,
    pub(crate) code: String,
}

/// A code that is another.
pub(crate) fn other_code(code: &str) -> String {
    let other = if code == "00000000" {
        "00000001"
    } else {
        "00000000"
    };
    other.to_owned()
}

/// Somebody with a token who is none of the world's users.
pub(crate) struct Holder<'a> {
    world: &'a World,
    token: &'a str,
}

impl<'a> Holder<'a> {
    pub(crate) fn post(&self, path: &str) -> Asked<'a> {
        self.world.ask(Some(self.token), Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Asked<'a> {
        self.world.ask(Some(self.token), Method::PATCH, path)
    }
}

/// A request to be sent.
pub(crate) struct Asked<'a> {
    router: &'a Router,
    request: axum::http::request::Builder,
    body: String,
}

impl Asked<'_> {
    pub(crate) fn key(mut self, key: &str) -> Self {
        self.request = self.request.header(IDEMPOTENCY_KEY, key);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// From somebody at an IPv4 address.
    pub(crate) fn from(mut self, address: [u8; 4]) -> Self {
        let address = ClientAddress(Some(address.into()));
        self.request = self.request.extension(address);
        self
    }

    pub(crate) fn body(self, body: impl Into<Value>) -> Self {
        self.text(&body.into().to_string())
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// The answer's status and JSON.
    pub(crate) async fn send(self) -> (u16, Value) {
        let (status, _, body) = self.send_for_headers().await;
        (status, body)
    }

    /// The answer's status, headers and JSON.
    pub(crate) async fn send_for_headers(self) -> (u16, HeaderMap, Value) {
        let request = self
            .request
            .header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(self.body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status, headers, body)
    }

    /// The answer's status, code and the pointer of the first wrong field, which may be empty.
    pub(crate) async fn problem(self) -> (u16, String, String) {
        let (status, answer) = self.send().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pointer = text(&answer["errors"][0]["pointer"]);
        (status, text(&answer["code"]), pointer)
    }
}

/// What [`Asked::problem`] is compared with.
pub(crate) fn problem(status: u16, code: &str, pointer: &str) -> (u16, String, String) {
    (status, code.to_owned(), pointer.to_owned())
}
