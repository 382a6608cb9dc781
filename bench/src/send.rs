//! Figure `send`: from an HTTP request to its acknowledgement, on a server process of its own, with
//! the disk's `fdatasync` beside it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Client;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::client::{Fallible, Target, conversations, people, post, processor_time, start};
use crate::figures::{Run, Spread, p50_ms, print_latencies};

/// A run in which the load generator used more of a core than this says nothing about the server.
const GENERATOR_BUSY_MAX: f64 = 0.9;

/// Syncs of one round of the disk's limit.
const SYNCS: usize = 400;

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
    print_latencies(&[
        ("send", &report.send),
        ("flat out", &report.flat_out),
        ("fdatasync", &report.fdatasync),
    ]);
    let bound = 2.0 * p50_ms(&report.fdatasync) + 1.0;
    let ratio = |runs: &[Run]| p50_ms(runs) / bound;
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
    let people = people(&client, &server.url).await?;
    let targets = conversations(&client, &server.url, &people, options.conversations).await?;
    let targets = Arc::new(targets);
    let mut report = Report {
        senders: options.senders,
        conversations: options.conversations,
        send: Vec::new(),
        flat_out: Vec::new(),
        fdatasync: Vec::new(),
        generator_busy: Vec::new(),
    };
    for _ in 0..options.turns {
        let (file, begun) = (server.disk(), Instant::now());
        let took = tokio::task::spawn_blocking(move || syncs(&file)).await??;
        report.fdatasync.push(Run::of(took, begun.elapsed()));
        let round = Duration::from_secs(options.seconds);
        let (busy, begun) = (processor_time()?, Instant::now());
        let took = storm(
            (&client, &server.url),
            &targets,
            options.senders,
            Some(options.rate),
            round,
        )
        .await?;
        report.send.push(Run::of(took, begun.elapsed()));
        let busy = processor_time()?.saturating_sub(busy);
        report
            .generator_busy
            .push(busy.as_secs_f64() / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let took = storm(
            (&client, &server.url),
            &targets,
            options.senders,
            None,
            round,
        )
        .await?;
        report.flat_out.push(Run::of(took, begun.elapsed()));
    }
    Ok(report)
}

/// Sends from `senders` tasks for `round`: at `rate` a second together, or each as soon as its last
/// send is answered. Gives how long each send took from when it was intended.
async fn storm(
    (client, url): (&Client, &str),
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
        let url = url.to_owned();
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            for number in (sender..).step_by(senders) {
                let begun = match rate {
                    Some(_) => intended.recv().await,
                    None => Some(Instant::now()).filter(|now| *now < until),
                };
                let Some(begun) = begun else { break };
                let target = &targets[number % targets.len()];
                post(
                    &client,
                    &format!("{url}{}", target.path),
                    &target.token,
                    &body,
                )
                .await?;
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
