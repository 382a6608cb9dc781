//! Damage, doubles, what cannot be applied, and rebuilding.

use std::fs;
use std::os::unix::fs::FileExt as _;

use domain::conversation::HistoryVisibility::Start;
use domain::{Actor, CommandId, Metadata, StreamName};
use infra::clock::fresh_id;
use infra::event_store::{FOREIGN_BYTES, FOREIGN_JSON, NewEvent};
use infra::read_models::projections::{self, ProjectionState};
use infra::read_models::{ReadError, Snapshot, hurry_to, messages, wait_for};
use projector::{ProjectionStatus, ProjectorError};

use crate::harness::{ALL, BOTH, Kinds, Log, Running, Scratch, dump, until, user};

async fn talk(log: &Log, messages: usize) {
    let room = log.group(user(1), &[user(2)], Start).await;
    for number in 0..messages {
        let seq = room
            .send(user(1), &format!("message {number} {}", "x".repeat(200)))
            .await;
        room.seen(user(2), seq).await;
    }
}

#[tokio::test]
async fn a_deleted_database_comes_back() {
    let log = Log::new();
    talk(&log, 50).await;
    let scratch = Scratch::new(Kinds::Sqlite).await;
    let database = scratch.open().await;
    let running = Running::start(&log, &database);
    running.caught_up(&log).await;
    running.stop().await.unwrap();
    let before = dump(&database).await;
    database.close().await;
    for entry in fs::read_dir(scratch.folder.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let database = scratch.open().await;
    let running = Running::start(&log, &database);
    running.caught_up(&log).await;
    assert_eq!(dump(&database).await, before);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_built_again() {
    let damages: [fn(&fs::File, u64); 3] = [
        |file, _| file.write_all_at(b"not a database, surely", 0).unwrap(),
        |file, length| file.set_len(length / 2).unwrap(),
        |file, length| {
            let garbage = vec![0xa5; 4096 * 3];
            file.write_all_at(&garbage, length / 8192 * 4096).unwrap();
        },
    ];
    let log = Log::new();
    talk(&log, 400).await;
    for damage in damages {
        let scratch = Scratch::new(Kinds::Sqlite).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        running.stop().await.unwrap();
        let before = dump(&database).await;
        database.close().await;
        let path = scratch.folder.path().join("read.db");
        let file = fs::File::options().write(true).open(&path).unwrap();
        damage(&file, file.metadata().unwrap().len());

        let database = scratch.open().await;
        let unready = Snapshot::of(&database, &ALL).await;
        assert!(matches!(unready, Err(ReadError::Behind(_))));
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        assert_eq!(dump(&database).await, before);
        assert_eq!(set_aside(&scratch), 1);
        running.stop().await.unwrap();
        database.close().await;
    }
}

#[tokio::test]
async fn damage_that_shows_while_running_is_repaired_while_running() {
    let log = Log::new();
    talk(&log, 2_000).await;
    let scratch = Scratch::new(Kinds::Sqlite).await;
    let database = scratch.open().await;
    let running = Running::start(&log, &database);
    running.caught_up(&log).await;
    running.stop().await.unwrap();
    let before = dump(&database).await;
    database.close().await;
    let database = scratch.open().await;
    // It was whole when it was opened. Now every page but the first is not: the header is still
    // good.
    let path = scratch.folder.path().join("read.db");
    let file = fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xa5; usize::try_from(length).unwrap() - 4096], 4096)
        .unwrap();
    let running = Running::start(&log, &database);
    // Reading meets the damage; whoever reads is told to come again, and the file is replaced.
    until(async || {
        if let Ok(mut snapshot) = Snapshot::of(&database, &ALL).await {
            let sql = "SELECT sum(length(body)) AS bytes FROM messages";
            match snapshot.first(sql, &[]).await {
                Ok(_) | Err(ReadError::Behind(_)) => {}
                Err(ReadError::Database(error)) => panic!("{error:?}"),
            }
        }
        set_aside(&scratch) == 1
    })
    .await;
    running.caught_up(&log).await;
    assert_eq!(dump(&database).await, before);
    running.stop().await.unwrap();
}

