//! The server is killed while two nodes append: every acknowledged event is found once, where it was
//! said to be, and the stores go on by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use domain::{EventId, Position, StreamName, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, EventStore, Expected, SubscriptionItem, subscribe_all, version_of,
};
use infra::failure::FailureSort;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Log, all, event_id, events, eventually, stream};
use crate::postgres::PostgresServer;

const ROUNDS: usize = 12;
const TASKS: u64 = 12;
const NUMBERS_PER_TASK: u64 = 1_000_000;

/// More than a restart takes; only a failure waits for its end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a task was told.
struct Acknowledged {
    stream: StreamName,
    first: u64,
    count: u64,
    appended: Appended,
}

/// How the tasks of a test are stopped, and what became of their appends.
#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    acknowledged: watch::Sender<usize>,
    uncertain: AtomicUsize,
}

impl Progress {
    /// Waits until `more` appends have been acknowledged from now on.
    async fn more(&self, more: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let enough = *acknowledged.borrow() + more;
        let waiting = acknowledged.wait_for(|count| *count >= enough);
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.expect("the stores do not go on").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_death_of_the_server() {
    let mut server = PostgresServer::start().await;
    let log = Log::at(&server.url()).await;
    // As somebody in a hurry may have set it up: the stores do not put up with it.
    sqlx::raw_sql("ALTER DATABASE postgres SET synchronous_commit = off")
        .execute(&mut log.connect().await)
        .await
        .unwrap();
    let clock = Clock::system();
    let nodes = [log.open(&clock).await, log.open(&clock).await];
    let progress = Arc::new(Progress::default());
    let mut writers = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&nodes[usize::from(task % 2 == 0)]) as Arc<dyn EventStore>;
        let progress = Arc::clone(&progress);
        writers.spawn(async move { append_until_stopped(&*store, task, &progress).await });
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let node = Arc::clone(&nodes[0]) as Arc<dyn EventStore>;
    let follower = tokio::spawn(follow(node, Arc::clone(&seen)));

    for round in 0..ROUNDS {
        progress.more(20 + round * 37 % 300).await;
        if round % 2 == 0 {
            server.abort().await;
        } else {
            server.kill().await;
        }
        server.start_again().await;
    }
    progress.more(100).await;
    progress.stop.store(true, Ordering::Relaxed);

    let acknowledged = writers.join_all().await.into_iter().flatten();
    let found = all(&*log.open(&clock).await).await;
    let mut places = HashMap::new();
    let mut ends: HashMap<&str, Version> = HashMap::new();
    for (before, event) in found.iter().enumerate() {
        assert_eq!(event.position, Position(before as u64 + 1));
        let end = ends.entry(event.stream.as_str()).or_default();
        *end = end.next();
        assert_eq!(event.version, *end);
        let place = (&event.stream, event.version, event.position);
        assert!(places.insert(event.id, place).is_none(), "{event:?} twice");
    }
    check(acknowledged, &places);
    assert!(
        progress.uncertain.load(Ordering::Relaxed) > 0,
        "no append was under way when the server died: nothing was tested"
    );
    eventually(async || seen.lock().len() >= found.len()).await;
    follower.abort();
    assert_eq!(
        *seen.lock(),
        found.iter().map(|event| event.id).collect::<Vec<_>>()
    );
}

fn check(
    acknowledged: impl Iterator<Item = Acknowledged>,
    places: &HashMap<EventId, (&StreamName, Version, Position)>,
) {
    for Acknowledged {
        stream,
        first,
        count,
        appended,
    } in acknowledged
    {
        for (index, number) in (first..first + count).enumerate() {
            let place = places.get(&event_id(number));
            let said = (
                &stream,
                appended.first_version.plus(index),
                appended.positions[index],
            );
            assert_eq!(place, Some(&said), "event {number} is not where it was");
        }
    }
}

/// Appends and, where the outcome is uncertain, tries again until it is not. A third of the tasks has
/// streams of their own, a third one stream at any version, a third races for one.
async fn append_until_stopped(
    store: &dyn EventStore,
    task: u64,
    progress: &Progress,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let mut first = task * NUMBERS_PER_TASK;
    while !progress.stop.load(Ordering::Relaxed) {
        let name = match task % 3 {
            0 => stream(&format!("conversation-{task}")),
            1 => stream("receipts-shared"),
            _ => stream("conversation-raced"),
        };
        let expected = match task % 3 {
            1 => Expected::Any,
            _ => match version_of(store, &name).await {
                Ok(version) => Expected::Exact(version),
                Err(_) => continue,
            },
        };
        let count = 1 + first % 3;
        loop {
            let batch = events(first..first + count);
            match store.append(&name, expected, batch).await {
                Ok(appended) => {
                    progress.acknowledged.send_modify(|count| *count += 1);
                    acknowledged.push(Acknowledged {
                        stream: name,
                        first,
                        count,
                        appended,
                    });
                    break;
                }
                Err(AppendError::Conflict { .. }) => break,
                Err(AppendError::Failure(failure)) => {
                    assert_eq!(failure.sort(), FailureSort::Unavailable, "{failure}");
                    progress.uncertain.fetch_add(1, Ordering::Relaxed);
                }
                Err(error @ AppendError::Invalid(_)) => panic!("{error}"),
            }
        }
        first += count;
    }
    acknowledged
}

/// Follows the log for ever; what failed goes on where it was.
async fn follow(store: Arc<dyn EventStore>, seen: Arc<Mutex<Vec<EventId>>>) {
    let mut subscription = subscribe_all(store, Position::ZERO);
    loop {
        if let Ok(SubscriptionItem::Events(events)) = subscription.next().await {
            seen.lock().extend(events.iter().map(|event| event.id));
        }
    }
}
