//! What holds when several nodes use one log on a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Position, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, EventStore, Expected, PostgresEventStore, SubscriptionItem, subscribe_all,
};
use tokio::task::JoinSet;

use super::{Log, all, events, eventually, stream};

async fn two_nodes() -> (Log, [Arc<PostgresEventStore>; 2]) {
    let log = Log::new().await;
    let clock = Clock::system();
    let nodes = [log.open(&clock).await, log.open(&clock).await];
    (log, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_nodes_that_race_at_one_version_one_wins() {
    let (_log, nodes) = two_nodes().await;
    let name = stream("conversation-a");
    for round in 0..50_u64 {
        let mut racers = JoinSet::new();
        for racer in 0..8_u64 {
            let node = Arc::clone(&nodes[usize::from(racer % 2 == 0)]);
            let name = name.clone();
            let batch = events([round * 8 + racer]);
            racers.spawn(async move {
                let expected = Expected::Exact(Version(round));
                node.append(&name, expected, batch).await
            });
        }
        let results = racers.join_all().await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {results:?}");
        for lost in results.into_iter().filter_map(Result::err) {
            let AppendError::Conflict { actual } = lost else {
                panic!("{lost}");
            };
            assert_eq!(actual, Version(round + 1));
        }
    }
    assert_eq!(all(&*nodes[0]).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_retried_on_another_node_is_recognised() {
    let (_log, nodes) = two_nodes().await;
    let name = stream("conversation-a");
    for round in 0..30_u64 {
        let expected = match round % 3 {
            0 => Expected::Any,
            _ => Expected::Exact(Version(round * 2)),
        };
        let mut retries = JoinSet::new();
        // Twice on each node at the same time: some of them end up in one transaction.
        for node in [&nodes[0], &nodes[1], &nodes[0], &nodes[1]] {
            let (node, name) = (Arc::clone(node), name.clone());
            let batch = events(round * 10..round * 10 + 2);
            retries.spawn(async move { node.append(&name, expected, batch).await.unwrap() });
        }
        let answers = retries.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(answers[0].first_version, Version(round * 2 + 1));
    }
    assert_eq!(all(&*nodes[1]).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_subscriber_ever_sees_a_gap_while_several_nodes_write() {
    const EVENTS: u64 = 2_000;
    let (log, nodes) = two_nodes().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let node = Arc::clone(&nodes[usize::from(writer % 2 == 0)]);
        writers.spawn(async move {
            for number in 0..EVENTS / 8 {
                let name = stream(&format!("conversation-{}", (writer + number) % 5));
                let batch = events([writer * EVENTS + number]);
                node.append(&name, Expected::Any, batch).await.unwrap();
            }
        });
    }
    // One follows each writing node, one a node of its own; that one restarts now and then.
    let mut followers = JoinSet::new();
    for node in &nodes {
        let store = Arc::clone(node) as Arc<dyn EventStore>;
        followers.spawn(async move {
            let mut next = 1;
            let mut subscription = subscribe_all(store, Position::ZERO);
            while next <= EVENTS {
                next = follow(&mut subscription, next).await;
            }
        });
    }
    let mut next = 1;
    let mut restarts = 0;
    while next <= EVENTS {
        let node = log.open(&Clock::system()).await;
        let store = Arc::clone(&node) as Arc<dyn EventStore>;
        let mut subscription = subscribe_all(store, Position(next - 1));
        let until = (next + EVENTS / 10).min(EVENTS + 1);
        while next < until {
            next = follow(&mut subscription, next).await;
        }
        assert_eq!(subscription.position(), Position(next - 1));
        node.close().await;
        restarts += 1;
    }
    assert!(restarts > 1);
    writers.join_all().await;
    followers.join_all().await;
}

/// Takes what comes next, which begins at position `next`; returns what comes after it.
async fn follow(subscription: &mut infra::event_store::Subscription, mut next: u64) -> u64 {
    match subscription.next().await.unwrap() {
        SubscriptionItem::CaughtUp => {}
        SubscriptionItem::Events(events) => {
            for event in events {
                assert_eq!(event.position, Position(next), "an event was skipped");
                next += 1;
            }
        }
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_without_gaps_while_several_nodes_write() {
    let (log, nodes) = two_nodes().await;
    let reading = log.open(&Clock::system()).await;
    let written = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&written);
    let reader = tokio::spawn(async move {
        let mut longest = 0;
        while !done.load(Ordering::Relaxed) {
            let log = reading.read_all(Position::ZERO, 10_000).await.unwrap();
            for (before, event) in log.iter().enumerate() {
                assert_eq!(event.position, Position(before as u64 + 1));
            }
            assert!(log.len() >= longest, "what was seen is gone");
            longest = log.len();
        }
    });
    let mut writers = JoinSet::new();
    for writer in 0..16_u64 {
        let node = Arc::clone(&nodes[usize::from(writer % 2 == 0)]);
        writers.spawn(async move {
            for number in 0..60 {
                let name = stream(&format!("conversation-{writer}"));
                let batch = events(writer * 1_000 + number * 3..writer * 1_000 + number * 3 + 3);
                node.append(&name, Expected::Any, batch).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    written.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert_eq!(all(&*nodes[0]).await.len(), 16 * 60 * 3);
}

#[tokio::test]
async fn a_node_hears_of_what_another_wrote_also_without_a_notification() {
    let (log, nodes) = two_nodes().await;
    let name = stream("conversation-a");
    let appended = nodes[0].append(&name, Expected::NoStream, events(0..3));
    let position = appended.await.unwrap().position();
    let mut head = nodes[1].head();
    head.wait_for(|head| *head == position).await.unwrap();

    // Written past the adapter, so that nobody is told.
    let mut connection = log.connect().await;
    let silently = "INSERT INTO events SELECT position + 3, stream_id, version + 3, id, type, schema, \
                    recorded_at, metadata, data FROM events";
    sqlx::query(silently)
        .execute(&mut connection)
        .await
        .unwrap();
    head.wait_for(|head| *head == Position(6)).await.unwrap();
}

#[tokio::test]
async fn the_head_is_heard_of_again_after_the_listening_session_was_ended() {
    let (log, nodes) = two_nodes().await;
    let name = stream("conversation-a");
    let mut connection = log.connect().await;
    for round in 1..=3_u64 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND application_name = $1";
        let ended: i64 = sqlx::query_scalar(end)
            .bind(&log.application)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(ended >= 2, "nobody was connected");
        // Those who lose their connection in the middle try again, as the port says.
        let mut position = None;
        eventually(async || {
            let batch = events([round]);
            let appended = nodes[0].append(&name, Expected::Exact(Version(round - 1)), batch);
            position = appended.await.ok().map(|appended| appended.position());
            position.is_some()
        })
        .await;
        for node in &nodes {
            let mut head = node.head();
            head.wait_for(|head| Some(*head) >= position).await.unwrap();
        }
    }
    assert_eq!(all(&*nodes[1]).await.len(), 3);
}
