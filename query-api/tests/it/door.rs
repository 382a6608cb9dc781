//! The routes, people with tokens, and asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use domain::session::{Opened, SessionEvent};
use domain::user::SystemRole;
use domain::{SessionId, StreamName, UserId};
use infra::auth::{Guard, Tokens};
use infra::blobs::{BlobLinks, Blobs};
use infra::clock::fresh_id;
use infra::database::Database;
use infra::event_store::EventStore;
use infra::keys::Secret;
use query_api::QueryApi;
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::harness::{Kinds, Log, Running, Scratch, user};

/// A server's read side. Its users are alice (1), bob (2), carol (3), dave (4) and the auditor (9).
pub(crate) struct Door {
    pub(crate) log: Log,
    pub(crate) database: Database,
    pub(crate) running: Running,
    pub(crate) api: OpenApi,
    router: Router,
    tokens: BTreeMap<UserId, String>,
    /// Where the bytes of attachments are.
    pub(crate) blobs: Blobs,
    _files: tempfile::TempDir,
    _scratch: Scratch,
}

pub(crate) const NAMES: [(u128, &str); 5] = [
    (1, "alice"),
    (2, "bob"),
    (3, "carol"),
    (4, "dave"),
    (9, "auditor"),
];

impl Door {
    pub(crate) async fn open(kind: Kinds) -> Self {
        let log = Log::new();
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        let store: Arc<dyn EventStore> = log.store.clone();
        let secret = Secret::new([7; 32]);
        let signer = Tokens::new(&secret).unwrap();
        let guard = Guard::new(Tokens::new(&secret).unwrap(), &store, &log.clock);
        let mut tokens = BTreeMap::new();
        for (number, name) in NAMES {
            let user = user(number);
            log.register(user, name).await;
            let session = SessionId(fresh_id());
            let expires_at = "2100-01-01T00:00:00Z".parse().unwrap();
            let opened = SessionEvent::Opened(Opened {
                user,
                expires_at,
                device: None,
                address: None,
                refresh_hash: None,
                login_epoch: 0,
                vouched_by: None,
                amr: [].into(),
            });
            log.append(StreamName::session(session), opened).await;
            let token = signer.sign(user, session, log.clock.now(), expires_at);
            tokens.insert(user, token.unwrap());
        }
        log.grant(user(9), SystemRole::Auditor).await;
        let files = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(files.path()).unwrap();
        let api = QueryApi {
            database: database.clone(),
            store,
            guard: Arc::new(guard),
            clock: log.clock.clone(),
            blobs: Some(blobs.clone()),
            links: BlobLinks::new(&secret),
        };
        let (router, api) = query_api::routes(api).split_for_parts();
        Self {
            log,
            database,
            running,
            api,
            router,
            tokens,
            blobs,
            _files: files,
            _scratch: scratch,
        }
    }

    /// What `who` gets for `path`, as text, once the read models have everything.
    pub(crate) async fn text(&self, who: UserId, path: &str) -> (StatusCode, String) {
        self.running.caught_up(&self.log).await;
        self.ask(Some(&self.tokens[&who]), path).await
    }

    pub(crate) async fn ask(&self, token: Option<&str>, path: &str) -> (StatusCode, String) {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(self.router.clone(), request)
            .await
            .unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What `who` gets for `path`, which is good.
    pub(crate) async fn get(&self, who: UserId, path: &str) -> Value {
        let (status, text) = self.text(who, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The status and code of the problem that `who` gets for `path`.
    pub(crate) async fn problem(&self, who: UserId, path: &str) -> (u16, String) {
        let (status, text) = self.text(who, path).await;
        let problem: Value = serde_json::from_str(&text).unwrap();
        let code = problem["code"].as_str().expect("a problem has a code");
        (status.as_u16(), code.to_owned())
    }

    pub(crate) async fn close(self) {
        self.running.stop().await.unwrap();
        self.database.close().await;
    }
}

/// The values of `field` of the objects in `list`.
pub(crate) fn each(list: &Value, field: &str) -> Vec<Value> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| entry[field].clone())
        .collect()
}
