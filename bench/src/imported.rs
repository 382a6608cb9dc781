//! A server that has imported a Slack export, and somebody in it who asks one thing after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::{Fallible, Server, people, post, start};
use crate::figures::Run;

/// How long the read models may take to have the import.
const PROJECTED_WITHIN: Duration = Duration::from_mins(5);

/// Somebody who is in every conversation that was imported.
pub(crate) struct Asker {
    client: Client,
    token: String,
    server: Server,
}

impl Asker {
    /// Starts `program`, imports `slack` and waits until the read models have all of it.
    pub(crate) async fn of_import(program: &Path, slack: &Path) -> Fallible<Self> {
        let server = start(program).await?;
        let client = Client::new();
        let people = people(&client, &server.url).await?;
        let token = &people.first().ok_or("nobody is there")?.token;
        let code = std::fs::read_to_string(server.data().join("owner-code"))?;
        let code = json!({ "code": code.trim() });
        post(&client, &format!("{}/v1/owner", server.url), token, &code).await?;
        let imported = Command::new(program)
            .args(["--server", &server.url, "--token", token, "import", "slack"])
            .arg(slack)
            .output()
            .await?;
        if !imported.status.success() {
            return Err(String::from_utf8_lossy(&imported.stderr).into());
        }
        let token = token.clone();
        let asker = Self {
            client,
            token,
            server,
        };
        asker.projected().await?;
        Ok(asker)
    }

    /// What is at a path.
    pub(crate) async fn get(&self, path: &str) -> Fallible<Value> {
        let request = self.client.get(format!("{}{path}", self.server.url));
        let response = request.bearer_auth(&self.token).send().await?;
        let status = response.status();
        let text = response.text().await?;
        if status.is_success() {
            Ok(serde_json::from_str(&text)?)
        } else {
            Err(format!("{path}: {status}: {text}").into())
        }
    }

    /// Asks for one path after the other.
    pub(crate) async fn round(&self, paths: &[String]) -> Fallible<Run> {
        let begun = Instant::now();
        let mut latencies = Vec::with_capacity(paths.len());
        for path in paths {
            let asked = Instant::now();
            self.get(path).await?;
            latencies.push(asked.elapsed());
        }
        Ok(Run::of(latencies, begun.elapsed()))
    }

    /// The conversation with the newest message.
    pub(crate) async fn conversation(&self) -> Fallible<String> {
        let list = self.get("/v1/conversations").await?;
        let id = list["conversations"][0]["id"].as_str();
        Ok(id.ok_or("no conversation was imported")?.to_owned())
    }

    async fn projected(&self) -> Fallible<()> {
        let me = format!("{}/v1/users/me/preferences", self.server.url);
        let request = self.client.put(me).bearer_auth(&self.token);
        let changed: Value = request.json(&json!({})).send().await?.json().await?;
        let position = &changed["position"];
        let begun = Instant::now();
        loop {
            let path = format!("/v1/search?q=a&min_position={position}");
            let Err(error) = self.get(&path).await else {
                return Ok(());
            };
            if begun.elapsed() > PROJECTED_WITHIN {
                return Err(error);
            }
        }
    }
}
