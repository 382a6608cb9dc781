//! The figure `append`: durable appends a second and their latency, on an event store and on a bare
//! file with group commit, in turns. The embedded store is on the bare file's disk; where a server's
//! log lies is its own affair, and it must sync for the figure to mean anything.
//!
//! The load is a closed loop in the same process: each writer appends one event, waits for the
//! acknowledgement and goes on. Both sides carry the same bytes and wake the same tasks; what differs
//! is the engine.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use domain::{EventId, Position, StreamName, Version};
use infra::clock::{Clock, fresh_id};
use infra::event_store::{
    Direction, EventStore, Expected, LogSchema, NewEvent, PostgresEventStore, READ_EVENTS_MAX,
    SqliteEventStore,
};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::{Run, Spread, rate};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Streams that the writers share out among themselves: as many as a large workspace has
/// conversations.
const STREAMS: usize = 1_900;

/// The fact of each event, and who and by which command: 400 bytes together.
const DATA_BYTES: usize = 150;
const METADATA_BYTES: usize = 250;

/// Bytes of the bare file, zero-filled before it is measured; writing starts over at its end.
const BARE_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Events of one append while the store is filled.
const PREFILL_BATCH: usize = 50;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Which event store.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineName,
    /// The PostgreSQL database in which a schema is made and left behind.
    #[arg(long, required_if_eq("engine", "postgres"))]
    url: Option<String>,
    /// The folder on whose disk to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Concurrent writers, one figure each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256])]
    writers: Vec<usize>,
    /// Events in the store before it is measured.
    #[arg(long, default_value_t = 0)]
    prefill: usize,
    /// Pairs of runs (store, bare file) per figure.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum EngineName {
    Sqlite,
    Postgres,
}

/// Where the store is, so that it can be opened again.
enum Place {
    File(PathBuf),
    Server { url: String, schema: LogSchema },
}

/// A store that is measured.
enum Engine {
    Sqlite(Arc<SqliteEventStore>),
    Postgres(Arc<PostgresEventStore>),
}

impl Place {
    async fn prepare(options: &Options, folder: &Path) -> Result<Self> {
        match options.engine {
            EngineName::Sqlite => Ok(Self::File(folder.join("log.db"))),
            EngineName::Postgres => {
                let url = options.url.clone().ok_or("--url is missing")?;
                let schema = LogSchema::parse(&format!("bench_{}", fresh_id().simple()))?;
                PostgresEventStore::migrate(&url, &schema).await?;
                Ok(Self::Server { url, schema })
            }
        }
    }

    async fn open(&self) -> Result<Engine> {
        let clock = Clock::system();
        Ok(match self {
            Self::File(path) => Engine::Sqlite(Arc::new(SqliteEventStore::open(path, clock)?)),
            Self::Server { url, schema } => {
                let store = PostgresEventStore::open(url, schema, clock).await?;
                Engine::Postgres(Arc::new(store))
            }
        })
    }
}

impl Engine {
    fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

#[derive(Serialize)]
struct Report {
    engine: EngineName,
    prefill: usize,
    prefill_per_second: f64,
    figures: Vec<Figure>,
    reads: Reads,
}

#[derive(Serialize)]
struct Figure {
    writers: usize,
    store: Vec<Run>,
    bare_file: Vec<Run>,
    ratio: Spread,
}

#[derive(Serialize)]
struct Reads {
    events: usize,
    replay_per_second: f64,
    last_event_of_a_stream: Run,
    last_50_of_a_stream: Run,
}

/// Measures, prints the table, writes the JSON.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(measure(options))?;
    print(&report)?;
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let folder = tempfile::tempdir_in(&options.dir)?;
    let place = Place::prepare(options, folder.path()).await?;
    let engine = place.open().await?;
    let store = engine.store();
    let load = Arc::new(Load::new()?);
    let started = Instant::now();
    prefill(&store, &load, options.prefill).await?;
    let prefill_per_second = rate(options.prefill, started.elapsed());
    let bare = Arc::new(BareFile::start(&folder.path().join("bare"))?);

