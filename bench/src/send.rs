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
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::figures::{Run, Spread};

/// Users who send; each is in many conversations.
const USERS: usize = 20;

/// Members of a conversation.
const MEMBERS: usize = 10;

/// Syncs of one round of the disk's limit.
const SYNCS: usize = 400;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
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
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
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

/// What was measured, pair by pair.
#[derive(Serialize)]
struct Report {
    senders: usize,
    conversations: usize,
    send: Vec<Run>,
    fdatasync: Vec<Run>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    let spread = |runs: &[Run], of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
    let rate = spread(&report.send, |run| run.per_second);
    println!(
        "send at {} senders: {:.0} a second ({:.0} to {:.0})",
        report.senders, rate.median, rate.min, rate.max
    );
    println!("             p50 ms (least to most)     p99 ms (least to most)");
    for (name, runs) in [("send", &report.send), ("fdatasync", &report.fdatasync)] {
        let (p50, p99) = (
            spread(runs, |run| run.p50_ms),
            spread(runs, |run| run.p99_ms),
        );
        println!(
            "  {name:<9}  {:>6.3} ({:.3} to {:.3})    {:>6.3} ({:.3} to {:.3})",
            p50.median, p50.min, p50.max, p99.median, p99.min, p99.max
        );
    }
    let bound = 2.0 * spread(&report.fdatasync, |run| run.p50_ms).median + 1.0;
    let ratio = spread(&report.send, |run| run.p50_ms).median / bound;
    println!("send p50 is {ratio:.2} of the bound, 2 x fdatasync p50 + 1 ms = {bound:.3} ms");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Fallible<Report> {
    let server = start(&options.program).await?;
    let client = Client::new();
    let targets = Arc::new(prepare(&client, &server.url, options.conversations).await?);
    let mut report = Report {
        senders: options.senders,
        conversations: options.conversations,
        send: Vec::new(),
        fdatasync: Vec::new(),
    };
    for _ in 0..options.pairs {
        let (file, begun) = (server.disk.clone(), Instant::now());
        let took = tokio::task::spawn_blocking(move || syncs(&file)).await??;
        report.fdatasync.push(Run::of(took, begun.elapsed()));
        let begun = Instant::now();
        let round = Duration::from_secs(options.seconds);
        let took = storm(&client, &targets, options.senders, round).await?;
        report.send.push(Run::of(took, begun.elapsed()));
    }
    Ok(report)
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
            return Ok(Server {
                _process: process,
                _folder: folder,
                url,
                disk,
            });
        }
    }
    Err("the server ended before it was ready".into())
}

async fn post(client: &Client, url: &str, token: &str, body: &Value) -> Fallible<Value> {
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

fn text(value: &Value, name: &str) -> Fallible<String> {
    value[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("no {name} in {value}").into())
}

async fn prepare(client: &Client, url: &str, conversations: usize) -> Fallible<Vec<Target>> {
    let mut people = Vec::new();
    for number in 0..USERS {
        let (handle, password) = (format!("user-{number}"), "correct horse battery");
        let account = json!({ "handle": handle, "email": format!("{handle}@example.org"),
            "password": password, "display_name": handle });
        let id = text(
            &post(client, &format!("{url}/v1/users"), "", &account).await?,
            "id",
        )?;
        let login = json!({ "login": handle, "password": password });
        let token = post(client, &format!("{url}/v1/sessions"), "", &login).await?;
        people.push((id, text(&token, "token")?));
    }
    let mut targets = Vec::new();
    for number in 0..conversations {
        let members: Vec<&str> = (1..MEMBERS)
            .map(|next| people[(number + next) % USERS].0.as_str())
            .collect();
        let token = &people[number % USERS].1;
        let body = json!({ "kind": "group", "title": format!("c{number}"), "members": members });
        let started = post(client, &format!("{url}/v1/conversations"), token, &body).await?;
        let path = format!("{url}/v1/conversations/{}/messages", text(&started, "id")?);
        targets.push(Target {
            path,
            token: token.clone(),
        });
    }
    Ok(targets)
}

/// Sends from `senders` tasks for `round`; gives how long each send took.
async fn storm(
    client: &Client,
    targets: &Arc<Vec<Target>>,
    senders: usize,
    round: Duration,
) -> Fallible<Vec<Duration>> {
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
                    took.push(begun.elapsed());
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

/// `write` of 400 bytes and `fdatasync`, one after the other.
fn syncs(path: &PathBuf) -> std::io::Result<Vec<Duration>> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let bytes = [7; 400];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.seek(SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    Ok(took)
}
