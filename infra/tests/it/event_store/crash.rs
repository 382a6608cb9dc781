//! Kill -9: this test binary runs itself as a child that appends and tells of each acknowledgement
//! through a pipe, kills it in the middle, and looks for everything that was acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use domain::{EventId, Position, Version};
use infra::clock::Clock;
use infra::data_folder::DataFolder;
use infra::event_store::{
    AppendError, Appended, EventStore, Expected, LogSchema, PostgresEventStore, RecordedEvent,
    SqliteEventStore, version_of,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Log, all, event_id, events, shared_server, stream};

/// The folder in which the child appends, or else the schema on the tests' server.
const FOLDER: &str = "VERBATIM_TEST_CRASH_FOLDER";
const SCHEMA: &str = "VERBATIM_TEST_CRASH_SCHEMA";
/// Told apart from the numbers of other rounds.
const ROUND: &str = "VERBATIM_TEST_CRASH_ROUND";
/// Set for the control: the child acknowledges before it appends.
const LIE: &str = "VERBATIM_TEST_CRASH_LIE";

const ROUNDS: u64 = 24;
const TASKS: u64 = 8;
const NUMBERS_PER_ROUND: u64 = 1_000_000;
const NUMBERS_PER_TASK: u64 = 100_000;

/// When the child tells of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// Once it has it.
    Afterwards,
    /// Before it has even asked: the control.
    TooEarly,
}

/// An append that the child began.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    stream: String,
    /// `None` is any version.
    expected: Option<u64>,
    first: u64,
    count: u64,
}

/// What came through the pipe, by the number of the first event.
#[derive(Default)]
struct Told {
    attempts: BTreeMap<u64, Attempt>,
    /// Where the child was told they are; `None` where it lied.
    acknowledged: BTreeMap<u64, Option<Appended>>,
}

/// Where the log is.
enum Place {
    Folder(TempDir),
    Server(Log),
}

/// An open log; the folder is locked meanwhile.
enum Opened {
    Folder {
        store: Arc<SqliteEventStore>,
        _lock: DataFolder,
    },
    Server(Arc<PostgresEventStore>),
}

impl Place {
    fn folder() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    /// Tells the child.
    fn tell(&self, command: &mut Command) {
        match self {
            Self::Folder(folder) => command.env(FOLDER, folder.path()),
            Self::Server(log) => command.env(SCHEMA, log.schema.as_str()),
        };
    }

    async fn open(&self) -> Opened {
        match self {
            Self::Folder(folder) => Opened::folder(folder.path()),
            Self::Server(log) => Opened::Server(log.open(&Clock::system()).await),
        }
    }
}

impl Opened {
    fn folder(path: &Path) -> Self {
        let lock = DataFolder::open(path).unwrap();
        let store = SqliteEventStore::open(&lock.log(), Clock::system()).unwrap();
        Self::Folder {
            store: Arc::new(store),
            _lock: lock,
        }
    }

    fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Folder { store, .. } => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Server(store) => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }

    async fn close(self) {
        match self {
            Self::Folder { store, .. } => store.close().await,
            Self::Server(store) => store.close().await,
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    survives_kill_9(&Place::folder()).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_of_a_node() {
    survives_kill_9(&Place::Server(Log::new().await)).await;
}

async fn survives_kill_9(place: &Place) {
    let mut told = Told::default();
    let mut killed_in_flight = 0;
    for round in 0..ROUNDS {
        let acknowledged = told.acknowledged.len();
        // Between the first append and some hundreds: also while the store is still small.
        let enough = acknowledged + usize::try_from(1 + round * round * 7 % 400).unwrap();
        run_and_kill(place, round, Tells::Afterwards, enough, &mut told);
        assert!(told.acknowledged.len() >= enough);

        let opened = place.open().await;
        let store = opened.store();
        verify(&all(&*store).await, &told).unwrap();
        killed_in_flight += retry_the_unacknowledged(&*store, &mut told).await;
        verify(&all(&*store).await, &told).unwrap();
        opened.close().await;
    }
    assert!(
        killed_in_flight > 0,
        "no append was under way when the child was killed: nothing was tested"
    );
}

#[tokio::test]
async fn a_store_that_acknowledges_too_early_is_found_out() {
    let place = Place::folder();
    let mut told = Told::default();
    for round in 0..ROUNDS {
        let enough = told.acknowledged.len() + 50;
        run_and_kill(&place, round, Tells::TooEarly, enough, &mut told);
        let opened = place.open().await;
        let verified = verify(&all(&*opened.store()).await, &told);
        opened.close().await;
        if let Err(problem) = verified {
            assert!(problem.contains("is missing"), "{problem}");
            return;
        }
    }
    panic!("{ROUNDS} rounds of early acknowledgements went unnoticed");
}

/// Starts the child, waits for `enough` acknowledgements in all, kills it and reads what it had
/// still said.
fn run_and_kill(place: &Place, round: u64, tells: Tells, enough: usize, told: &mut Told) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "event_store::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped());
    place.tell(&mut command);
    if tells == Tells::TooEarly {
        command.env(LIE, "1");
    }
    let mut child = Killed(command.spawn().unwrap());
    let mut pipe = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    let mut alive = true;
    // A line without its end was cut off by the kill: nobody heard of it.
    while pipe.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        told.hear(line.trim_end());
        line.clear();
        if alive && told.acknowledged.len() >= enough {
            child.0.kill().unwrap();
            alive = false;
        }
    }
    assert!(!alive, "the child ended by itself");
}

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Told {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().unwrap();
        match words[..] {
            ["try", stream, expected, first, count] => {
                let attempt = Attempt {
                    stream: stream.to_owned(),
                    expected: (expected != "any").then(|| number(expected)),
                    first: number(first),
                    count: number(count),
                };
                self.attempts.insert(attempt.first, attempt);
            }
            ["ack", first, first_version, positions] => {
                let positions = positions.split(',').map(|word| Position(number(word)));
                let appended = Appended {
                    first_version: Version(number(first_version)),
                    positions: positions.collect(),
                };
                self.acknowledged.insert(number(first), Some(appended));
            }
            ["ack", first] => {
                self.acknowledged.insert(number(first), None);
            }
            ["conflict", first] if !self.acknowledged.contains_key(&number(first)) => {
                self.attempts.remove(&number(first));
            }
            // The test harness talks, too.
            _ => {}
        }
    }
}

