//! A push service as a process of its own, in another language than the server's, with the browsers that
//! it knows.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::nats::free_port;
use crate::person::Person;

/// How long a push may take; the end of quiet hours is at most two minutes away.
const ARRIVES_WITHIN: Duration = Duration::from_mins(4);

/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A push service. Killed when dropped.
pub struct PushService {
    _process: Child,
    url: String,
    http: Client,
}

impl PushService {
    /// Starts it; `cargo xtask test` says which Python has what it needs.
    pub async fn start() -> Self {
        let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/clients/python/push_service.py"
        );
        let port = free_port();
        let mut process = Command::new(python)
            .args([script, "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let url = lines.next_line().await.expect("it says something");
        Self {
            _process: process,
            url: url.expect("it listens"),
            http: Client::new(),
        }
    }

    /// Gives `person` a browser called `browser` that takes pushes; gives its id.
    pub async fn subscribes(&self, person: &Person, browser: &str) -> String {
        let key = person.get("/v1/push/key").await.ok();
        let asked = json!({ "name": browser, "key": key["key"] });
        let subscription = self.post("/subscribe", &asked).await;
        let path = "/v1/users/me/push-subscriptions";
        let added = person.post(path, subscription).await.ok();
        added["id"].as_str().expect("an id").to_owned()
    }

    /// From now on the next pushes get these answers.
    pub async fn answers(&self, statuses: &[u16]) {
        self.post("/control", &json!({ "answers": statuses })).await;
    }

    /// Takes nothing and answers nothing, until it is released.
    pub async fn hold(&self) {
        self.post("/control", &json!({ "hold": true })).await;
    }

    /// Waits until it holds a push.
    pub async fn holds(&self) {
        self.until(|state| state["held"].as_u64() > Some(0)).await;
    }

    /// Drops what it holds, and takes what comes.
    pub async fn release(&self) {
        self.post("/control", &json!({ "hold": false })).await;
    }

    /// What `browser` got, as soon as it is `count` pushes.
    pub async fn pushes(&self, browser: &str, count: usize) -> Vec<Value> {
        let of = |state: &Value| -> Vec<Value> {
            let all = state["pushes"].as_array().expect("pushes").iter();
            all.filter(|push| push["browser"] == browser)
                .cloned()
                .collect()
        };
        let state = self.until(|state| of(state).len() >= count).await;
        let pushes = of(&state);
        assert_eq!(pushes.len(), count, "{pushes:?}");
        for push in &pushes {
            assert!(push.get("wrong").is_none(), "{push}");
        }
        pushes
    }

    async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let looked = async {
            loop {
                let answer = self.http.get(&self.url).send().await.expect("it answers");
                let state: Value = answer.json().await.expect("JSON");
                if is_so(&state) {
                    return state;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(ARRIVES_WITHIN, looked).await;
        found.expect("it comes in time")
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.url);
        let answer = self.http.post(url).json(body).send().await;
        answer.expect("it answers").json().await.expect("JSON")
    }
}
