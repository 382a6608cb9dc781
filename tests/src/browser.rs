//! A headless Chromium with a virtual authenticator, driven over `WebDriver` (W3C) with the extension of
//! `WebAuthn`, level 3, section 11.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::nats::free_port;

/// How long driver and browser may take until they are ready.
const START_MAX: Duration = Duration::from_mins(1);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Calls a function of a page, which gives a promise, and reports what it is fulfilled with, or why not.
const CALL: &str = "
    const done = arguments[arguments.length - 1];
    const work = new Function('given', `return (async () => { ${arguments[0]} })()`);
    work(arguments[1]).then(value => done({ value }), error => done({ threw: String(error) }));
";

/// A browser of its own, with nothing in it. Killed when dropped.
pub struct Browser {
    http: Client,
    /// Where the session is, at the driver.
    session: String,
    driver: Child,
    profile: TempDir,
}

impl Drop for Browser {
    /// The browser is in the group of its driver.
    fn drop(&mut self) {
        if let Some(driver) = self.driver.id() {
            let group = format!("-{driver}");
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &group])
                .status();
        }
    }
}

impl Browser {
    /// Starts one whose authenticator has a PIN that its user always knows.
    pub async fn start() -> Self {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver starts; `cargo xtask test` installs it");
        let mut browser = Self {
            http: Client::new(),
            session: format!("http://127.0.0.1:{port}"),
            driver,
            profile: tempfile::tempdir().expect("a temporary folder"),
        };
        let ready = async {
            while browser
                .try_ask(Method::GET, "/status", None)
                .await
                .is_none()
            {
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        let ready = tokio::time::timeout(START_MAX, ready).await;
        ready.expect("chromedriver is ready");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ];
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let capabilities = json!({ "capabilities": { "alwaysMatch": options } });
        let opened = browser.ask(Method::POST, "/session", capabilities).await;
        let id = opened["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    /// Gives it an authenticator, which keeps passkeys and knows its user.
    pub async fn add_authenticator(&self) {
        let authenticator = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserConsenting": true, "isUserVerified": true,
        });
        let path = "/webauthn/authenticator";
        self.ask(Method::POST, path, authenticator).await;
    }

    /// Goes to a page.
    pub async fn visit(&self, url: &str) {
        self.ask(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// Calls `script` on the page with `given`: the body of an async function. What it returns, or why it
    /// threw.
    pub async fn call(&self, script: &str, given: Value) -> Result<Value, String> {
        let call = json!({ "script": CALL, "args": [script, given] });
        let called = self.ask(Method::POST, "/execute/async", call).await;
        match called["threw"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(called["value"].clone()),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.try_ask(method, path, body).await;
        let answer = answer.expect("chromedriver answers");
        assert_eq!(answer["value"]["error"], Value::Null, "{path}: {answer}");
        answer["value"].clone()
    }

    async fn try_ask(&self, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.ok()?.json().await.ok()
    }
}
