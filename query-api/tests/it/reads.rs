//! What members read.

use axum::http::StatusCode;
use domain::conversation::HistoryVisibility::Start;
use serde_json::{Value, json};

use crate::door::{Door, each};
use crate::harness::{BOTH, Kinds, user};

#[tokio::test]
async fn my_conversations_come_newest_activity_first_with_what_is_unread() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let first = door.log.group(alice, &[bob], Start).await;
        let second = door.log.group(alice, &[bob], Start).await;
        let third = door.log.group(alice, &[], Start).await;
        let seq = second.send(alice, "hello").await;
        let seen = first.send(alice, "one").await;
        first.send(alice, "two").await;
        first.seen(bob, seen).await;
        let answer = door.get(bob, "/v1/conversations").await;
        assert_eq!(
            each(&answer["conversations"], "id"),
            [json!(first.id), json!(second.id)]
        );
        assert_eq!(each(&answer["conversations"], "unread"), [1, 1]);
        assert_eq!(answer["conversations"][0]["seen_seq"], json!(seen));
        assert_eq!(
            answer["conversations"][1]["last_message"]["seq"],
            json!(seq)
        );
        assert_eq!(
            answer["conversations"][1]["last_message"]["preview"],
            "hello"
        );
        assert_eq!(answer["conversations"][0]["role"], "member");
        assert_eq!(answer["position"], json!(door.log.head()));
        assert_eq!(answer.get("next"), None);

        let mut walked = Vec::new();
        let mut path = "/v1/conversations?limit=1".to_owned();
        loop {
            let page = door.get(alice, &path).await;
            walked.extend(each(&page["conversations"], "id"));
            let Some(next) = page.get("next") else { break };
            path = format!("/v1/conversations?limit=1&before={next}");
        }
        let all = [json!(first.id), json!(second.id), json!(third.id)];
        assert_eq!(walked, all);
        door.close().await;
    }
}

#[tokio::test]
async fn a_direct_conversation_says_who_the_other_is() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let id = domain::ConversationId::direct(alice, bob);
        let member = |user| domain::conversation::MemberRole {
            user,
            role: domain::conversation::Role::Member,
        };
        let started = domain::conversation::Started {
            kind: domain::conversation::Kind::Direct,
            title: None,
            creator: Some(alice),
            members: vec![member(alice), member(bob)],
            history_visibility: Start,
        };
        let room = door.log.room(id);
        room.say(domain::conversation::ConversationEvent::Started(started))
            .await;
        let answer = door.get(alice, &format!("/v1/conversations/{id}")).await;
        assert_eq!(answer["with"], json!(bob));
        assert_eq!(answer["kind"], "direct");
        door.close().await;
    }
}

#[tokio::test]
async fn pages_of_messages_meet_without_gap_or_overlap() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let mut sent = Vec::new();
        for number in 0..23 {
            sent.push(json!(room.send(alice, &format!("{number}")).await));
            room.react(alice, domain::Version(2), "+1").await;
            room.unreact(alice, domain::Version(2), "+1").await;
        }
        let path = format!("/v1/conversations/{}/messages", room.id);
        for limit in [1, 4, 23, 50] {
            let mut backward: Vec<Value> = Vec::new();
            let mut query = format!("?limit={limit}");
            loop {
                let page = door.get(alice, &format!("{path}{query}")).await;
                backward.splice(0..0, each(&page["messages"], "seq"));
                let Some(prev) = page.get("prev") else { break };
                query = format!("?limit={limit}&before={prev}");
            }
            assert_eq!(backward, sent, "backward by {limit}");
            let mut forward: Vec<Value> = Vec::new();
            let mut query = format!("?limit={limit}&after=0");
            loop {
                let page = door.get(alice, &format!("{path}{query}")).await;
                forward.extend(each(&page["messages"], "seq"));
                let Some(next) = page.get("next") else { break };
                query = format!("?limit={limit}&after={next}");
            }
            assert_eq!(forward, sent, "forward by {limit}");
        }
        let around = &sent[10];
        let page = door
            .get(alice, &format!("{path}?limit=4&around={around}"))
            .await;
        assert_eq!(each(&page["messages"], "seq"), sent[8..12]);
        assert_eq!(page["prev"], sent[8]);
        assert_eq!(page["next"], sent[11]);
        let beyond = door
            .get(alice, &format!("{path}?after=18446744073709551615"))
            .await;
        assert_eq!(beyond["messages"], json!([]));
        door.close().await;
    }
}

