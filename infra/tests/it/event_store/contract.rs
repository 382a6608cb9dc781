//! What every adapter promises, as tests that run on each of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{Position, Version};
use infra::event_store::{
    APPEND_EVENTS_MAX, AppendError, Direction, EVENT_BYTES_MAX, Expected, SubscriptionItem,
    subscribe_all, version_of,
};
use tokio::task::JoinSet;

use super::{Subject, all, catch_up, event, event_id, events, stream};

macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        // Who includes this file says on which adapters it runs.
        on_each_adapter!(contract, $($promise),+);
    };
    ($adapter:ident, $subject:expr; $($promise:ident),+) => {
        mod $adapter {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$promise($subject).await;
                }
            )+
        }
    };
}

contract!(
    what_was_appended_is_read_back_both_ways,
    an_unexpected_version_is_a_conflict_and_writes_nothing,
    a_batch_no_store_may_take_is_refused,
    a_retry_answers_as_the_first_append_did,
    a_retry_with_any_version_is_recognised_a_thousand_events_later,
    of_those_who_race_one_wins,
    a_conflict_harms_no_neighbour,
    versions_and_positions_have_no_gaps_under_concurrency,
    positions_are_revealed_in_order,
    a_subscription_survives_restarts_of_either_side,
);

async fn what_was_appended_is_read_back_both_ways(mut subject: Subject) {
    let store = subject.store();
    let name = stream("conversation-a");
    let ours = store.append(&name, Expected::NoStream, events(0..10)).await;
    let ours = ours.unwrap();
    store
        .append(&stream("conversation-b"), Expected::Any, events(10..13))
        .await
        .unwrap();
    drop(store);
    for reopened in [false, true] {
        if reopened {
            subject.reopen().await;
        }
        let store = subject.store();
        let forward = store
            .read_stream(&name, Version(3), Direction::Forward, 4)
            .await
            .unwrap();
        let versions: Vec<u64> = forward.iter().map(|event| event.version.0).collect();
        assert_eq!(versions, [3, 4, 5, 6]);
        for recorded in &forward {
            let appended = event(recorded.version.0 - 1);
            assert_eq!(Some(recorded.position), ours.position_of(recorded.version));
            assert_eq!(recorded.stream, name);
            assert_eq!(recorded.id, appended.id);
            assert_eq!(&*recorded.event_type, appended.event_type);
            assert_eq!(recorded.schema, appended.schema);
            assert_eq!(recorded.data, appended.data);
            assert_eq!(recorded.metadata, appended.metadata);
        }
        let backward = store
            .read_stream(&name, Version(u64::MAX), Direction::Backward, 3)
            .await
            .unwrap();
        let versions: Vec<u64> = backward.iter().map(|event| event.version.0).collect();
        assert_eq!(versions, [10, 9, 8]);
        assert_eq!(version_of(&*store, &name).await.unwrap(), Version(10));

        let missing = stream("conversation-missing");
        let none = store.read_stream(&missing, Version(1), Direction::Forward, 9);
        assert_eq!(none.await.unwrap(), []);
        let log = all(&*store).await;
        assert_eq!(log.len(), 13);
        assert_eq!(*store.head().borrow(), log[12].position);
        let rest = store.read_all(log[9].position, 2).await.unwrap();
        assert_eq!(rest, log[10..12]);
    }
}

async fn an_unexpected_version_is_a_conflict_and_writes_nothing(subject: Subject) {
    let store = subject.store();
    let name = stream("conversation-a");
    let exact = |version| Expected::Exact(Version(version));
    for (expected, ends_at) in [(exact(1), 0), (exact(u64::MAX), 0)] {
        let refused = store.append(&name, expected, events(100..102)).await;
        assert_conflict(refused, ends_at);
    }
    store.append(&name, exact(0), events(0..2)).await.unwrap();
    for expected in [Expected::NoStream, exact(0), exact(1), exact(3)] {
        let refused = store.append(&name, expected, events(100..102)).await;
        assert_conflict(refused, 2);
    }
    assert_eq!(all(&*store).await.len(), 2);
    store.append(&name, exact(2), events(2..3)).await.unwrap();
    store
        .append(&name, Expected::Any, events(3..4))
        .await
        .unwrap();
    assert_eq!(version_of(&*store, &name).await.unwrap(), Version(4));
}

