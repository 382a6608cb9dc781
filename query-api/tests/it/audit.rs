//! Auditors read the log, and that they did is in the log.

use std::sync::Arc;

use axum::http::StatusCode;
use domain::audit::{AuditEvent, Selection};
use domain::conversation::HistoryVisibility::Start;
use domain::{Actor, Event, StreamName, UserId};
use futures::TryStreamExt as _;
use infra::event_store::{EventStore, FOREIGN_BYTES, FOREIGN_JSON, NewEvent};
use serde_json::{Value, json};

use crate::door::Door;
use crate::harness::{Kinds, Log, user};

const AUDITOR: UserId = UserId(uuid::Uuid::from_u128(0x1009));

async fn lines(door: &Door, path: &str) -> Vec<Value> {
    let (status, text) = door.text(AUDITOR, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn positions(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .map(|line| line["position"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn every_event_is_a_line_as_it_is_stored() {
    let door = Door::open(Kinds::Sqlite).await;
    let room = door.log.group(user(1), &[], Start).await;
    room.send(user(1), "line\nbreak").await;
    let head = door.log.head();
    let told = lines(&door, "/v1/audit/events").await;
    assert_eq!(positions(&told), (1..=head.0).collect::<Vec<_>>());
    let stored = door
        .log
        .store
        .read_all(domain::Position::ZERO, 10_000)
        .await;
    for (line, event) in told.iter().zip(stored.unwrap()) {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let metadata: Value = serde_json::from_slice(&event.metadata).unwrap();
        assert_eq!(
            *line,
            json!({
                "position": event.position,
                "stream": event.stream,
                "version": event.version,
                "id": event.id,
                "type": *event.event_type,
                "schema": event.schema,
                "recorded_at": line["recorded_at"],
                "data": data,
                "metadata": metadata,
            })
        );
        let recorded_at = line["recorded_at"].as_str().unwrap();
        let recorded_at: chrono::DateTime<chrono::Utc> = recorded_at.parse().unwrap();
        assert_eq!(recorded_at, event.recorded_at);
    }
    door.close().await;
}

#[tokio::test]
async fn a_selection_is_what_was_asked_for() {
    let door = Door::open(Kinds::Sqlite).await;
    let log: &Log = &door.log;
    let room = log.group(user(1), &[user(2)], Start).await;
    let other = log.group(user(1), &[], Start).await;
    let begin = log.clock.now();
    room.send(user(1), "1").await;
    let middle = log.head().0;
    let then = log.clock.now();
    other.send(user(1), "2").await;
    let seq = room.send(user(1), "3").await;
    room.seen(user(2), seq).await;
    let edited = domain::conversation::ConversationEvent::Renamed(domain::conversation::Renamed {
        title: domain::Personal::new(user(2), domain::values::Title::parse("x").unwrap()),
    });
    let stream = StreamName::conversation(room.id);
    log.append_by(stream, edited, Actor::User(user(2))).await;
    let end = log.head().0;
    let all = "/v1/audit/events";
    let of = |query: String| {
        let door = &door;
        async move { positions(&lines(door, &format!("{all}?{query}")).await) }
    };
    assert_eq!(
        of(format!("after={middle}&up_to={}", end - 1)).await,
        [middle + 1, middle + 2, middle + 3]
    );
    assert_eq!(
        of("type=message-sent".to_owned()).await,
        [middle, middle + 1, middle + 2]
    );
    assert_eq!(
        of("type=message-sent,seen-up-to&type=conversation-renamed".to_owned()).await,
        [middle, middle + 1, middle + 2, middle + 3, end]
    );
    assert_eq!(of(format!("actor={}", user(2))).await, [end]);
    let at = |time: chrono::DateTime<chrono::Utc>| {
        time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    };
    assert_eq!(
        of(format!("since={}&up_to={end}", at(then))).await[0],
        middle
    );
    assert_eq!(
        *of(format!("until={}", at(then))).await.last().unwrap(),
        middle - 1
    );
    assert_eq!(
        of(format!("since={}&until={}", at(begin), at(begin))).await,
        [0_u64; 0]
    );
    let path = format!("/v1/audit/conversations/{}/events", room.id);
    let told = positions(&lines(&door, &path).await);
    assert_eq!(told, [middle - 2, middle, middle + 2, middle + 3, end]);
    let told = positions(&lines(&door, &format!("{path}?after={middle}&up_to={}", end - 1)).await);
    assert_eq!(told, [middle + 2, middle + 3]);
    for query in [
        "type=no-such",
        "since=yesterday",
        "after=1&after=2",
        "unknown=1",
        "actor=bob",
    ] {
        let problem = door.problem(AUDITOR, &format!("{all}?{query}")).await;
        assert_eq!(problem, (400, "invalid_query".to_owned()), "{query}");
    }
    door.close().await;
}

#[tokio::test]
async fn events_of_other_programs_are_lines_too() {
    let door = Door::open(Kinds::Sqlite).await;
    let begin = door.log.head();
    let foreign = |schema, data: &'static [u8], metadata: &'static [u8]| NewEvent {
        id: domain::EventId(infra::clock::fresh_id()),
        event_type: "not\"ed".into(),
        schema,
        data: data.into(),
        metadata: metadata.into(),
    };
    let orders = StreamName::parse("orders-1").unwrap();
    for event in [
        foreign(FOREIGN_JSON, b"{\n\"a\": 1}", b"[]"),
        foreign(FOREIGN_JSON, b"no JSON", b""),
        foreign(FOREIGN_BYTES, b"\xff\n", b"\x00"),
    ] {
        door.log.append_raw(orders.clone(), event).await;
    }
    let told = lines(&door, &format!("/v1/audit/events?after={begin}")).await;
    assert_eq!(told[0]["data"], json!({"a": 1}));
    assert_eq!(told[0]["metadata"], json!([]));
    assert_eq!(told[1]["data"], Value::Null);
    assert_eq!(told[1]["data_base64"], "bm8gSlNPTg==");
    assert_eq!(
        (&told[1]["metadata"], told[1].get("metadata_base64")),
        (&Value::Null, None)
    );
    assert_eq!(told[2]["data_base64"], "/wo=");
    assert_eq!(told[2]["metadata_base64"], "AA==");
    assert_eq!(told[2]["type"], "not\"ed");
    door.close().await;
}

#[tokio::test]
async fn only_auditors_read_the_log() {
    let door = Door::open(Kinds::Sqlite).await;
    let room = door.log.group(user(1), &[], Start).await;
    let head = door.log.head();
    let problem = door.problem(user(1), "/v1/audit/events").await;
    assert_eq!(problem, (403, "forbidden".to_owned()));
    let nowhere = domain::ConversationId(uuid::Uuid::from_u128(77));
    for (who, id) in [
        (user(1), room.id),
        (user(4), room.id),
        (user(4), nowhere),
        (AUDITOR, nowhere),
    ] {
        let path = format!("/v1/audit/conversations/{id}/events");
        let problem = door.problem(who, &path).await;
        assert_eq!(problem, (404, "conversation_not_found".to_owned()));
    }
    assert_eq!(
        door.log.head(),
        head,
        "nothing was read, nothing is on record"
    );
    door.close().await;
}

#[tokio::test]
async fn each_reading_is_on_record_before_a_line_is_handed_out() {
    let door = Door::open(Kinds::Sqlite).await;
    let before = door.log.head();
    lines(&door, "/v1/audit/events?type=message-sent").await;
    let recorded = door.log.store.read_all(before, 10).await.unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].stream, StreamName::audit());
    assert_eq!(recorded[0].metadata().unwrap().actor, Actor::User(AUDITOR));
    let Event::Audit(AuditEvent::Replayed(replayed)) = recorded[0].event().unwrap() else {
        panic!("another event");
    };
    assert_eq!(replayed.selection.types, ["message-sent"]);
    // The command line asks the same of the same code, as whoever holds the folder.
    let store: Arc<dyn EventStore> = door.log.store.clone();
    let told = query_api::replay(store, Actor::Operator, Selection::default()).await;
    let recorded = door
        .log
        .store
        .read_all(recorded[0].position, 10)
        .await
        .unwrap();
    assert_eq!(recorded[0].metadata().unwrap().actor, Actor::Operator);
    let told: Vec<bytes::Bytes> = told.unwrap().try_collect().await.unwrap();
    let lines = told.concat().split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(lines as u64, recorded[0].position.0 - 1);
    door.close().await;
}
