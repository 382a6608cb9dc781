//! Figure `deliver`: from sending a message to the frame of the last of its ten members, on one process
//! and through two nodes of each role and NATS, in turns.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt as _;
use reqwest::Client;
use serde::Serialize;
use serde_json::{Value, json};
use tests::{Cluster, Listener, Plan};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::client::{Fallible, MEMBERS, Target, User, conversations, people, post, start};
use crate::figures::{Run, Spread};

/// Conversations in use.
const CONVERSATIONS: usize = 40;

/// How long the last frames of a round may take.
const REST_MAX: Duration = Duration::from_secs(20);

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's program
    #[arg(long, default_value = "target/release/verbatim")]
    program: PathBuf,
    /// Sends a second, at intended times
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Pairs of rounds (one process, cluster)
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured, pair by pair.
#[derive(Serialize)]
struct Report {
    rate: u32,
    embedded: Vec<Run>,
    cluster: Vec<Run>,
}

/// People who are connected to an installation, and what they hear.
struct Installation {
    client: Client,
    url: String,
    targets: Vec<Target>,
    /// The body of each message that a member heard, and when.
    heard: mpsc::UnboundedReceiver<(u64, Instant)>,
    _listeners: Vec<JoinHandle<()>>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    let spread = |runs: &[Run], of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
    println!(
        "{} sends a second, to the last of {MEMBERS} members:",
        report.rate
    );
    println!("             p50 ms (least to most)     p99 ms (least to most)");
    for (name, runs) in [
        ("one process", &report.embedded),
        ("cluster", &report.cluster),
    ] {
        let (p50, p99) = (
            spread(runs, |run| run.p50_ms),
            spread(runs, |run| run.p99_ms),
        );
        println!(
            "  {name:<11}  {:>6.2} ({:.2} to {:.2})    {:>6.2} ({:.2} to {:.2})",
            p50.median, p50.min, p50.max, p99.median, p99.min, p99.max
        );
    }
    let p50 = |runs: &[Run]| spread(runs, |run| run.p50_ms).median;
    println!(
        "through two nodes and NATS p50 is {:.2} of one process",
        p50(&report.cluster) / p50(&report.embedded)
    );
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Fallible<Report> {
    let program = options.program.display().to_string();
    let server = start(&options.program).await?;
    let cluster = Cluster::start(&program, Plan::default()).await;
    let mut one = Installation::of(&server.url).await?;
    let mut many = Installation::of(&cluster.url()).await?;
    let mut report = Report {
        rate: options.rate,
        embedded: Vec::new(),
        cluster: Vec::new(),
    };
    let round = Duration::from_secs(options.seconds);
    for turn in 0..options.pairs as u64 {
        // Numbers of messages differ from turn to turn.
        let first = turn * 1_000_000;
        report
            .embedded
            .push(one.round(first, options.rate, round).await?);
        report
            .cluster
            .push(many.round(first, options.rate, round).await?);
    }
    Ok(report)
}

impl Installation {
    async fn of(url: &str) -> Fallible<Self> {
        let client = Client::new();
        let people = people(&client, url).await?;
        let targets = conversations(&client, url, &people, CONVERSATIONS).await?;
        let (tell, heard) = mpsc::unbounded_channel();
        let mut listeners = Vec::new();
        for person in &people {
            let mut listener = listen(url, person).await;
            let tell = tell.clone();
            listeners.push(tokio::spawn(async move {
                while let Some(frame) = listener.try_next().await {
                    let body = frame["data"]["body"].as_str();
                    if let Some(number) = body.and_then(|body| body.parse().ok()) {
                        // Who measures has gone.
                        if tell.send((number, Instant::now())).is_err() {
                            return;
                        }
                    }
                }
            }));
        }
        Ok(Self {
            client,
            url: url.to_owned(),
            targets,
            heard,
            _listeners: listeners,
        })
    }

    /// Sends for `round`; gives how long each message took to its last member.
    async fn round(&mut self, first: u64, rate: u32, round: Duration) -> Fallible<Run> {
        let every = Duration::from_secs(1) / rate.max(1);
        let count = u64::try_from(round.as_nanos() / every.as_nanos().max(1))?;
        let begun = Instant::now();
        let (done, failed) = watch::channel(None);
        let done = Arc::new(done);
        let sends = futures::stream::iter(0..count).for_each_concurrent(None, |index| {
            let (client, done) = (self.client.clone(), Arc::clone(&done));
            let target = &self.targets[usize::try_from(index).unwrap_or(0) % self.targets.len()];
            let url = format!("{}{}", self.url, target.path);
            async move {
                let at = begun + every * u32::try_from(index).unwrap_or(u32::MAX);
                tokio::time::sleep_until(at.into()).await;
                let body = json!({ "body": (first + index).to_string() });
                if let Err(error) = post(&client, &url, &target.token, &body).await {
                    done.send_replace(Some(error.to_string()));
                }
            }
        });
        let hears = async {
            let mut left: HashMap<u64, usize> = (first..first + count)
                .map(|number| (number, MEMBERS))
                .collect();
            let mut took = Vec::new();
            while !left.is_empty() {
                let Some((number, at)) = self.heard.recv().await else {
                    return took;
                };
                if let Some(members) = left.get_mut(&number) {
                    *members -= 1;
                    if *members == 0 {
                        left.remove(&number);
                        let index = u32::try_from(number - first).unwrap_or(u32::MAX);
                        took.push(at.saturating_duration_since(begun + every * index));
                    }
                }
            }
            took
        };
        let both = async { tokio::join!(sends, hears).1 };
        let took = tokio::time::timeout(round + REST_MAX, both)
            .await
            .map_err(|_| "some messages did not reach all members")?;
        if let Some(error) = failed.borrow().clone() {
            return Err(error.into());
        }
        Ok(Run::of(took, begun.elapsed()))
    }
}

async fn listen(url: &str, person: &User) -> Listener {
    let mut listener = Listener::connect(url).await;
    let identify: Value = json!({ "op": "identify", "token": person.token });
    listener.send(identify).await;
    listener.wait_for("ready").await;
    listener
}
