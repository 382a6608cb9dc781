//! Figure `replay`: events a second of an auditor's replay from the embedded event store, as NDJSON,
//! beside reading the store's file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use domain::audit::Selection;
use domain::{Actor, EventId, StreamName};
use futures::TryStreamExt as _;
use infra::clock::{Clock, fresh_id};
use infra::event_store::{EventStore, Expected, NewEvent, SqliteEventStore};
use serde::Serialize;

use crate::figures::Spread;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Events of one append while the store is filled.
const BATCH: usize = 500;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Events in the log
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Pairs of rounds (file, replay)
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// The folder on whose disk to measure
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured, pair by pair; rates a second.
#[derive(Serialize)]
struct Report {
    events: usize,
    replayed_events: Vec<f64>,
    replayed_mib: Vec<f64>,
    file_mib: Vec<f64>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    let (events, mib) = (
        spread(&report.replayed_events),
        spread(&report.replayed_mib),
    );
    let file = spread(&report.file_mib);
    println!("replay of {} events", report.events);
    println!(
        "  events a second  {:.0} ({:.0} to {:.0})",
        events.median, events.min, events.max
    );
    println!(
        "  NDJSON MiB/s     {:.0} ({:.0} to {:.0})",
        mib.median, mib.min, mib.max
    );
    println!(
        "  the file, MiB/s  {:.0} ({:.0} to {:.0})",
        file.median, file.min, file.max
    );
    println!(
        "  NDJSON is {:.2} of reading the file",
        mib.median / file.median
    );
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Fallible<Report> {
    let folder = tempfile::tempdir_in(&options.dir)?;
    let path = folder.path().join("log.db");
    let store = Arc::new(SqliteEventStore::open(&path, Clock::system())?);
    fill(&store, options.events).await?;
    let mut report = Report {
        events: options.events,
        replayed_events: Vec::new(),
        replayed_mib: Vec::new(),
        file_mib: Vec::new(),
    };
    for _ in 0..options.pairs {
        let file = path.clone();
        let (bytes, took) = tokio::task::spawn_blocking(move || read_whole(&file)).await??;
        report.file_mib.push(mib(bytes) / took.as_secs_f64());
        let begun = Instant::now();
        let port = Arc::clone(&store) as Arc<dyn EventStore>;
        let types = vec!["message-sent".to_owned()];
        let selection = Selection {
            types,
            ..Selection::default()
        };
        let mut lines = query_api::replay(port, Actor::Operator, selection).await?;
        let mut bytes = 0;
        while let Some(part) = lines.try_next().await? {
            bytes += part.len() as u64;
        }
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of events")]
        report.replayed_events.push(options.events as f64 / seconds);
        report.replayed_mib.push(mib(bytes) / seconds);
    }
    store.close().await;
    Ok(report)
}

async fn fill(store: &SqliteEventStore, events: usize) -> Fallible<()> {
    let data = Bytes::from(format!(
        r#"{{"author":"{id}","body":{{"of":"{id}","value":"{text}"}}}}"#,
        id = fresh_id(),
        text = "The quick brown fox jumps over the lazy dog. ".repeat(2),
    ));
    let metadata = Bytes::from(format!(
        r#"{{"actor":"user:{id}","command_id":"{id}","command_hash":"{hash}"}}"#,
        id = fresh_id(),
        hash = "0".repeat(32),
    ));
    for batch in 0..events.div_ceil(BATCH) {
        let stream = StreamName::conversation(domain::ConversationId(fresh_id()));
        let count = BATCH.min(events - batch * BATCH);
        let batch = (0..count)
            .map(|_| NewEvent {
                id: EventId(fresh_id()),
                event_type: "message-sent".into(),
                schema: 1,
                data: data.clone(),
                metadata: metadata.clone(),
            })
            .collect();
        store.append(&stream, Expected::NoStream, batch).await?;
    }
    Ok(())
}

fn read_whole(path: &Path) -> std::io::Result<(u64, Duration)> {
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1024 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((total, begun.elapsed())),
            read => total += read as u64,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of bytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
