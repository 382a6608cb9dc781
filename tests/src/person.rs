//! A person with an account, using the server over HTTP.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Before somebody whom the server did not serve tries again.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null where it was empty or no JSON.
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }

    /// Checks that this is a problem with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let said = (
            self.status.as_u16(),
            self.body["code"].as_str().unwrap_or_default(),
        );
        assert_eq!(said, (status, code), "{}", self.body);
        self.body
    }
}

/// A person who is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    http: reqwest::Client,
    server: String,
    /// Their user id.
    pub id: String,
    /// Their unique name.
    pub handle: String,
    /// Their access token.
    pub token: String,
    /// What they get the next tokens for.
    pub refresh_token: String,
    /// The login.
    pub session: String,
}

impl Person {
    /// Registers `handle` on the server at `server` and logs in.
    pub async fn register(server: &str, handle: &str) -> Self {
        let http = reqwest::Client::new();
        let mut person = Self {
            http,
            server: server.to_owned(),
            id: String::new(),
            handle: handle.to_owned(),
            token: String::new(),
            refresh_token: String::new(),
            session: String::new(),
        };
        let body = json!({
            "handle": handle,
            "email": format!("{handle}@example.org"),
            "password": password(handle),
            "display_name": handle,
        });
        let registered = person.post("/v1/users", body).await.ok();
        person.id = registered["id"].as_str().expect("an id").to_owned();
        person.log_in(handle).await;
        person
    }

    /// Logs in again.
    pub async fn log_in(&mut self, handle: &str) {
        let body = json!({ "login": handle, "password": password(handle) });
        let session = self.post("/v1/sessions", body).await.ok();
        self.take(&session);
    }

    /// The same person on another device, which is called `device`.
    pub async fn on_another_device(&self, device: &str) -> Self {
        let password = password(&self.handle);
        let body = json!({ "login": self.handle, "password": password, "device": device });
        let session = self.post("/v1/sessions", body).await.ok();
        let mut person = self.clone();
        person.take(&session);
        person
    }

    /// Exchanges the refresh token.
    pub async fn refresh(&mut self) {
        let session = self.exchange().await.ok();
        self.take(&session);
    }

    /// Exchanges the refresh token, and forgets what came of it.
    pub async fn exchange(&self) -> Answer {
        let body = json!({ "refresh_token": self.refresh_token });
        self.post("/v1/sessions/refresh", body).await
    }

    /// Has the tokens of this login from now on.
    fn take(&mut self, session: &Value) {
        let text = |field: &str| session[field].as_str().expect("a token").to_owned();
        self.token = text("token");
        self.refresh_token = text("refresh_token");
        self.session = text("session");
    }

    /// Where the server is.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The same person, going to the server at `server`.
    #[must_use]
    pub fn at(&self, server: &str) -> Self {
        Self {
            server: server.to_owned(),
            ..self.clone()
        }
    }

    /// Starts a group with these others, and waits until everybody's list has it; gives its id.
    pub async fn starts_group(&self, title: &str, others: &[&Self]) -> String {
        let members: Vec<&str> = others.iter().map(|person| person.id.as_str()).collect();
        let body = json!({ "kind": "group", "title": title, "members": members });
        let started = self.post("/v1/conversations", body).await.ok();
        let id = started["id"].as_str().expect("an id").to_owned();
        let position = &started["position"];
        let path = format!("/v1/conversations/{id}?min_position={position}");
        self.get(&path).await.ok();
        id
    }

    /// Sends a message; gives its seq.
    pub async fn says(&self, conversation: &str, body: &str) -> u64 {
        let path = format!("/v1/conversations/{conversation}/messages");
        self.post(&path, json!({ "body": body })).await.ok()["seq"]
            .as_u64()
            .expect("a seq")
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None, &[]).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body), &[]).await
    }

    /// Any request.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.try_ask(method, path, body, headers)
            .await
            .expect("the server answers")
    }

    /// Any request, to a server that may be gone.
    pub async fn try_ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path, body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok(Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }

    /// The status of any request, of which the answer may have no end.
    pub async fn status_of(&self, method: Method, path: &str, body: Option<Value>) -> StatusCode {
        let answer = self.request(method, path, body).send().await;
        answer.expect("the server answers").status()
    }

    fn request(&self, method: Method, path: &str, body: Option<Value>) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        match body {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    /// Posts a body until the server, which may be away, takes it; gives what it answers.
    pub async fn insists(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Value {
        loop {
            let sent = self
                .try_ask(Method::POST, path, Some(body.clone()), headers)
                .await;
            match sent {
                Ok(answer) if answer.status.is_success() => return answer.body,
                Ok(answer) => assert!(may_pass(answer.status), "{answer:?}"),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// The events of an auditor's replay, as soon as the server, which may be away, gives all of it.
    pub async fn replays(&self, path: &str) -> Vec<Value> {
        let text = loop {
            match self.try_text(path).await {
                Ok((status, text)) if status.is_success() => break text,
                Ok((status, text)) => assert!(may_pass(status), "{status}: {text}"),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        };
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Reads a path as text.
    pub async fn text(&self, path: &str) -> String {
        let (status, text) = self.try_text(path).await.expect("the server answers");
        assert!(status.is_success(), "{status}: {text}");
        text
    }

    /// Reads a path as text, from a server that may be away.
    pub async fn try_text(&self, path: &str) -> Result<(StatusCode, String), reqwest::Error> {
        let request = self
            .http
            .get(format!("{}{path}", self.server))
            .bearer_auth(&self.token);
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }
}

/// Whether a client tries again after such an answer.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::CONFLICT
        || status == StatusCode::TOO_MANY_REQUESTS
}

/// Everybody's password follows from the handle.
pub fn password(handle: &str) -> String {
    format!("correct horse {handle}")
}