#[tokio::test]
async fn a_message_shows_edits_reactions_and_that_it_was_deleted() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        let seq = room.send(alice, "first").await;
        let edit = room.edit(alice, seq, "better").await;
        room.react(bob, seq, "+1").await;
        room.react(alice, seq, "eyes").await;
        room.react(alice, seq, "+1").await;
        let path = format!("/v1/conversations/{}/messages/{seq}", room.id);
        let answer = door.get(alice, &path).await;
        assert_eq!(answer["body"], "better");
        assert_eq!(answer["edited"]["seq"], json!(edit));
        assert_eq!(
            answer["reactions"],
            json!([
                {"emoji": "+1", "count": 2, "mine": true, "members": [bob, alice]},
                {"emoji": "eyes", "count": 1, "mine": true, "members": [alice]},
            ])
        );
        room.delete(bob, seq).await;
        let answer = door.get(alice, &path).await;
        assert_eq!(answer.get("body"), None);
        assert_eq!(answer.get("reactions"), None);
        assert_eq!(answer["deleted"]["by"], json!(bob));
        assert_eq!(answer["deleted"]["reason"], "a reason");
        door.close().await;
    }
}

#[tokio::test]
async fn who_has_seen_a_message_is_paged_by_member() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob, carol], Start).await;
        let seq = room.send(alice, "look").await;
        room.delivered(carol, seq).await;
        room.seen(bob, seq).await;
        let path = format!("/v1/conversations/{}/messages/{seq}/receipts", room.id);
        let answer = door.get(alice, &format!("{path}?limit=1")).await;
        assert_eq!(answer["receipts"][0]["member"], json!(bob));
        assert_eq!(answer["receipts"][0]["seen"]["seq"], json!(seq));
        assert_eq!(answer["receipts"][0].get("delivered"), None);
        assert_eq!(answer["next"], json!(bob));
        let answer = door.get(alice, &format!("{path}?after={bob}")).await;
        assert_eq!(each(&answer["receipts"], "member"), [json!(carol)]);
        assert_eq!(answer["receipts"][0]["delivered"]["seq"], json!(seq));
        assert_eq!(answer["receipts"][0].get("seen"), None);
        door.close().await;
    }
}

#[tokio::test]
async fn an_address_is_shown_to_its_owner_alone() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let me = door.get(alice, "/v1/users/me").await;
        assert_eq!(me["email"], "alice@example.org");
        assert_eq!(me["handle"], "alice");
        for path in [
            format!("/v1/users/{alice}"),
            "/v1/users?handle=ALICE".to_owned(),
        ] {
            let (status, text) = door.text(bob, &path).await;
            assert_eq!(status, StatusCode::OK);
            assert!(text.contains("\"handle\":\"alice\""), "{text}");
            assert!(!text.contains("example.org"), "{text}");
        }
        let nobody = door.get(bob, "/v1/users?handle=nobody").await;
        assert_eq!(nobody["users"], json!([]));
        let unknown = door.problem(bob, &format!("/v1/users/{}", user(77))).await;
        assert_eq!(unknown, (404, "user_not_found".to_owned()));
        door.close().await;
    }
}

