//! A small world for the tests of the routes: the command side on a log in memory, users who are
//! logged in, and requests that read like what they ask.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use chrono::TimeDelta;
use domain::{StreamName, UserId, Version};
use infra::auth::{Caller, Guard, Tokens};
use infra::clock::Clock;
use infra::event_store::{Direction, EventStore, MemoryEventStore, RecordedEvent};
use infra::http::IDEMPOTENCY_KEY;
use infra::keys::Secret;
use infra::limits::{Limit, LoginGate};
use infra::snapshots::MemorySnapshots;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::execute::Limits;
use crate::owner::OwnerCode;
use crate::{CommandApi, Parts, routes};

/// What makes the owner.
pub(crate) const OWNER_CODE: &str = "an owner's code";

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) store: Arc<MemoryEventStore>,
    pub(crate) api: CommandApi,
    pub(crate) clock: Clock,
    guard: Arc<Guard>,
    router: Router,
    users: HashMap<String, (UserId, String)>,
}

impl World {
    /// Nobody there yet. The clock stands at the real time, at which tokens are checked.
    pub(crate) fn new() -> Self {
        Self::with_logins(Limit::Off)
    }

    /// The same, where wrong passwords are limited.
    pub(crate) fn with_logins(failures: Limit) -> Self {
        let clock = Clock::fixed(Clock::system().now());
        let store = Arc::new(MemoryEventStore::new(clock.clone()));
        Self::on(store, clock, failures)
    }

    /// The command side, started on `store`.
    fn on(store: Arc<MemoryEventStore>, clock: Clock, failures: Limit) -> Self {
        let log: Arc<dyn EventStore> = store.clone();
        let secret = Secret::new([7; 32]);
        let guard = Arc::new(Guard::new(Tokens::new(&secret).unwrap(), &log, &clock));
        let api = CommandApi::new(Parts {
            store: log,
            snapshots: Arc::new(MemorySnapshots::default()),
            guard: Arc::clone(&guard),
            secret,
            clock: clock.clone(),
            limits: Limits::default(),
            session_lifetime: Parts::SESSION_LIFETIME_DEFAULT,
            login_gate: LoginGate::new(failures, failures),
            owner_code: Some(OwnerCode::new(OWNER_CODE.to_owned())),
        })
        .unwrap();
        Self {
            store,
            router: routes(api.clone()).into(),
            api,
            clock,
            guard,
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
        self.api.close().await;
        let mut world = Self::on(self.store, self.clock, Limit::Off);
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

    pub(crate) fn get(&self, path: &str) -> Asked<'_> {
        self.ask(None, Method::GET, path)
    }

    fn ask(&self, token: Option<&str>, method: Method, path: &str) -> Asked<'_> {
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

    pub(crate) fn body(self, body: impl Into<Value>) -> Self {
        self.text(&body.into().to_string())
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// The answer's status and JSON.
    pub(crate) async fn send(self) -> (u16, Value) {
        let request = self.request.body(Body::from(self.body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
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
