//! An issuer of identities as a process of its own, in another language than the server's, and the
//! browser of somebody who logs in there.

use std::process::Stdio;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::nats::free_port;

/// An `OpenID` provider and a small GitHub, on one address. Killed when dropped.
pub struct IssuerProcess {
    process: Option<Child>,
    port: u16,
    http: Client,
}

impl IssuerProcess {
    /// Its name for us.
    pub const CLIENT: &str = "verbatim";

    /// Our secret there.
    pub const SECRET: &str = "a secret with spaces & signs";

    /// Starts it; `cargo xtask test` says which Python has what it needs.
    pub async fn start() -> Self {
        let http = Client::builder().redirect(Policy::none()).build();
        let mut issuer = Self {
            process: None,
            port: free_port(),
            http: http.expect("a client"),
        };
        issuer.start_again().await;
        issuer
    }

    /// Starts it again after it was killed, on the same address, with fresh keys.
    pub async fn start_again(&mut self) {
        let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python/issuer.py");
        let mut process = Command::new(python)
            .args([script, "--port", &self.port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let ready = lines.next_line().await.expect("it says something");
        assert_eq!(ready, Some(self.url()), "it listens");
        self.process = Some(process);
    }

    /// Ends it.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.kill().await.expect("it can be killed");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Tells it to rotate keys (`rotate`, `keep`), to be slow (`slow_s`) or to lie (`lies`).
    pub async fn control(&self, told: Value) {
        self.post("/control", told).await;
    }

    /// A token that it signs, with these claims over those of a good access token.
    pub async fn signs(&self, claims: Value, how: &str) -> String {
        let signed = self
            .post("/sign", json!({ "claims": claims, "how": how }))
            .await;
        signed["token"].as_str().expect("a token").to_owned()
    }

    /// The headers with which it sends the webhook `event`.
    pub async fn webhook(&self, secret: &str, id: &str, event: &Value) -> Vec<(String, String)> {
        let body = event.to_string();
        let told = json!({ "secret": secret, "id": id, "body": body });
        let headers = self.post("/webhook", told).await;
        let headers = headers.as_object().expect("headers").iter();
        headers
            .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
            .collect()
    }

    /// How often this path was asked for.
    pub async fn requests(&self, path: &str) -> u64 {
        let url = format!("{}/requests", self.url());
        let answer = self.http.get(url).send().await.expect("it answers");
        let requests: Value = answer.json().await.expect("JSON");
        requests[path].as_u64().unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.url());
        let answer = self.http.post(url).json(&body).send().await;
        answer.expect("it answers").json().await.expect("JSON")
    }

    /// What the browser of `user` brings back from an address that a login began with, as the client
    /// sends it on. `extra` is appended to the address.
    pub async fn browse(&self, begun: &Value, user: &str, extra: &str) -> Value {
        let url = begun["authorization_url"].as_str().expect("an address");
        let url = format!("{url}&user={user}{extra}");
        let answer = self.http.get(url).send().await.expect("it answers");
        assert_eq!(answer.status(), StatusCode::FOUND);
        let location = answer.headers()["location"].to_str().expect("an address");
        let location = Url::parse(location).expect("an address");
        let mut brought = json!({ "login": begun["login"] });
        for (name, value) in location.query_pairs() {
            brought[&*name] = value.into_owned().into();
        }
        brought
    }
}
