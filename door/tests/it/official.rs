//! What the official Rust client does with a server in the tests of its own package, done with the
//! door: the same calls and the same expectations, in our words.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use door::Deletes;
use eventstore::{
    Acl, AppendToStreamOptions, BatchAppendOptions, Client, DeleteStreamOptions, Error, EventData,
    ReadAllOptions, ReadEvent, ReadStreamOptions, ResolvedEvent, StreamAclBuilder,
    StreamMetadataBuilder, StreamMetadataResult, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
    TombstoneStreamOptions,
};
use infra::clock::{Clock, fresh_id};
use infra::event_store::{EventStore, MemoryEventStore};
use serde_json::{Value, json};

use crate::harness::Opened;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

async fn door() -> (Opened, Client) {
    let clock = Clock::system();
    let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
    let door = Opened::on(store, clock, Deletes::Allowed).await;
    let client = door.client();
    (door, client)
}

fn numbered(event_type: &str, count: u64) -> Vec<EventData> {
    let event = |number| EventData::json(event_type, &json!({ "event_index": number })).unwrap();
    (1..=count).map(event).collect()
}

fn append_options() -> AppendToStreamOptions {
    AppendToStreamOptions::default()
}

async fn read(client: &Client, stream: &str, options: &ReadStreamOptions) -> Vec<ResolvedEvent> {
    let mut events = Vec::new();
    let mut stream = client.read_stream(stream, options).await.unwrap();
    while let Some(event) = stream.next().await.unwrap() {
        events.push(event);
    }
    events
}

async fn read_all(client: &Client, options: &ReadAllOptions) -> Vec<ResolvedEvent> {
    let mut events = Vec::new();
    let mut stream = client.read_all(options).await.unwrap();
    while let Some(event) = stream.next().await.unwrap() {
        events.push(event);
    }
    events
}