fn assert_conflict<T: std::fmt::Debug>(result: Result<T, AppendError>, ends_at: u64) {
    match result {
        Err(AppendError::Conflict { actual }) => assert_eq!(actual, Version(ends_at)),
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

async fn a_batch_no_store_may_take_is_refused(subject: Subject) {
    let store = subject.store();
    let name = stream("conversation-a");
    let mut large = event(1);
    large.data = vec![b' '; EVENT_BYTES_MAX + 1].into();
    let many = events(0..=APPEND_EVENTS_MAX as u64);
    for batch in [vec![], vec![large], vec![event(1), event(1)], many] {
        let refused = store.append(&name, Expected::Any, batch).await;
        assert!(
            matches!(refused, Err(AppendError::Invalid(_))),
            "{refused:?}"
        );
    }
    assert_eq!(*store.head().borrow(), Position::ZERO);
    let largest = events(0..APPEND_EVENTS_MAX as u64);
    store.append(&name, Expected::Any, largest).await.unwrap();
    let version = version_of(&*store, &name).await.unwrap();
    assert_eq!(version, Version(APPEND_EVENTS_MAX as u64));
}

async fn a_retry_answers_as_the_first_append_did(mut subject: Subject) {
    let exact = |version| Expected::Exact(Version(version));
    let appends = [
        (stream("conversation-a"), Expected::NoStream, events(0..3)),
        (stream("conversation-b"), Expected::Any, events(10..12)),
        (stream("conversation-a"), exact(3), events(3..4)),
        (stream("conversation-a"), Expected::Any, events(4..6)),
        (stream("conversation-b"), exact(2), events(12..13)),
        (stream("conversation-b"), Expected::Any, events(13..14)),
    ];
    let mut answers = Vec::new();
    for (name, expected, batch) in appends.clone() {
        let store = subject.store();
        answers.push(store.append(&name, expected, batch).await.unwrap());
    }
    for _ in 0..2 {
        for ((name, expected, batch), first) in appends.clone().into_iter().zip(&answers) {
            let store = subject.store();
            let again = store.append(&name, expected, batch).await.unwrap();
            assert_eq!(again, *first, "{name} {expected:?}");
        }
        assert_eq!(all(&*subject.store()).await.len(), 10);
        subject.reopen().await;
    }
    // Part of it the same and part of it new is another append.
    let mixed = vec![event(0), event(99)];
    let store = subject.store();
    let name = stream("conversation-a");
    let refused = store.append(&name, Expected::NoStream, mixed).await;
    assert_conflict(refused, 6);
}

async fn a_retry_with_any_version_is_recognised_a_thousand_events_later(mut subject: Subject) {
    let name = stream("receipts-a");
    let batch = events(0..3);
    let store = subject.store();
    let first = store.append(&name, Expected::Any, batch.clone()).await;
    let first = first.unwrap();
    store
        .append(&name, Expected::Any, events(10..1_007))
        .await
        .unwrap();
    drop(store);
    for _ in 0..2 {
        let store = subject.store();
        let again = store.append(&name, Expected::Any, batch.clone()).await;
        assert_eq!(again.unwrap(), first);
        assert_eq!(version_of(&*store, &name).await.unwrap(), Version(1_000));
        drop(store);
        subject.reopen().await;
    }
}

async fn of_those_who_race_one_wins(subject: Subject) {
    const RACERS: u64 = 16;
    let name = stream("conversation-a");
    for round in 0..20 {
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, name) = (subject.store(), name.clone());
            racers.spawn(async move {
                let batch = events([round * RACERS + racer]);
                store
                    .append(&name, Expected::Exact(Version(round)), batch)
                    .await
            });
        }
        let results = racers.join_all().await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {results:?}");
        for lost in results.into_iter().filter(Result::is_err) {
            assert_conflict(lost, round + 1);
        }
    }
    assert_eq!(all(&*subject.store()).await.len(), 20);
}

