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
use tokio::sync::mpsc;

use crate::figures::{Run, Spread};

/// Users who send; each is in many conversations.
const USERS: usize = 20;

/// Members of a conversation.
const MEMBERS: usize = 10;

/// A run in which the load generator used more of a core than this says nothing about the server.
const GENERATOR_BUSY_MAX: f64 = 0.9;

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
    /// Sends a second, at intended times, so that a stall is not hidden
    #[arg(long, default_value_t = 4_000)]
    rate: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Turns (disk, send at the rate, send as fast as the senders can)
    #[arg(long, default_value_t = 5)]
    turns: usize,
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
    /// At the rate that was asked for, from the intended time.
    send: Vec<Run>,
    /// As fast as the senders can.
    flat_out: Vec<Run>,
    fdatasync: Vec<Run>,
    /// Of one core, by the load generator, in each run at the rate.
    generator_busy: Vec<f64>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    let spread = |runs: &[Run], of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
    let rate = spread(&report.flat_out, |run| run.per_second);
    println!(
        "{} senders: {:.0} a second at intended times; flat out {:.0} ({:.0} to {:.0})",
        report.senders,
        spread(&report.send, |run| run.per_second).median,
        rate.median,
        rate.min,
        rate.max
    );
    println!("             p50 ms (least to most)     p99 ms (least to most)");
    for (name, runs) in [
        ("send", &report.send),
        ("flat out", &report.flat_out),
        ("fdatasync", &report.fdatasync),
    ] {
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
    let ratio = |runs: &[Run]| spread(runs, |run| run.p50_ms).median / bound;
    println!(
        "p50 is {:.2} of the bound (flat out {:.2}), 2 x fdatasync p50 + 1 ms = {bound:.3} ms",
        ratio(&report.send),
        ratio(&report.flat_out)
    );
    let busiest = report.generator_busy.iter().copied().fold(0.0, f64::max);
    if busiest > GENERATOR_BUSY_MAX {
        return Err(format!(
            "void: the load generator was busy for {busiest:.2} of a core; choose a lower --rate"
        )
        .into());
    }
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
        flat_out: Vec::new(),
        fdatasync: Vec::new(),
        generator_busy: Vec::new(),
    };
    for _ in 0..options.turns {
        let (file, begun) = (server.disk.clone(), Instant::now());
        let took = tokio::task::spawn_blocking(move || syncs(&file)).await??;
        report.fdatasync.push(Run::of(took, begun.elapsed()));
        let round = Duration::from_secs(options.seconds);
        let (busy, begun) = (processor_time()?, Instant::now());
        let took = storm(
            &client,
            &targets,
            options.senders,
            Some(options.rate),
            round,
        )
        .await?;
        report.send.push(Run::of(took, begun.elapsed()));
        let busy = processor_time()? - busy;
        report
            .generator_busy
            .push(busy.as_secs_f64() / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let took = storm(&client, &targets, options.senders, None, round).await?;
        report.flat_out.push(Run::of(took, begun.elapsed()));
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

/// Sends from `senders` tasks for `round`: at `rate` a second together, or each as soon as its last
/// send is answered. Gives how long each send took from when it was intended.
async fn storm(
    client: &Client,
    targets: &Arc<Vec<Target>>,
    senders: usize,
    rate: Option<u32>,
    round: Duration,
) -> Fallible<Vec<Duration>> {
    let body = json!({ "body": "The quick brown fox jumps over the lazy dog. ".repeat(4) });
    let (mut tasks, mut turns) = (Vec::new(), Vec::new());
    let until = Instant::now() + round;
    for sender in 0..senders {
        let (turn, mut intended) = mpsc::unbounded_channel();
        turns.push(turn);
        let (client, targets, body) = (client.clone(), Arc::clone(targets), body.clone());
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            for number in (sender..).step_by(senders) {
                let begun = match rate {
                    Some(_) => intended.recv().await,
                    None => Some(Instant::now()).filter(|now| *now < until),
                };
                let Some(begun) = begun else { break };
                let target = &targets[number % targets.len()];
                post(&client, &target.path, &target.token, &body).await?;
                took.push(begun.elapsed());
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(took)
        }));
    }
    if let Some(rate) = rate {
        let every = Duration::from_secs(1) / rate.max(1);
        tokio::task::spawn_blocking(move || pace(&turns, every, until)).await?;
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

/// Gives the senders their turns until `until`, each with its intended time. On a thread, as the
/// runtime's timers are a millisecond coarse.
fn pace(turns: &[mpsc::UnboundedSender<Instant>], every: Duration, until: Instant) {
    let mut intended = Instant::now();
    for turn in turns.iter().cycle() {
        if intended >= until {
            return;
        }
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        if turn.send(intended).is_err() {
            // That sender failed and says why.
            return;
        }
        intended += every;
    }
}

/// What this process has used of the processors so far.
fn processor_time() -> Fallible<Duration> {
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