#[tokio::test]
async fn my_sessions_are_mine_and_the_one_that_asks_is_marked() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let [phone, laptop] = [1, 2].map(|number| domain::SessionId(uuid::Uuid::from_u128(number)));
        let of_alice = door.get(alice, "/v1/sessions").await;
        assert_eq!(each(&of_alice["sessions"], "current"), [true]);
        let own: Value = of_alice["sessions"][0]["id"].clone();
        door.log.log_in(alice, phone).await;
        door.log.log_in(alice, laptop).await;
        door.log.log_out(laptop).await;
        let of_alice = door.get(alice, "/v1/sessions?limit=1").await;
        assert_eq!(each(&of_alice["sessions"], "id"), [json!(phone)]);
        assert_eq!(of_alice["sessions"][0]["device"], "A phone");
        assert_eq!(of_alice["sessions"][0]["current"], false);
        let next = &of_alice["next"];
        let of_alice = door
            .get(alice, &format!("/v1/sessions?before={next}"))
            .await;
        let ids = each(&of_alice["sessions"], "id");
        assert_eq!(ids, std::slice::from_ref(&own));
        assert_eq!(of_alice.get("next"), None);
        let kept = own.as_str().unwrap().parse().unwrap();
        door.log.log_out_everywhere(alice, 1, Some(kept)).await;
        let of_alice = door.get(alice, "/v1/sessions").await;
        assert_eq!(each(&of_alice["sessions"], "id"), [own]);
        let of_bob = door.get(bob, "/v1/sessions").await;
        assert_eq!(of_bob["sessions"].as_array().unwrap().len(), 1);
        door.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_problem() {
    let door = Door::open(Kinds::Sqlite).await;
    let alice = user(1);
    let room = door.log.group(alice, &[], Start).await;
    let messages = format!("/v1/conversations/{}/messages", room.id);
    for path in [
        format!("{messages}?before=1&after=2"),
        format!("{messages}?before=1&around=2"),
        format!("{messages}?after=-1"),
        format!("{messages}?limit=0"),
        format!("{messages}?limit=201"),
        format!("{messages}?unknown=1"),
        "/v1/conversations?before=x".to_owned(),
        "/v1/users?handle=!".to_owned(),
        "/v1/users".to_owned(),
        format!("/v1/conversations/{}/members?after=x", room.id),
    ] {
        let problem = door.problem(alice, &path).await;
        assert_eq!(problem, (400, "invalid_query".to_owned()), "{path}");
    }
    let no_id = door.problem(alice, "/v1/conversations/x").await;
    assert_eq!(no_id, (404, "not_found".to_owned()));
    let (status, _) = door.ask(None, "/v1/conversations").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    door.close().await;
}

#[tokio::test]
async fn a_position_that_does_not_come_is_a_problem_after_a_while() {
    let door = Door::open(Kinds::Sqlite).await;
    let future = door.log.head().0 + 1;
    let path = format!("/v1/users/me?min_position={future}");
    let behind = door.problem(user(1), &path).await;
    assert_eq!(behind, (503, "read_model_behind".to_owned()));
    let answered = tokio::join!(
        door.get(user(1), &path),
        door.log.grant(user(1), domain::user::SystemRole::Admin)
    );
    assert_eq!(answered.0["system_roles"], json!(["admin"]));
    door.close().await;
}

#[tokio::test]
async fn a_rebuild_changes_no_byte_of_an_answer() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        for number in 0..30 {
            let seq = room.send(alice, &format!("{number}")).await;
            room.react(bob, seq, "+1").await;
            room.edit(alice, seq, "edited").await;
            room.seen(bob, seq).await;
        }
        let paths = [
            "/v1/conversations".to_owned(),
            format!("/v1/conversations/{}", room.id),
            format!("/v1/conversations/{}/messages", room.id),
            format!("/v1/conversations/{}/messages/2/receipts", room.id),
            format!("/v1/conversations/{}/members", room.id),
            "/v1/users/me".to_owned(),
            "/v1/sessions".to_owned(),
        ];
        let mut before = Vec::new();
        for path in &paths {
            before.push(door.text(alice, path).await);
        }
        for name in crate::harness::ALL.map(|model| model.name) {
            door.running.projector.rebuild(name).unwrap().done().await;
        }
        let mut after = Vec::new();
        for path in &paths {
            after.push(door.text(alice, path).await);
        }
        assert_eq!(before, after);
        door.close().await;
    }
}

#[tokio::test]
async fn every_route_is_described_with_its_problems() {
    let door = Door::open(Kinds::Sqlite).await;
    let description: Value = serde_json::to_value(&door.api).unwrap();
    let paths = description["paths"].as_object().unwrap();
    assert!(!paths.is_empty(), "there are routes");
    for (path, methods) in paths {
        let route = &methods["get"];
        // Whoever has the address of a file may have the file: it is signed, and ends.
        if !path.starts_with("/v1/blobs/") {
            assert_eq!(route["security"], json!([{"bearer": []}]), "{path}");
        }
        for status in ["200", "400", "401", "500", "503"] {
            assert!(route["responses"].get(status).is_some(), "{path}: {status}");
        }
        let problem = &route["responses"]["400"]["content"]["application/problem+json"];
        assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem");
    }
    door.close().await;
}