async fn a_conflict_harms_no_neighbour(subject: Subject) {
    let mut appends = JoinSet::new();
    for number in 0..200_u64 {
        let store = subject.store();
        appends.spawn(async move {
            let name = stream(&format!("conversation-{number}"));
            let wrong = number.is_multiple_of(3);
            let expected = Expected::Exact(Version(if wrong { 7 } else { 0 }));
            let result = store.append(&name, expected, events([number])).await;
            assert_eq!(result.is_err(), wrong, "{result:?}");
        });
    }
    appends.join_all().await;
    let log = all(&*subject.store()).await;
    let there: HashSet<_> = log.iter().map(|event| event.id).collect();
    let wanted = (0..200).filter(|n: &u64| !n.is_multiple_of(3));
    assert_eq!(there, wanted.map(event_id).collect());
    assert_eq!(log.len(), there.len());
}

async fn versions_and_positions_have_no_gaps_under_concurrency(subject: Subject) {
    let mut appends = JoinSet::new();
    for writer in 0..16_u64 {
        let store = subject.store();
        appends.spawn(async move {
            for round in 0..20 {
                let number = writer * 1_000 + round * 10;
                let name = stream(&format!("conversation-{}", number / 10 % 5));
                let batch = events(number..number + 1 + round % 3);
                store.append(&name, Expected::Any, batch).await.unwrap();
            }
        });
    }
    appends.join_all().await;
    let log = all(&*subject.store()).await;
    let mut ends = std::collections::HashMap::new();
    for (before, event) in log.iter().enumerate() {
        assert_eq!(event.position, Position(before as u64 + 1));
        let end = ends.entry(event.stream.clone()).or_insert(Version::ZERO);
        *end = end.next();
        assert_eq!(event.version, *end);
    }
}

async fn positions_are_revealed_in_order(subject: Subject) {
    const EVENTS: u64 = 400;
    let appended = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (store, appended) = (subject.store(), Arc::clone(&appended));
        writers.spawn(async move {
            for number in 0..EVENTS / 8 {
                let name = stream(&format!("conversation-{writer}"));
                let batch = events([writer * 1_000 + number]);
                let done = store.append(&name, Expected::Any, batch).await.unwrap();
                // What was acknowledged is visible at once, and so is all before it.
                assert!(*store.head().borrow() >= done.position());
                let before = Position(done.position().0 - 1);
                let found = store.read_all(before, 1).await.unwrap();
                assert_eq!(found[0].position, done.position());
                appended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let store = subject.store();
    let mut head = store.head();
    let mut seen = Position::ZERO;
    while seen < Position(EVENTS) {
        head.wait_for(|head| *head > seen).await.unwrap();
        let now = *head.borrow();
        let log = all(&*store).await;
        assert!(log.len() as u64 >= now.0, "the head was shown too early");
        assert!(log.is_sorted_by(|one, next| one.position < next.position));
        seen = now;
    }
    writers.join_all().await;
    assert_eq!(appended.load(Ordering::Relaxed), EVENTS);
}

async fn a_subscription_survives_restarts_of_either_side(mut subject: Subject) {
    let mut seen = Vec::new();
    let mut position = Position::ZERO;
    for round in 0..6_u64 {
        let store = subject.store();
        let mut subscription = subscribe_all(Arc::clone(&store), position);
        let there = catch_up(&mut subscription).await;
        seen.extend(there.iter().map(|event| event.id));
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for number in 0..25 {
                        let name = stream(&format!("conversation-{writer}"));
                        let batch = events([round * 1_000 + writer * 100 + number]);
                        store.append(&name, Expected::Any, batch).await.unwrap();
                    }
                })
            })
            .collect();
        // Follows live for a while, then goes away in the middle and leaves the rest for later.
        let stop_at = seen.len() + 60;
        while seen.len() < stop_at {
            match subscription.next().await.unwrap() {
                SubscriptionItem::Events(events) => seen.extend(events.iter().map(|e| e.id)),
                SubscriptionItem::CaughtUp => panic!("it had caught up before"),
            }
        }
        position = subscription.position();
        for writer in writers {
            writer.await.unwrap();
        }
        drop((store, subscription));
        subject.reopen().await;
    }
    let mut subscription = subscribe_all(subject.store(), position);
    let rest = catch_up(&mut subscription).await;
    seen.extend(rest.iter().map(|event| event.id));
    let log = all(&*subject.store()).await;
    assert_eq!(log.len(), 600);
    assert_eq!(seen, log.iter().map(|event| event.id).collect::<Vec<_>>());
}