    let mut figures = Vec::new();
    for &writers in &options.writers {
        let mut store_runs = Vec::new();
        let mut bare_runs = Vec::new();
        for _ in 0..options.pairs.max(1) {
            let until = Duration::from_secs_f64(options.seconds);
            store_runs.push(drive(Side::Store(Arc::clone(&store)), &load, writers, until).await?);
            bare_runs.push(drive(Side::Bare(Arc::clone(&bare)), &load, writers, until).await?);
        }
        let pairs = store_runs.iter().zip(&bare_runs);
        figures.push(Figure {
            writers,
            ratio: Spread::of(pairs.map(|(store, bare)| store.per_second / bare.per_second)),
            store: store_runs,
            bare_file: bare_runs,
        });
    }
    engine.close().await;
    let reads = reads(&place, &load).await?;
    Ok(Report {
        engine: options.engine,
        prefill: options.prefill,
        prefill_per_second,
        figures,
        reads,
    })
}

/// The streams, where each of them ends, and the bytes of an event.
struct Load {
    streams: Vec<(StreamName, AtomicU64)>,
    data: Bytes,
    metadata: Bytes,
}

impl Load {
    fn new() -> Result<Self> {
        let streams = (0..STREAMS)
            .map(|_| StreamName::parse(&format!("conversation-{}", fresh_id())))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self {
            streams: streams
                .into_iter()
                .map(|name| (name, AtomicU64::new(0)))
                .collect(),
            data: vec![b'd'; DATA_BYTES].into(),
            metadata: vec![b'm'; METADATA_BYTES].into(),
        })
    }

    /// An event as a command makes it: its id is a hash.
    fn event(&self) -> NewEvent {
        NewEvent {
            id: EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, fresh_id().as_bytes())),
            event_type: "message-sent".into(),
            schema: 1,
            data: self.data.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

async fn prefill(store: &Arc<dyn EventStore>, load: &Arc<Load>, events: usize) -> Result<()> {
    const TASKS: usize = 32;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, load) = (Arc::clone(store), Arc::clone(load));
        tasks.spawn(async move {
            for batch in (task..events.div_ceil(PREFILL_BATCH)).step_by(TASKS) {
                let (name, version) = &load.streams[batch % STREAMS];
                let events = (0..PREFILL_BATCH).map(|_| load.event()).collect();
                let appended = store.append(name, Expected::Any, events).await?;
                version.fetch_max(appended.last_version().0, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

/// One of the two things that are compared.
#[derive(Clone)]
enum Side {
    Store(Arc<dyn EventStore>),
    Bare(Arc<BareFile>),
}

/// Has `writers` append for as long as `length`.
async fn drive(side: Side, load: &Arc<Load>, writers: usize, length: Duration) -> Result<Run> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (side, load) = (side.clone(), Arc::clone(load));
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(4_096);
            let mut mine = (writer..STREAMS).step_by(writers).cycle();
            while started.elapsed() < length {
                let Some(stream) = mine.next() else {
                    break;
                };
                let event = load.event();
                let before = Instant::now();
                match &side {
                    Side::Store(store) => append(&**store, &load, stream, event).await?,
                    Side::Bare(bare) => bare.append(event).await?,
                }
                latencies.push(before.elapsed());
            }
            Ok(latencies)
        });
    }
    let latencies = tasks
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    Ok(Run::of(latencies.concat(), started.elapsed()))
}

async fn append(store: &dyn EventStore, load: &Load, stream: usize, event: NewEvent) -> Result<()> {
    let (name, version) = &load.streams[stream];
    let expected = Expected::Exact(Version(version.load(Ordering::Relaxed)));
    let appended = store.append(name, expected, vec![event]).await?;
    version.store(appended.last_version().0, Ordering::Relaxed);
    Ok(())
}

/// The machine's limit: one thread that writes whatever is queued with one `write` and one
/// `fdatasync`, over blocks that are there already.
struct BareFile {
    queue: mpsc::Sender<(NewEvent, oneshot::Sender<()>)>,
}

impl BareFile {
    fn start(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).open(path)?;
        let zeros = vec![0; 1024 * 1024];
        for _ in 0..BARE_FILE_BYTES / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        let (queue, appends) = mpsc::channel(4_096);
        std::thread::spawn(move || write_groups(file, appends));
        Ok(Self { queue })
    }

    async fn append(&self, event: NewEvent) -> Result<()> {
        let (done, written) = oneshot::channel();
        self.queue.send((event, done)).await?;
        Ok(written.await?)
    }
}