fn revisions(events: &[ResolvedEvent]) -> Vec<u64> {
    let originals = events.iter().map(ResolvedEvent::get_original_event);
    originals.map(|event| event.revision).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_written_and_read() {
    let (_door, client) = door().await;
    let written = client
        .append_to_stream("orders-1", &append_options(), numbered("placed", 10))
        .await
        .unwrap();
    assert_eq!(written.next_expected_version, 9);
    assert_eq!(written.position.prepare, written.position.commit);
    let events = read(&client, "orders-1", &ReadStreamOptions::default()).await;
    assert_eq!(revisions(&events), (0..10).collect::<Vec<_>>());
    let last = events[9].get_original_event();
    assert_eq!(last.position, written.position);
    assert_eq!(last.event_type, "placed");
    assert!(last.is_json);
    assert_eq!(last.as_json::<Value>().unwrap(), json!({"event_index": 10}));
    let age = Clock::system().now() - last.created;
    assert!(
        age >= TimeDelta::seconds(-1) && age < TimeDelta::minutes(5),
        "{age}"
    );

    let backwards = ReadStreamOptions::default()
        .position(StreamPosition::End)
        .backwards();
    let newest = read(&client, "orders-1", &backwards.clone().max_count(3)).await;
    assert_eq!(revisions(&newest), [9, 8, 7]);
    let from = |revision| StreamPosition::Position(revision);
    let middle = ReadStreamOptions::default().position(from(4)).forwards();
    assert_eq!(
        revisions(&read(&client, "orders-1", &middle.max_count(2)).await),
        [4, 5]
    );
    let middle = ReadStreamOptions::default().position(from(1)).backwards();
    assert_eq!(revisions(&read(&client, "orders-1", &middle).await), [1, 0]);
    let beyond = ReadStreamOptions::default().position(from(10)).forwards();
    assert!(read(&client, "orders-1", &beyond).await.is_empty());

    let all = read_all(&client, &ReadAllOptions::default()).await;
    assert_eq!(all.len(), 10);
    let place = StreamPosition::Position(all[3].get_original_event().position);
    let from_there = ReadAllOptions::default().position(place).forwards();
    assert_eq!(
        revisions(&read_all(&client, &from_there.clone().max_count(2)).await),
        [3, 4]
    );
    assert_eq!(
        revisions(&read_all(&client, &from_there.backwards()).await),
        [2, 1, 0]
    );
    let newest = ReadAllOptions::default().position(StreamPosition::End);
    assert_eq!(
        revisions(&read_all(&client, &newest.max_count(1)).await),
        [9]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_where_the_stream_ends_and_that_there_is_none() {
    let (_door, client) = door().await;
    client
        .append_to_stream("orders-1", &append_options(), numbered("placed", 10))
        .await
        .unwrap();
    let options = ReadStreamOptions::default()
        .forwards()
        .position(StreamPosition::Start);
    let mut stream = client.read_stream("orders-1", &options).await.unwrap();
    let mut ends_at = None;
    while let Some(event) = stream.next_read_event().await.unwrap() {
        if let ReadEvent::LastStreamPosition(position) = event {
            ends_at = Some(position);
        }
    }
    assert_eq!(ends_at, Some(9));
    let mut stream = client.read_stream("orders-2", &options).await.unwrap();
    let missing = stream.next().await;
    assert!(
        matches!(missing, Err(Error::ResourceNotFound)),
        "{missing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expected_revisions_hold_and_retries_get_the_first_answer() {
    let (_door, client) = door().await;
    let expecting = |state| append_options().stream_state(state);
    let append = async |state, events: Vec<EventData>| {
        client
            .append_to_stream("orders-1", &expecting(state), events)
            .await
    };
    let refused = append(StreamState::StreamExists, numbered("placed", 1)).await;
    assert!(
        matches!(refused, Err(Error::WrongExpectedVersion { .. })),
        "{refused:?}"
    );
    let ids: Vec<_> = (0..3).map(|_| fresh_id()).collect();
    let batch = |ids: &[uuid::Uuid]| -> Vec<EventData> {
        let events = numbered("placed", ids.len() as u64).into_iter();
        events.zip(ids).map(|(event, id)| event.id(*id)).collect()
    };
    let first = append(StreamState::NoStream, batch(&ids[..2]))
        .await
        .unwrap();
    assert_eq!(first.next_expected_version, 1);
    let at = StreamState::StreamRevision;
    append(at(1), batch(&ids[2..])).await.unwrap();
    append(StreamState::StreamExists, numbered("paid", 1))
        .await
        .unwrap();
    append(StreamState::Any, numbered("paid", 1)).await.unwrap();
    for state in [StreamState::NoStream, StreamState::Any] {
        let again = append(state, batch(&ids[..2])).await.unwrap();
        assert_eq!(again.next_expected_version, 1, "{state:?}");
        assert_eq!(again.position, first.position);
    }
    for (state, events) in [
        (at(0), numbered("late", 1)),
        (at(9), numbered("early", 1)),
        (StreamState::NoStream, numbered("late", 1)),
        // Partly the same is not the same.
        (StreamState::NoStream, batch(&[ids[0], fresh_id()])),
    ] {
        match append(state, events).await {
            Err(Error::WrongExpectedVersion { current, expected }) => {
                assert_eq!(current, eventstore::CurrentRevision::Current(4));
                assert_eq!(expected, state);
            }
            other => panic!("{state:?}: {other:?}"),
        }
    }
    let nothing = append(at(4), Vec::new()).await.unwrap();
    assert_eq!(nothing.next_expected_version, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_metadata_of_others_come_back_as_they_were() {
    let (_door, client) = door().await;
    let metadata = json!({"$correlationId": "a", "schema": 7});
    let events = vec![
        EventData::binary("blob", vec![0, 159, 146, 150].into()).metadata(vec![1, 2].into()),
        EventData::json("note", &json!([1]))
            .unwrap()
            .metadata_as_json(&metadata)
            .unwrap(),
    ];
    client
        .append_to_stream("blobs", &append_options(), events)
        .await
        .unwrap();
    let read = read(&client, "blobs", &ReadStreamOptions::default()).await;
    let (blob, note) = (read[0].get_original_event(), read[1].get_original_event());
    assert!(!blob.is_json && note.is_json);
    assert_eq!(&blob.data[..], [0, 159, 146, 150]);
    assert_eq!(&blob.custom_metadata[..], [1, 2]);
    assert_eq!(&note.data[..], b"[1]");
    assert_eq!(note.custom_metadata, serde_json::to_vec(&metadata).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_metadata() {
    let (_door, client) = door().await;
    let count = |count| ReadStreamOptions::default().max_count(count);
    client
        .append_to_stream("orders-1", &append_options(), numbered("placed", 5))
        .await
        .unwrap();
    let none = client
        .get_stream_metadata("orders-1", &ReadStreamOptions::default())
        .await;
    assert!(none.unwrap().is_not_found());
    let acl = Acl::Stream(StreamAclBuilder::new().add_read_roles("admin").build());
    for seconds in [1, 2] {
        let metadata = StreamMetadataBuilder::new()
            .max_age(Duration::from_secs(seconds))
            .acl(acl.clone())
            .build();
        client
            .set_stream_metadata("orders-1", &append_options(), &metadata)
            .await
            .unwrap();
        match client
            .get_stream_metadata("orders-1", &count(1))
            .await
            .unwrap()
        {
            StreamMetadataResult::Success(actual) => assert_eq!(*actual.metadata(), metadata),
            other => panic!("{other:?}"),
        }
    }
    let metadata = StreamMetadataBuilder::new().max_count(2).build();
    client
        .set_stream_metadata("orders-1", &append_options(), &metadata)
        .await
        .unwrap();
    assert_eq!(
        revisions(&read(&client, "orders-1", &count(9)).await),
        [3, 4]
    );
    let metadata = StreamMetadataBuilder::new().truncate_before(4).build();
    client
        .set_stream_metadata("orders-1", &append_options(), &metadata)
        .await
        .unwrap();
    assert_eq!(revisions(&read(&client, "orders-1", &count(9)).await), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_gone_and_may_begin_anew() {
    let (_door, client) = door().await;
    let append = async |state| {
        let options = append_options().stream_state(state);
        client
            .append_to_stream("orders-1", &options, numbered("placed", 2))
            .await
    };
    append(StreamState::NoStream).await.unwrap();
    let wrong = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(7));
    let refused = client.delete_stream("orders-1", &wrong).await;
    assert!(matches!(refused, Err(Error::Grpc { .. })), "{refused:?}");
    let deleted = client
        .delete_stream("orders-1", &DeleteStreamOptions::default())
        .await;
    assert!(deleted.unwrap().is_some());
    let mut stream = client
        .read_stream("orders-1", &ReadStreamOptions::default())
        .await
        .unwrap();
    let gone = stream.next().await;
    assert!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    let missing = append(StreamState::StreamExists).await;
    assert!(
        matches!(missing, Err(Error::WrongExpectedVersion { .. })),
        "{missing:?}"
    );
    // Numbers go on, for the log forgets nothing.
    let anew = append(StreamState::NoStream).await.unwrap();
    assert_eq!(anew.next_expected_version, 3);
    let events = read(&client, "orders-1", &ReadStreamOptions::default()).await;
    assert_eq!(revisions(&events), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_ends_a_stream_for_ever() {
    let (_door, client) = door().await;
    client
        .append_to_stream("orders-1", &append_options(), numbered("placed", 1))
        .await
        .unwrap();
    let from_start = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut follower = client.subscribe_to_stream("orders-1", &from_start).await;
    follower.next().await.unwrap();
    let options = TombstoneStreamOptions::default();
    client.tombstone_stream("orders-1", &options).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, follower.next())
        .await
        .unwrap();
    assert!(matches!(told, Err(Error::ResourceDeleted)), "{told:?}");
    let read = client
        .read_stream("orders-1", &ReadStreamOptions::default())
        .await;
    assert!(matches!(read, Err(Error::ResourceDeleted)));
    let appended = client
        .append_to_stream("orders-1", &append_options(), numbered("placed", 1))
        .await;
    assert!(
        matches!(appended, Err(Error::ResourceDeleted)),
        "{appended:?}"
    );
    let again = client.tombstone_stream("orders-1", &options).await;
    assert!(matches!(again, Err(Error::ResourceDeleted)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_followed_from_before_to_after() {
    let (_door, client) = door().await;
    client
        .append_to_stream("orders-1", &append_options(), numbered("before", 3))
        .await
        .unwrap();
    let from_start = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut follower = client.subscribe_to_stream("orders-1", &from_start).await;
    let following = tokio::spawn(async move {
        let (mut seen, mut caught_up_after) = (Vec::new(), None);
        while seen.len() < 6 {
            match follower.next_subscription_event().await.unwrap() {
                SubscriptionEvent::EventAppeared(event) => {
                    seen.push(event.get_original_event().revision);
                }
                SubscriptionEvent::CaughtUp(told) => {
                    assert_eq!(told.unwrap().stream_revision, Some(seen.len() as u64 - 1));
                    caught_up_after = Some(seen.len());
                }
                SubscriptionEvent::Confirmed(id) => assert!(!id.is_empty()),
                other => panic!("{other:?}"),
            }
        }
        (seen, caught_up_after)
    });
    for stream in ["orders-2", "orders-1", "orders-2"] {
        client
            .append_to_stream(stream, &append_options(), numbered("after", 3))
            .await
            .unwrap();
    }
    let (seen, caught_up_after) = tokio::time::timeout(PATIENCE, following)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    assert!(
        caught_up_after.is_none_or(|after| after >= 3),
        "{caught_up_after:?}"
    );
    // It begins after its place, and without one at the end.
    let after = SubscribeToStreamOptions::default().start_from(StreamPosition::Position(3));
    let mut follower = client.subscribe_to_stream("orders-1", &after).await;
    assert_eq!(
        follower.next().await.unwrap().get_original_event().revision,
        4
    );
    let mut follower = client
        .subscribe_to_stream("orders-1", &SubscribeToStreamOptions::default())
        .await;
    loop {
        if let SubscriptionEvent::CaughtUp(_) = follower.next_subscription_event().await.unwrap() {
            break;
        }
    }
    client
        .append_to_stream("orders-1", &append_options(), numbered("live", 1))
        .await
        .unwrap();
    assert_eq!(
        follower.next().await.unwrap().get_original_event().revision,
        6
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_log_is_followed_with_a_filter_and_resumed_from_a_checkpoint() {
    let (_door, client) = door().await;
    for number in 0..20_u32 {
        let event_type = if number == 19 { "wanted" } else { "other" };
        let stream = format!("orders-{}", number % 3);
        client
            .append_to_stream(stream, &append_options(), numbered(event_type, 2))
            .await
            .unwrap();
    }
    let metadata = StreamMetadataBuilder::new().build();
    client
        .set_stream_metadata("orders-1", &append_options(), &metadata)
        .await
        .unwrap();
    let filter = SubscriptionFilter::on_event_type()
        .add_prefix("wanted")
        .max(10);
    let options = SubscribeToAllOptions::default()
        .position(StreamPosition::Start)
        .filter(filter.clone());
    let mut follower = client.subscribe_to_all(&options).await;
    let (mut seen, mut checkpoints) = (Vec::new(), Vec::new());
    loop {
        match follower.next_subscription_event().await.unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                seen.push(event.get_original_event().position);
            }
            SubscriptionEvent::Checkpoint(position) => checkpoints.push(position),
            SubscriptionEvent::CaughtUp(_) => break,
            SubscriptionEvent::Confirmed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(checkpoints.len(), 5, "{checkpoints:?}");
    assert!(checkpoints.is_sorted());
    let options = options.position(StreamPosition::Position(checkpoints[2]));
    let mut follower = client.subscribe_to_all(&options).await;
    assert_eq!(
        follower.next().await.unwrap().get_original_event().position,
        seen[0]
    );
    let options = options.position(StreamPosition::Position(seen[0]));
    let mut follower = client.subscribe_to_all(&options).await;
    assert_eq!(
        follower.next().await.unwrap().get_original_event().position,
        seen[1]
    );

    let no_system = SubscriptionFilter::on_event_type().exclude_system_events();
    let options = ReadAllOptions::default().filter(no_system);
    let events = read_all(&client, &options).await;
    assert_eq!(events.len(), 40, "all but the metadata");
    let backwards = options.position(StreamPosition::End).filter(filter);
    assert_eq!(read_all(&client, &backwards.max_count(1)).await.len(), 1);
    let of_stream = SubscriptionFilter::on_stream_name().regex("^orders-[12]$");
    let of_stream = ReadAllOptions::default().filter(of_stream).max_count(100);
    assert_eq!(read_all(&client, &of_stream).await.len(), 26);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_appended_over_one_call() {
    let (_door, client) = door().await;
    let info = client.server_info().await.unwrap();
    assert!(info.version() >= (23, 10));
    let batches = client
        .batch_append(&BatchAppendOptions::default())
        .await
        .unwrap();
    for number in 0..3 {
        let stream = format!("orders-{number}");
        let written = batches
            .append_to_stream(&stream, StreamState::Any, numbered("placed", 3))
            .await
            .unwrap();
        assert_eq!(written.stream_name(), stream);
        assert_eq!(written.current_revision(), Some(2));
        assert!(written.current_position().is_some());
        let events = read(&client, &stream, &ReadStreamOptions::default()).await;
        assert_eq!(events.len(), 3);
    }
    let refused = batches
        .append_to_stream("orders-0", StreamState::NoStream, numbered("placed", 1))
        .await;
    match refused {
        Err(Error::Grpc { code, message }) => {
            assert_eq!((code as i32, &*message), (6, "WrongExpectedVersion"));
        }
        other => panic!("{other:?}"),
    }
}
