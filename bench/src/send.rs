//! Figure `send`: from an HTTP request to its acknowledgement, on a server process of its own, with
//! the disk's `fdatasync` beside it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::statistics::{Spread, percentile};

/// Users who send; each is in many conversations.
const USERS: usize = 20;

/// Members of a conversation.
const MEMBERS: usize = 10;

/// Syncs of one round of the disk's limit.
const SYNCS: usize = 400;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The server's program
    #[arg(long, default_value = "target/release/verbatim")]
    program: PathBuf,
    /// Conversations, each of 10 members
    #[arg(long, default_value_t = 1_900)]
    conversations: usize,
    /// Senders at once
    #[arg(long, default_value_t = 16)]
    senders: usize,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Pairs of rounds (disk, send)
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

struct Server {
    _process: Child,
    _folder: tempfile::TempDir,
    url: String,
    disk: PathBuf,
}

struct Target {
    path: String,
    token: String,
}

/// Measures and prints a line of JSON and a table.
pub async fn run(arguments: Arguments) -> Fallible<()> {
    let server = start(&arguments.program).await?;
    let client = Client::new();
    let targets = Arc::new(prepare(&client, &server.url, arguments.conversations).await?);
    let round = Duration::from_secs(arguments.seconds);
    let (mut sync_p50, mut sync_p99) = (Vec::new(), Vec::new());
    let (mut send_p50, mut send_p99, mut rate) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.pairs {
        let file = server.disk.clone();
        let mut syncs = tokio::task::spawn_blocking(move || syncs(&file)).await??;
        sync_p50.push(percentile(&mut syncs, 50.0));
        sync_p99.push(percentile(&mut syncs, 99.0));
        let begun = Instant::now();
        let mut sends = storm(&client, &targets, arguments.senders, round).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        rate.push(sends.len() as f64 / begun.elapsed().as_secs_f64());
        send_p50.push(percentile(&mut sends, 50.0));
        send_p99.push(percentile(&mut sends, 99.0));
    }
    let (sync_p50, sync_p99) = (Spread::of(sync_p50), Spread::of(sync_p99));
    let (send_p50, send_p99) = (Spread::of(send_p50), Spread::of(send_p99));
    let rate = Spread::of(rate);
    let figure = json!({
        "figure": "send",
        "senders": arguments.senders,
        "conversations": arguments.conversations,
        "sends_per_second": rate,
        "send_p50_ms": send_p50, "send_p99_ms": send_p99,
        "fdatasync_p50_ms": sync_p50, "fdatasync_p99_ms": sync_p99,
        "p50_over_fdatasync": send_p50.median / sync_p50.median,
    });
    println!("{figure}");
    println!("send at {} senders: {rate:.0} a second", arguments.senders);
    println!("            p50 ms          p99 ms");
    println!("  send      {send_p50:.3}   {send_p99:.3}");
    println!("  fdatasync {sync_p50:.3}   {sync_p99:.3}");
    let bound = 2.0 * sync_p50.median + 1.0;
    println!("  p50 {:.3} of the bound 2 × fdatasync + 1 ms = {bound:.3}", send_p50.median / bound);
    Ok(())
}

async fn start(program: &PathBuf) -> Fallible<Server> {
    let folder = tempfile::tempdir_in("target")?;
    let data = folder.path().join("data");
    let mut process = Command::new(program)
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
            let disk = folder.path().join("limit");
            return Ok(Server { _process: process, _folder: folder, url, disk });
        }
    }
    Err("the server ended before it was ready".into())
}

async fn post(client: &Client, url: &str, token: &str, body: &Value) -> Fallible<Value> {
    let response = client.post(url).bearer_auth(token).json(body).send().await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    if status.is_success() { Ok(answer) } else { Err(format!("{url}: {status}: {answer}").into()) }
}

fn text(value: &Value, name: &str) -> Fallible<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name} in {value}").into())
}

async fn prepare(client: &Client, url: &str, conversations: usize) -> Fallible<Vec<Target>> {
    let mut people = Vec::new();
    for number in 0..USERS {
        let (handle, password) = (format!("user-{number}"), "correct horse battery");
        let account = json!({ "handle": handle, "email": format!("{handle}@example.org"),
            "password": password, "display_name": handle });
        let id = text(&post(client, &format!("{url}/v1/users"), "", &account).await?, "id")?;
        let login = json!({ "login": handle, "password": password });
        let token = post(client, &format!("{url}/v1/sessions"), "", &login).await?;
        people.push((id, text(&token, "token")?));
    }
    let mut targets = Vec::new();
    for number in 0..conversations {
        let members: Vec<&str> =
            (1..MEMBERS).map(|next| people[(number + next) % USERS].0.as_str()).collect();
        let token = &people[number % USERS].1;
        let body = json!({ "kind": "group", "title": format!("c{number}"), "members": members });
        let started = post(client, &format!("{url}/v1/conversations"), token, &body).await?;
        let path = format!("{url}/v1/conversations/{}/messages", text(&started, "id")?);
        targets.push(Target { path, token: token.clone() });
    }
    Ok(targets)
}

/// Sends from `senders` tasks for `round`; gives each send's milliseconds.
async fn storm(
    client: &Client,
    targets: &Arc<Vec<Target>>,
    senders: usize,
    round: Duration,
) -> Fallible<Vec<f64>> {
    let body = json!({ "body": "The quick brown fox jumps over the lazy dog. ".repeat(4) });
    let until = Instant::now() + round;
    let tasks: Vec<_> = (0..senders)
        .map(|sender| {
            let (client, targets, body) = (client.clone(), Arc::clone(targets), body.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                let mut next = sender;
                while Instant::now() < until {
                    let target = &targets[next % targets.len()];
                    next += senders;
                    let begun = Instant::now();
                    post(&client, &target.path, &target.token, &body).await?;
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

/// Milliseconds of `write` of 400 bytes and `fdatasync`, one after the other.
fn syncs(path: &PathBuf) -> std::io::Result<Vec<f64>> {
    let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
    let bytes = [7; 400];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.seek(SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}
