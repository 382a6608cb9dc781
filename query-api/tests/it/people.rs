//! People as others see them: the directory, standing, preferences, blocks; and services.

use domain::StreamName;
use domain::conversation::HistoryVisibility::Start;
use domain::user::{PasswordSet, SystemRole, UserEvent};
use serde_json::{Value, json};

use crate::door::{Door, each};
use crate::harness::{BOTH, Kinds, user};

#[tokio::test]
async fn the_directory_is_leafed_through_and_shows_who_wants_to_be_found() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        for number in 20..25_u8 {
            let found = user(number.into());
            door.log.register(found, &format!("zoe{number}")).await;
        }
        door.log.discoverable(user(21), false).await;
        door.log.block(user(22), alice, true).await;
        let first = door.get(alice, "/v1/users?query=ZO%C3%89&limit=2").await;
        assert_eq!(each(&first["users"], "handle"), ["zoe20", "zoe23"]);
        assert!(first["users"][0].get("email").is_none());
        let next = first["next"].as_str().unwrap();
        let path = format!("/v1/users?query=zoe&limit=2&after={next}");
        let second = door.get(alice, &path).await;
        assert_eq!(each(&second["users"], "handle"), ["zoe24"]);
        assert!(second.get("next").is_none());
        let by_mail = door.get(alice, "/v1/users?query=zoe20@example.org").await;
        assert_eq!(by_mail["users"], json!([]));
        for wrong in [
            "",
            "?query=z",
            "?query=a%20b",
            "?query=aa%20b%20c%20d%20e%20f",
            "?query=zoe&handle=zoe20",
            "?query=zoe&limit=101",
            "?handle=zoe20&limit=2",
        ] {
            let refused = door.problem(alice, &format!("/v1/users{wrong}")).await;
            assert_eq!(refused, (400, "invalid_query".to_owned()), "{wrong}");
        }
        door.close().await;
    }
}

#[tokio::test]
async fn who_is_not_active_is_seen_by_those_who_share_a_conversation() {
    let door = Door::open(Kinds::Sqlite).await;
    let (alice, bob, carol, dave) = (user(1), user(2), user(3), user(4));
    door.log.group(alice, &[bob], Start).await;
    door.log.grant(dave, SystemRole::Admin).await;
    let path = format!("/v1/users/{bob}");
    assert_eq!(door.get(carol, &path).await["active"], true);
    door.log.suspend(bob, false).await;
    let missing = (404, "user_not_found".to_owned());
    assert_eq!(door.problem(carol, &path).await, missing);
    let by_handle = door.get(carol, "/v1/users?handle=bob").await;
    assert_eq!(by_handle["users"], json!([]));
    for who in [alice, dave] {
        assert_eq!(door.get(who, &path).await["active"], false);
        let by_handle = door.get(who, "/v1/users?handle=bob").await;
        assert_eq!(each(&by_handle["users"], "active"), [false]);
    }
    let (status, _) = door.text(bob, &path).await;
    assert_eq!(status, 403, "who is suspended sees nothing");
    door.close().await;
}

#[tokio::test]
async fn preferences_and_blocks_are_ones_own() {
    let door = Door::open(Kinds::Sqlite).await;
    let alice = user(1);
    let path = "/v1/users/me/preferences";
    assert_eq!(door.get(alice, path).await["preferences"], json!({}));
    door.log.discoverable(alice, false).await;
    let preferences = door.get(alice, path).await;
    assert_eq!(preferences["preferences"], json!({"discoverable": false}));
    for number in [2, 3, 4] {
        door.log.block(alice, user(number), true).await;
    }
    door.log.block(alice, user(3), false).await;
    let page = door.get(alice, "/v1/users/me/blocks?limit=1").await;
    assert_eq!(each(&page["blocks"], "user"), [json!(user(2))]);
    let path = format!(
        "/v1/users/me/blocks?after={}",
        page["next"].as_str().unwrap()
    );
    let page = door.get(alice, &path).await;
    assert_eq!(each(&page["blocks"], "user"), [json!(user(4))]);
    assert!(page.get("next").is_none());
    let others = door.get(user(2), "/v1/users/me/blocks").await;
    assert_eq!(others["blocks"], json!([]));
    door.close().await;
}

#[tokio::test]
async fn services_are_listed_for_those_who_run_the_server() {
    let door = Door::open(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    door.log.grant(alice, SystemRole::Admin).await;
    door.log.service(7, true).await;
    door.log.service(8, true).await;
    let first = door.get(alice, "/v1/services?limit=1").await;
    assert_eq!(each(&first["services"], "scopes"), [json!(["analyst"])]);
    let path = format!("/v1/services?after={}", first["next"]);
    let second = door.get(alice, &path).await;
    assert_eq!(second["services"].as_array().map(Vec::len), Some(1));
    let forbidden = door.problem(bob, "/v1/services").await;
    assert_eq!(forbidden, (403, "forbidden".to_owned()));
    door.close().await;
}

#[tokio::test]
async fn ones_data_is_ones_own_without_secrets_and_on_the_record() {
    let door = Door::open(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let hash = domain::Personal::new(alice, "a secret".to_owned());
    let password = UserEvent::PasswordSet(PasswordSet { hash });
    door.log.append(StreamName::user(alice), password).await;
    let room = door.log.group(bob, &[alice], Start).await;
    let said = room.send(alice, "mine").await;
    room.send(bob, "not mine").await;
    room.react(alice, said, "+1").await;
    room.react(bob, said, "😀").await;
    room.seen(alice, said).await;
    room.seen(bob, said).await;
    door.log.block(bob, alice, true).await;
    let (status, text) = door.text(alice, "/v1/users/me/export").await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let types: Vec<&str> = lines
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    let expected = [
        "user-registered",
        "session-opened",
        "password-set",
        "conversation-started",
        "message-sent",
        "reaction-added",
        "seen-up-to",
    ];
    assert_eq!(types, expected);
    assert_eq!(lines[3]["data"]["role"], "member");
    assert_eq!(lines[4]["data"]["body"]["value"], "mine");
    for others in ["a secret", "not mine", "😀", &bob.to_string()] {
        assert!(!text.contains(others), "{others}: {text}");
    }
    let (_, again) = door.text(alice, "/v1/users/me/export").await;
    let last: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "data-exported");
    door.close().await;
}
