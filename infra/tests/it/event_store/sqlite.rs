//! What the embedded store promises beyond the port.

use std::sync::Arc;

use chrono::DateTime;
use domain::{Position, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Direction, EVENT_BYTES_MAX, EventStore, Expected, SqliteEventStore,
    SubscriptionItem, subscribe_all,
};
use infra::failure::{Failure, FailureSort};

use super::{Subject, all, event, events, stream};

#[tokio::test]
async fn times_never_run_backwards_though_the_clock_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
    let clock = Clock::fixed(at(100));
    let mut store = SqliteEventStore::open(&path, clock.clone()).unwrap();
    let name = stream("conversation-a");
    for (number, (clock_at, recorded_at)) in
        (0..).zip([(100, 100), (50, 100), (60, 100), (150, 150)])
    {
        clock.set(at(clock_at));
        let batch = events([number]);
        store.append(&name, Expected::Any, batch).await.unwrap();
        let log = all(&store).await;
        assert_eq!(log.last().unwrap().recorded_at, at(recorded_at));
        if number == 1 {
            store.close().await;
            store = SqliteEventStore::open(&path, clock.clone()).unwrap();
        }
    }
}

#[tokio::test]
async fn an_append_for_which_there_is_no_room_in_the_queue_is_refused() {
    let subject = Subject::sqlite();
    let store = subject.store();
    // As many bytes as may wait at once: as long as it is being written, nothing else fits.
    let large = (0..64).map(|number| {
        let mut event = event(number);
        event.data = vec![b'x'; EVENT_BYTES_MAX - event.metadata.len()].into();
        event
    });
    let (large_name, name) = (stream("conversation-large"), stream("conversation-a"));
    let (written, refused) = tokio::join!(
        store.append(&large_name, Expected::NoStream, large.collect()),
        store.append(&name, Expected::NoStream, events([100])),
    );
    assert_eq!(written.unwrap().last_version, Version(64));
    match refused {
        Err(AppendError::Failure(failure)) => assert_unavailable(&failure),
        other => panic!("the queue has no bound: {other:?}"),
    }
    // There is room again as soon as the first is answered.
    let batch = events([100]);
    store
        .append(&name, Expected::NoStream, batch)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_page_of_large_events_is_short_and_none_is_lost() {
    let mut subject = Subject::sqlite();
    let name = stream("conversation-large");
    for number in 0..40 {
        let mut event = event(number);
        event.data = vec![b'x'; EVENT_BYTES_MAX - event.metadata.len()].into();
        let store = subject.store();
        store
            .append(&name, Expected::Any, vec![event])
            .await
            .unwrap();
    }
    subject.reopen().await;
    let store = subject.store();
    let page = store.read_all(Position::ZERO, 40).await.unwrap();
    assert_eq!(page.len(), 16);
    assert_eq!(all(&*store).await.len(), 40);
}

#[tokio::test]
async fn a_closed_store_finishes_what_it_took_and_says_that_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let store = Arc::new(SqliteEventStore::open(&path, Clock::system()).unwrap());
    let mut subscription = subscribe_all(Arc::clone(&store) as Arc<_>, Position::ZERO);
    assert_eq!(
        subscription.next().await.unwrap(),
        SubscriptionItem::CaughtUp
    );
    let name = stream("conversation-a");
    let batch = events(0..5);
    let (taken, ()) = tokio::join!(
        store.append(&name, Expected::NoStream, batch),
        store.close()
    );
    assert_eq!(taken.unwrap().last_version, Version(5));

    assert!(matches!(
        subscription.next().await.unwrap(),
        SubscriptionItem::Events(events) if events.len() == 5
    ));
    assert_unavailable(&subscription.next().await.unwrap_err());
    match store.append(&name, Expected::Any, events(5..6)).await {
        Err(AppendError::Failure(failure)) => assert_unavailable(&failure),
        other => panic!("a closed store took an append: {other:?}"),
    }
    let read = store.read_stream(&name, Version(1), Direction::Forward, 1);
    assert_unavailable(&read.await.unwrap_err());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(
        left.len(),
        1,
        "the write-ahead log was left behind: {left:?}"
    );
}

fn assert_unavailable(failure: &Failure) {
    assert_eq!(failure.sort(), FailureSort::Unavailable, "{failure}");
}