/// How many damaged files are kept.
fn set_aside(scratch: &Scratch) -> usize {
    fs::read_dir(scratch.folder.path())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("read.db.damaged-")
        })
        .count()
}

async fn keep_talking(log: &Log) -> std::convert::Infallible {
    loop {
        talk(log, 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_second_projector_stops_with_a_clear_error() {
    for kind in BOTH {
        let log = Log::new();
        talk(&log, 5).await;
        let scratch = Scratch::new(kind).await;
        let (one, other) = (scratch.open().await, scratch.open().await);
        let first = Running::start(&log, &one);
        first.caught_up(&log).await;
        let second = Running::start(&log, &other);
        second.caught_up(&log).await;
        // One of them moves the checkpoint first, and the other notices, at the latest with the
        // first event after both have begun.
        let ended = tokio::select! {
            ended = first.ended() => ended,
            ended = second.ended() => ended,
            never = keep_talking(&log) => match never {},
        };
        assert!(matches!(ended, Err(ProjectorError::OtherOwner { .. })));
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_parks_its_conversation_alone() {
    for kind in BOTH {
        let log = Log::new();
        let good = log.group(user(1), &[], Start).await;
        let bad = log.group(user(1), &[], Start).await;
        let before = bad.send(user(1), "before").await;
        let metadata = Metadata {
            actor: Actor::System,
            command_id: CommandId(fresh_id()),
            command_hash: "00".to_owned(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let unreadable = NewEvent {
            id: domain::EventId(fresh_id()),
            event_type: "message-sent".into(),
            schema: 1,
            data: "{\"author\": 7}".into(),
            metadata: serde_json::to_vec(&metadata).unwrap().into(),
        };
        log.append_raw(StreamName::conversation(bad.id), unreadable)
            .await;
        let parked_at = log.head();
        let after = bad.send(user(1), "after").await;
        let other = good.send(user(1), "elsewhere").await;

        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        let mut snapshot = Snapshot::of(&database, &[&messages::MODEL]).await.unwrap();
        for (room, seq, there) in [
            (bad.id, before, true),
            (bad.id, after, false),
            (good.id, other, true),
        ] {
            let message = messages::one(&mut snapshot, room, seq).await.unwrap();
            assert_eq!(message.is_some(), there);
        }
        drop(snapshot);
        let status = running.projector.status().await.unwrap();
        only_conversations_are_parked(&status);
        let parked = projections::parked(&database, &messages::MODEL, 1)
            .await
            .unwrap();
        assert_eq!(parked[0].position, parked_at);
        running.stop().await.unwrap();
        // It stays parked after a restart.
        let running = Running::start(&log, &database);
        bad.send(user(1), "later").await;
        running.caught_up(&log).await;
        let mut snapshot = Snapshot::of(&database, &[&messages::MODEL]).await.unwrap();
        let later = messages::one(&mut snapshot, bad.id, after).await.unwrap();
        assert_eq!(later, None);
        drop(snapshot);
        running.stop().await.unwrap();
    }
}

/// One stream is parked in every model of conversations, and none in the others.
fn only_conversations_are_parked(status: &[ProjectionStatus]) {
    let parked: Vec<_> = status.iter().map(|it| (&*it.name, it.parked)).collect();
    let expected = ALL.map(|model| (model.name, u64::from(model.category == "conversation")));
    assert_eq!(parked, expected);
}

#[tokio::test]
async fn events_of_other_programs_harm_nobody() {
    for kind in BOTH {
        let log = Log::new();
        let good = log.group(user(1), &[], Start).await;
        let bad = log.group(user(1), &[], Start).await;
        let foreign = |schema, data: &'static [u8]| NewEvent {
            id: domain::EventId(fresh_id()),
            event_type: "noted".into(),
            schema,
            data: data.into(),
            metadata: "".into(),
        };
        let elsewhere = |name| StreamName::parse(name).unwrap();
        for (stream, event) in [
            (elsewhere("conversation-x"), foreign(FOREIGN_JSON, b"{}")),
            (elsewhere("user-x"), foreign(FOREIGN_BYTES, b"\xff")),
            (elsewhere("orders-1"), foreign(FOREIGN_BYTES, b"")),
            (elsewhere("$$orders-1"), foreign(FOREIGN_JSON, b"{}")),
            (
                StreamName::conversation(bad.id),
                foreign(FOREIGN_BYTES, b"\xff"),
            ),
        ] {
            log.append_raw(stream, event).await;
        }
        let sent = good.send(user(1), "after").await;
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        let mut snapshot = Snapshot::of(&database, &[&messages::MODEL]).await.unwrap();
        let message = messages::one(&mut snapshot, good.id, sent).await.unwrap();
        assert!(message.is_some());
        drop(snapshot);
        let status = running.projector.status().await.unwrap();
        only_conversations_are_parked(&status);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_is_beside_the_live_one_until_it_takes_its_place() {
    for kind in BOTH {
        let log = Log::new();
        talk(&log, 300).await;
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        let before = dump(&database).await;
        let mut rebuild = running.projector.rebuild("messages").unwrap();
        let done = rebuild.done();
        tokio::pin!(done);
        loop {
            tokio::select! {
                () = &mut done => break,
                answered = Snapshot::of(&database, &ALL) => {
                    // Whole, and never of an earlier position than was told before.
                    let mut snapshot = answered.unwrap();
                    assert_eq!(snapshot.position(), log.head());
                    let sql = "SELECT count(*) AS messages FROM messages";
                    let row = snapshot.first(sql, &[]).await.unwrap().unwrap();
                    assert_eq!(row.get::<u64>("messages").unwrap(), 300);
                }
            }
        }
        assert_eq!(dump(&database).await, before);
        let status = running.projector.status().await.unwrap();
        assert_eq!(status.len(), ALL.len());
        assert!(status.iter().all(|s| s.state == ProjectionState::Live));
        assert!(running.projector.rebuild("no such").is_err());
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_model_of_another_version_is_replaced() {
    for kind in BOTH {
        let log = Log::new();
        talk(&log, 10).await;
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        running.stop().await.unwrap();
        let before = dump(&database).await;
        let mut transaction = database.write().await.unwrap();
        let sql = "UPDATE projections SET version = 999 WHERE name = 'messages'";
        transaction.run(sql, &[]).await.unwrap();
        transaction
            .run("DELETE FROM messages_g1", &[])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let running = Running::start(&log, &database);
        until(async || {
            let status = running.projector.status().await.unwrap();
            let is_of_now = |name: &str, version| {
                let mut models = ALL.into_iter();
                models.any(|model| model.name == name && u64::from(model.version) == version)
            };
            status.len() == ALL.len() && status.iter().all(|s| is_of_now(&s.name, s.version))
        })
        .await;
        assert_eq!(dump(&database).await, before);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_model_of_another_log_is_thrown_away() {
    let (long, short) = (Log::new(), Log::new());
    talk(&long, 20).await;
    talk(&short, 2).await;
    let scratch = Scratch::new(Kinds::Sqlite).await;
    let database = scratch.open().await;
    let running = Running::start(&long, &database);
    running.caught_up(&long).await;
    running.stop().await.unwrap();
    let running = Running::start(&short, &database);
    until(async || {
        let status = running.projector.status().await.unwrap();
        status.len() == ALL.len() && status.iter().all(|s| s.position == short.head())
    })
    .await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn waiting_for_a_position_ends_when_it_is_there_or_the_time_is_over() {
    for kind in BOTH {
        let log = Log::new();
        talk(&log, 1).await;
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        let future = domain::Position(log.head().0 + 1);
        let none = std::time::Duration::ZERO;
        let behind = wait_for(&database, &ALL, future, none).await;
        assert!(matches!(behind, Err(ReadError::Behind(behind)) if behind.at == Some(log.head())));
        let while_it_comes = std::time::Duration::from_secs(5);
        let (at, in_a_hurry, ()) = tokio::join!(
            wait_for(&database, &ALL, future, while_it_comes),
            hurry_to(&database, &ALL, future, while_it_comes),
            async {
                log.register(user(9), "nine").await;
            }
        );
        assert_eq!(at.unwrap(), future);
        assert_eq!(in_a_hurry.unwrap(), future);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn waiting_for_a_position_outlasts_the_first_build() {
    for kind in BOTH {
        let log = Log::new();
        talk(&log, 1).await;
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let none = std::time::Duration::ZERO;
        let not_built = wait_for(&database, &ALL, log.head(), none).await;
        assert!(matches!(not_built, Err(ReadError::Behind(behind)) if behind.at.is_none()));
        let while_it_is_built = std::time::Duration::from_secs(5);
        let (at, running) = tokio::join!(
            wait_for(&database, &ALL, log.head(), while_it_is_built),
            async { Running::start(&log, &database) }
        );
        assert_eq!(at.unwrap(), log.head());
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_fit_is_tried_again_until_it_does() {
    let log = Log::new();
    talk(&log, 10).await;
    let scratch = Scratch::new(Kinds::Sqlite).await;
    let database = scratch.open().await;
    let running = Running::start(&log, &database);
    running.caught_up(&log).await;
    // SQLite grows the file no further, with the error of a full disk.
    limit_pages(&database, 1).await;
    talk(&log, 300).await;
    let a_while = std::time::Duration::from_secs(1);
    let full = wait_for(&database, &ALL, log.head(), a_while).await;
    assert!(matches!(full, Err(ReadError::Behind(_))));
    limit_pages(&database, 1_000_000).await;
    running.caught_up(&log).await;
    let status = running.projector.status().await.unwrap();
    assert!(status.iter().all(|status| status.parked == 0));
    let live = dump(&database).await;
    running.stop().await.unwrap();
    let scratch = Scratch::new(Kinds::Sqlite).await;
    let fresh = scratch.open().await;
    let running = Running::start(&log, &fresh);
    running.caught_up(&log).await;
    assert_eq!(dump(&fresh).await, live);
    running.stop().await.unwrap();
}

/// Holds for the one connection that writes.
async fn limit_pages(database: &infra::database::Database, pages: u64) {
    let mut transaction = database.write().await.unwrap();
    let sql = format!("PRAGMA max_page_count = {pages}");
    transaction.all(&sql, &[]).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_server_that_drops_its_connections_is_come_back_to() {
    let log = Log::new();
    talk(&log, 10).await;
    let mut scratch = Scratch::new(Kinds::Postgres).await;
    let name = format!("test-{}", fresh_id().simple());
    let plain = scratch.open().await;
    scratch.url = format!("{}&application_name={name}", scratch.url);
    let database = scratch.open().await;
    let running = Running::start(&log, &database);
    for _ in 0..10 {
        talk(&log, 20).await;
        let mut transaction = plain.write().await.unwrap();
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = $1";
        transaction.all(sql, &[name.as_str().into()]).await.unwrap();
        transaction.commit().await.unwrap();
        running.caught_up(&log).await;
    }
    let live = dump(&plain).await;
    running.stop().await.unwrap();
    let fresh = Scratch::new(Kinds::Postgres).await.open().await;
    let running = Running::start(&log, &fresh);
    running.caught_up(&log).await;
    assert_eq!(dump(&fresh).await, live);
    running.stop().await.unwrap();
}
