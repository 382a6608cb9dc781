//! A server process of a figure's own, and people who use it over HTTP.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Users; each is in many conversations.
const USERS: usize = 20;

/// Members of a conversation.
pub(crate) const MEMBERS: usize = 10;

/// What goes wrong, for the person who measures.
pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A server on an empty data folder. Killed when dropped.
pub(crate) struct Server {
    _process: Child,
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

/// Somebody with an account.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// A conversation that somebody sends to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where messages are posted, below the server's address.
    pub(crate) path: String,
    pub(crate) token: String,
}

impl Server {
    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A place on the same disk as its log.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("limit")
    }
}

/// Starts `program` on an empty data folder under `target/`.
pub(crate) async fn start(program: &Path) -> Fallible<Server> {
    let folder = tempfile::tempdir_in("target")?;
    let data = folder.path().join("data");
    let mut process = tests::without_limits(&mut Command::new(program))
        .arg("--data-dir")
        .arg(&data)
        .args(["--listen", "127.0.0.1:0", "--log", "warn"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.trim().strip_prefix("address") {
            let url = url.trim().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Server {
                _process: process,
                folder,
                url,
            });
        }
    }
    Err("the server ended before it was ready".into())
}

/// Posts a body; anything but success is an error.
pub(crate) async fn post(client: &Client, url: &str, token: &str, body: &Value) -> Fallible<Value> {
    let response = client
        .post(url)
        .bearer_auth(token)
        .json(body)
        .send()
        .await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    if status.is_success() {
        Ok(answer)
    } else {
        Err(format!("{url}: {status}: {answer}").into())
    }
}

/// A text in an answer.
fn text(value: &Value, name: &str) -> Fallible<String> {
    value[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("no {name} in {value}").into())
}

/// Makes the users.
pub(crate) async fn people(client: &Client, url: &str) -> Fallible<Vec<User>> {
    let mut people = Vec::new();
    for number in 0..USERS {
        let (handle, password) = (format!("user-{number}"), "correct horse battery");
        let account = json!({ "handle": handle, "email": format!("{handle}@example.org"),
            "password": password, "display_name": handle });
        let registered = post(client, &format!("{url}/v1/users"), "", &account).await?;
        let login = json!({ "login": handle, "password": password });
        let session = post(client, &format!("{url}/v1/sessions"), "", &login).await?;
        people.push(User {
            id: text(&registered, "id")?,
            token: text(&session, "token")?,
        });
    }
    Ok(people)
}

/// Makes conversations of [`MEMBERS`] among `people`.
pub(crate) async fn conversations(
    client: &Client,
    url: &str,
    people: &[User],
    count: usize,
) -> Fallible<Vec<Target>> {
    let mut targets = Vec::new();
    for number in 0..count {
        let of = |next: usize| &people[(number + next) % people.len()];
        let members: Vec<&str> = (1..MEMBERS).map(|next| of(next).id.as_str()).collect();
        let token = of(0).token.clone();
        let body = json!({ "kind": "group", "title": format!("c{number}"), "members": members });
        let started = post(client, &format!("{url}/v1/conversations"), &token, &body).await?;
        let path = format!("/v1/conversations/{}/messages", text(&started, "id")?);
        targets.push(Target { path, token });
    }
    Ok(targets)
}

/// What this process has used of the processors so far.
pub(crate) fn processor_time() -> Fallible<Duration> {
    /// Linux tells processes' times in hundredths of a second, whatever the clock is.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field, a name in brackets, may have spaces; user and system time are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let user = times.next().ok_or("no user time")??;
    let system = times.next().ok_or("no system time")??;
    Ok(Duration::from_millis(
        (user + system) * 1_000 / TICKS_PER_SECOND,
    ))
}