/// Ends when the queue is closed or a write fails, which fails everybody who waits.
fn write_groups(
    mut file: File,
    mut appends: mpsc::Receiver<(NewEvent, oneshot::Sender<()>)>,
) -> std::io::Result<()> {
    let mut group = Vec::new();
    let mut buffer = Vec::new();
    let mut at = BARE_FILE_BYTES;
    while appends.blocking_recv_many(&mut group, 1_024) > 0 {
        buffer.clear();
        for (event, _) in &group {
            buffer.extend_from_slice(event.id.0.as_bytes());
            buffer.extend_from_slice(&event.metadata);
            buffer.extend_from_slice(&event.data);
        }
        if at + buffer.len() as u64 > BARE_FILE_BYTES {
            at = file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&buffer)?;
        at += buffer.len() as u64;
        file.sync_data()?;
        for (_, done) in group.drain(..) {
            // Whoever no longer waits does not want to know.
            let _ = done.send(());
        }
    }
    Ok(())
}

/// How fast the store gives back what is in it, opened anew so that nothing is in its memory.
async fn reads(place: &Place, load: &Load) -> Result<Reads> {
    const READS: usize = 5_000;
    let engine = place.open().await?;
    let store = engine.store();
    let started = Instant::now();
    let mut events = 0;
    let mut after = Position::ZERO;
    loop {
        let page = store.read_all(after, READ_EVENTS_MAX).await?;
        let Some(last) = page.last() else {
            break;
        };
        events += page.len();
        after = last.position;
    }
    let replay_per_second = rate(events, started.elapsed());
    let mut runs = Vec::new();
    for limit in [1, 50] {
        let started = Instant::now();
        let mut latencies = Vec::with_capacity(READS);
        for read in 0..READS {
            let name = &load.streams[read * 7 % STREAMS].0;
            let before = Instant::now();
            store
                .read_stream(name, Version(u64::MAX), Direction::Backward, limit)
                .await?;
            latencies.push(before.elapsed());
        }
        runs.push(Run::of(latencies, started.elapsed()));
    }
    engine.close().await;
    Ok(Reads {
        events,
        replay_per_second,
        last_event_of_a_stream: runs[0],
        last_50_of_a_stream: runs[1],
    })
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "append: {} events inside at the start", report.prefill)?;
    writeln!(
        out,
        "{:>8} {:>10} {:>9} {:>22} {:>22} {:>20}",
        "writers", "side", "pairs", "per second", "p50 ms", "p99 ms"
    )?;
    for figure in &report.figures {
        for (side, runs) in [("store", &figure.store), ("bare file", &figure.bare_file)] {
            let of = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value));
            let (rate, p50, p99) = (of(|r| r.per_second), of(|r| r.p50_ms), of(|r| r.p99_ms));
            writeln!(
                out,
                "{:>8} {side:>10} {:>9} {:>8.0} ({:.0}–{:.0}) {:>8.3} ({:.3}–{:.3}) {:>7.2} ({:.2}–{:.2})",
                figure.writers,
                runs.len(),
                rate.median,
                rate.min,
                rate.max,
                p50.median,
                p50.min,
                p50.max,
                p99.median,
                p99.min,
                p99.max,
            )?;
        }
        let ratio = figure.ratio;
        writeln!(
            out,
            "{:>8} {:>10} {:>9} {:>8.3} ({:.3}–{:.3})",
            figure.writers, "ratio", "", ratio.median, ratio.min, ratio.max
        )?;
    }
    let reads = &report.reads;
    writeln!(
        out,
        "reads: {} events at {:.0} a second; last event p50 {:.3} p99 {:.3} ms; last 50 p50 {:.3} p99 {:.3} ms",
        reads.events,
        reads.replay_per_second,
        reads.last_event_of_a_stream.p50_ms,
        reads.last_event_of_a_stream.p99_ms,
        reads.last_50_of_a_stream.p50_ms,
        reads.last_50_of_a_stream.p99_ms,
    )
}
