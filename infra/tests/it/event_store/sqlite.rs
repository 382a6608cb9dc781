//! What the embedded store promises beyond the port.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use domain::{Position, StreamName, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Direction, EVENT_BYTES_MAX, EventStore, Expected, RecordedEvent, SqliteEventStore,
    SubscriptionItem, subscribe_all, version_of,
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
    assert_eq!(written.unwrap().last_version(), Version(64));
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
    assert_eq!(taken.unwrap().last_version(), Version(5));

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

/// Enough events that the index by stream is written in several rounds.
const MANY_BATCHES: u64 = 1_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_is_whole_while_its_index_lags_and_after_a_crash_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let store = Arc::new(SqliteEventStore::open(&path, Clock::system()).unwrap());
    for number in 0..MANY_BATCHES {
        let name = uneven_stream(number);
        let batch = events(number * 1_000..number * 1_000 + 20 + number % 130);
        let reading = Arc::clone(&store);
        let reader = tokio::spawn(async move { read_the_end(&*reading, number).await });
        let appended = store.append(&name, Expected::Any, batch).await.unwrap();
        let last = version_of(&*store, &name).await.unwrap();
        assert_eq!(last, appended.last_version());
        reader.await.unwrap();
        if number % 300 == 299 {
            check_a_copy(folder.path()).await;
        }
    }
    check_streams(&*store).await;
    store.close().await;
    drop(store);
    let store = SqliteEventStore::open(&path, Clock::system()).unwrap();
    check_streams(&store).await;
    store.close().await;
}

/// One busy stream, some quiet ones, and always a new one.
fn uneven_stream(number: u64) -> StreamName {
    match number % 4 {
        0 => stream("conversation-busy"),
        1 => stream(&format!("conversation-new-{number}")),
        _ => stream(&format!("conversation-{}", number * 7 % 41)),
    }
}

/// Reads the end of some stream while it may grow: without gaps, whichever way.
async fn read_the_end(store: &dyn EventStore, number: u64) {
    let name = uneven_stream(number * 5);
    let known = version_of(store, &name).await.unwrap();
    let back = store.read_stream(&name, Version(u64::MAX), Direction::Backward, 300);
    let back = back.await.unwrap();
    let from = Version(known.0.saturating_sub(200).max(1));
    let forward = store.read_stream(&name, from, Direction::Forward, 1_000);
    let forward = forward.await.unwrap();
    assert!(back.first().map_or(0, |event| event.version.0) >= known.0);
    assert!(back.is_sorted_by(|one, next| one.version == next.version.next()));
    assert!(forward.last().map_or(0, |event| event.version.0) >= known.0);
    assert!(forward.is_sorted_by(|one, next| one.version.next() == next.version));
    assert!(forward.first().is_none_or(|event| event.version == from));
}

/// What a crash at this moment would leave: the files as they are.
async fn check_a_copy(folder: &Path) {
    let crashed = tempfile::tempdir().unwrap();
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(folder.join(file), crashed.path().join(file)).unwrap();
    }
    let path = crashed.path().join("log.db");
    let store = SqliteEventStore::open(&path, Clock::system()).unwrap();
    check_streams(&store).await;
    // And it goes on from there.
    let name = uneven_stream(0);
    let end = version_of(&store, &name).await.unwrap();
    let batch = events([u64::MAX]);
    let appended = store.append(&name, Expected::Exact(end), batch).await;
    assert_eq!(appended.unwrap().first_version, end.next());
    store.close().await;
}

/// Each stream, read by itself, has what the whole log has of it.
async fn check_streams(store: &dyn EventStore) {
    let mut streams: HashMap<StreamName, Vec<Arc<RecordedEvent>>> = HashMap::new();
    for event in all(store).await {
        let events = streams.entry(event.stream.clone()).or_default();
        events.push(event);
    }
    for (name, events) in streams {
        let mut read = Vec::new();
        loop {
            let from = Version(read.len() as u64 + 1);
            let page = store.read_stream(&name, from, Direction::Forward, 10_000);
            let page = page.await.unwrap();
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert!(read == events, "{name} is not whole");
    }
}