/// Holds the log against what was told: everything acknowledged is where it was said to be, nothing
/// is there twice, nothing is missing in between.
fn verify(log: &[Arc<RecordedEvent>], told: &Told) -> Result<(), String> {
    let mut places: HashMap<EventId, &RecordedEvent> = HashMap::new();
    let mut ends: HashMap<&str, u64> = HashMap::new();
    for (before, event) in log.iter().enumerate() {
        if event.position != Position(before as u64 + 1) {
            return Err(format!("position {} follows {before}", event.position));
        }
        let end = ends.entry(event.stream.as_str()).or_default();
        *end += 1;
        if event.version != Version(*end) {
            return Err(format!("{} has no version {end}", event.stream));
        }
        if places.insert(event.id, event).is_some() {
            return Err(format!("event {} is there twice", event.id));
        }
    }
    for (first, appended) in &told.acknowledged {
        let attempt = &told.attempts[first];
        for (index, number) in (*first..first + attempt.count).enumerate() {
            let Some(event) = places.get(&event_id(number)) else {
                return Err(format!("event {number} of {attempt:?} is missing"));
            };
            let Some(appended) = appended else {
                continue;
            };
            if event.version != appended.first_version.plus(index)
                || appended.positions.get(index) != Some(&event.position)
                || event.stream.as_str() != attempt.stream
            {
                return Err(format!(
                    "{attempt:?} is not at {appended:?} but at {event:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Does again, twice, what the child began and heard no answer to, as a client would. Returns how
/// many there were.
async fn retry_the_unacknowledged(store: &dyn EventStore, told: &mut Told) -> usize {
    let open: Vec<Attempt> = told
        .attempts
        .values()
        .filter(|attempt| !told.acknowledged.contains_key(&attempt.first))
        .cloned()
        .collect();
    for attempt in &open {
        let name = stream(&attempt.stream);
        let expected = expected_of(attempt);
        let batch = events(attempt.first..attempt.first + attempt.count);
        let first = store.append(&name, expected, batch.clone()).await;
        let second = store.append(&name, expected, batch).await;
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert_eq!(first, second);
                told.acknowledged.insert(attempt.first, Some(first));
            }
            (Err(AppendError::Conflict { .. }), Err(AppendError::Conflict { .. })) => {
                told.attempts.remove(&attempt.first);
            }
            other => panic!("{attempt:?} tried again: {other:?}"),
        }
    }
    open.len()
}

fn expected_of(attempt: &Attempt) -> Expected {
    attempt
        .expected
        .map_or(Expected::Any, |version| Expected::Exact(Version(version)))
}

/// Appends until it is killed: half of the tasks to streams of their own, a quarter to one stream
/// at any version, a quarter in a race for one stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the crash test runs it as a process of its own"]
async fn child() {
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let tells = match std::env::var(LIE) {
        Ok(_) => Tells::TooEarly,
        Err(_) => Tells::Afterwards,
    };
    let opened = if let Ok(folder) = std::env::var(FOLDER) {
        Opened::folder(Path::new(&folder))
    } else {
        let schema = std::env::var(SCHEMA).expect("the crash test names the log");
        let log = Log::existing(&shared_server(), &LogSchema::parse(&schema).unwrap());
        Opened::Server(log.open(&Clock::system()).await)
    };
    let store = opened.store();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        let from = round * NUMBERS_PER_ROUND + task * NUMBERS_PER_TASK;
        tasks.spawn(async move { append_for_ever(&*store, task, from, tells).await });
    }
    tasks.join_all().await;
}

async fn append_for_ever(store: &dyn EventStore, task: u64, from: u64, tells: Tells) {
    let mut first = from;
    loop {
        let name = match task {
            0..4 => format!("conversation-{task}"),
            4..6 => "receipts-shared".to_owned(),
            _ => "conversation-raced".to_owned(),
        };
        let expected = match task {
            4..6 => None,
            _ => Some(version_of(store, &stream(&name)).await.unwrap().0),
        };
        let attempt = Attempt {
            stream: name,
            expected,
            first,
            count: 1 + first % 3,
        };
        first += attempt.count;
        append_and_tell(store, &attempt, tells).await;
    }
}

async fn append_and_tell(store: &dyn EventStore, attempt: &Attempt, tells: Tells) {
    let expected = attempt
        .expected
        .map_or("any".to_owned(), |version| version.to_string());
    let Attempt {
        stream: name,
        first,
        count,
        ..
    } = attempt;
    println!("try {name} {expected} {first} {count}");
    if tells == Tells::TooEarly {
        println!("ack {first}");
    }
    let batch = events(*first..first + count);
    match store
        .append(&stream(name), expected_of(attempt), batch)
        .await
    {
        Ok(done) if tells == Tells::Afterwards => {
            let positions: Vec<_> = done.positions.iter().map(Position::to_string).collect();
            println!("ack {first} {} {}", done.first_version, positions.join(","));
        }
        Ok(_) => {}
        Err(AppendError::Conflict { .. }) => println!("conflict {first}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_check_notices_what_a_crash_could_do() {
    let log = |kept: &[(u64, u64)]| -> Vec<Arc<RecordedEvent>> {
        let recorded = kept.iter().zip(1..).map(|((number, version), position)| {
            let event = super::event(*number);
            Arc::new(RecordedEvent {
                position: Position(position),
                stream: stream("conversation-a"),
                version: Version(*version),
                id: event.id,
                event_type: event.event_type.into(),
                schema: event.schema,
                data: event.data,
                metadata: event.metadata,
                recorded_at: chrono::DateTime::UNIX_EPOCH,
            })
        });
        recorded.collect()
    };
    let mut told = Told::default();
    told.hear("try conversation-a 0 7 2");
    told.hear("ack 7 1 1,2");
    verify(&log(&[(7, 1), (8, 2)]), &told).unwrap();
    let wrong = [
        (log(&[(7, 1)]), "missing"),
        (log(&[(7, 1), (8, 2), (7, 3)]), "twice"),
        (log(&[(7, 1), (8, 3)]), "no version 2"),
        (log(&[(8, 1), (7, 2)]), "is not at"),
        (log(&[(7, 1), (8, 2)])[1..].to_vec(), "position 2 follows 0"),
    ];
    let mut noticed = HashSet::new();
    for (log, problem) in wrong {
        let found = verify(&log, &told).unwrap_err();
        assert!(found.contains(problem), "{found}");
        noticed.insert(problem);
    }
    assert_eq!(noticed.len(), 5);
}
