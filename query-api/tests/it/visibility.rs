//! Who may see what: newcomers, those who left, those who came back, and strangers.

use domain::conversation::HistoryVisibility::{Joined, Start};
use serde_json::json;

use crate::door::{Door, each};
use crate::harness::{BOTH, user};

#[tokio::test]
async fn a_stranger_is_told_that_there_is_no_such_conversation() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let room = door.log.group(user(1), &[], Start).await;
        let seq = room.send(user(1), "secret").await;
        let nowhere = domain::ConversationId(uuid::Uuid::from_u128(77));
        for rest in [
            String::new(),
            "/messages".to_owned(),
            format!("/messages/{seq}"),
            format!("/messages/{seq}/edits"),
            format!("/messages/{seq}/receipts"),
            "/pins".to_owned(),
            "/members".to_owned(),
        ] {
            let mut answers = Vec::new();
            for id in [room.id, nowhere] {
                let path = format!("/v1/conversations/{id}{rest}");
                answers.push(door.text(user(4), &path).await);
                let problem = door.problem(user(4), &path).await;
                assert_eq!(
                    problem,
                    (404, "conversation_not_found".to_owned()),
                    "{path}"
                );
            }
            assert_eq!(answers[0], answers[1], "the two cannot be told apart");
        }
        door.close().await;
    }
}

#[tokio::test]
async fn a_newcomer_sees_what_the_settings_allow() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[], Joined).await;
        let early = room.send(alice, "before").await;
        room.add(bob).await;
        let path = format!("/v1/conversations/{}", room.id);
        let listed = door.get(bob, "/v1/conversations").await;
        assert_eq!(listed["conversations"][0].get("last_message"), None);
        let hidden = door.problem(bob, &format!("{path}/messages/{early}")).await;
        assert_eq!(hidden, (404, "message_not_found".to_owned()));
        let hidden = door
            .problem(bob, &format!("{path}/messages/{early}/receipts"))
            .await;
        assert_eq!(hidden, (404, "message_not_found".to_owned()));
        let late = room.send(alice, "after").await;
        let page = door.get(bob, &format!("{path}/messages")).await;
        assert_eq!(each(&page["messages"], "seq"), [json!(late)]);
        assert_eq!(page.get("prev"), None);
        room.show_history(Start).await;
        room.add(carol).await;
        let page = door.get(carol, &format!("{path}/messages")).await;
        assert_eq!(each(&page["messages"], "seq"), [json!(early), json!(late)]);
        let unread = door.get(carol, &path).await;
        assert_eq!(unread["unread"], 0);
        door.close().await;
    }
}

#[tokio::test]
async fn one_who_left_sees_it_as_it_was_then() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob, carol], Start).await;
        room.rename(alice, "As it was").await;
        let kept = room.send(alice, "as it was").await;
        let edited = room.edit(alice, kept, "as it was, edited").await;
        let gone = room.send(alice, "to be deleted").await;
        room.react(carol, kept, "+1").await;
        let left = room.leave(bob).await;
        room.edit(alice, kept, "as it never was for bob").await;
        room.react(alice, kept, "+1").await;
        room.delete(alice, gone).await;
        room.rename(alice, "As it is").await;
        room.archive(alice).await;
        let later = room.send(alice, "later").await;
        room.seen(carol, later).await;
        let path = format!("/v1/conversations/{}", room.id);

        let conversation = door.get(bob, &path).await;
        assert_eq!(conversation["title"], "As it was");
        assert_eq!(conversation["archived"], false);
        assert_eq!(conversation["head_seq"], json!(left));
        assert_eq!(conversation.get("role"), None);
        assert_eq!(conversation["last_message"]["seq"], json!(gone));
        assert_eq!(conversation["last_message"].get("preview"), None);
        let page = door.get(bob, &format!("{path}/messages")).await;
        assert_eq!(each(&page["messages"], "seq"), [json!(kept), json!(gone)]);
        let message = &page["messages"][0];
        assert_eq!(message["body"], "as it was, edited");
        assert_eq!(message["edited"]["seq"], json!(edited));
        assert_eq!(message["reactions"][0]["count"], 1);
        assert_eq!(page["messages"][1].get("body"), None, "a delete is for all");
        assert_eq!(page["messages"][1]["deleted"], json!({}));
        assert_eq!(page.get("next"), None);
        let receipts = door
            .get(bob, &format!("{path}/messages/{kept}/receipts"))
            .await;
        assert_eq!(
            each(&receipts["receipts"], "member"),
            [json!(bob), json!(carol)]
        );
        assert_eq!(
            receipts["receipts"][1].get("seen"),
            None,
            "seen after bob left"
        );
        let members = door.get(bob, &format!("{path}/members")).await;
        assert_eq!(
            each(&members["members"], "member"),
            [json!(alice), json!(bob), json!(carol)]
        );
        let mine = door.get(bob, "/v1/conversations").await;
        assert_eq!(mine["conversations"], json!([]));

        // Those who stayed see it as it is.
        let message = door.get(carol, &format!("{path}/messages/{kept}")).await;
        assert_eq!(message["body"], "as it never was for bob");
        let receipts = door
            .get(carol, &format!("{path}/messages/{kept}/receipts"))
            .await;
        assert_eq!(receipts["receipts"][1]["seen"]["seq"], json!(later));
        door.close().await;
    }
}

#[tokio::test]
async fn one_who_came_back_sees_nothing_of_between() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Joined).await;
        let first = room.send(alice, "1").await;
        room.remove(bob, alice).await;
        let between = room.send(alice, "2").await;
        room.add(bob).await;
        let last = room.send(alice, "3").await;
        let path = format!("/v1/conversations/{}/messages", room.id);
        let seen = [json!(first), json!(last)];
        for query in ["", "?after=0", "?before=99", &format!("?around={between}")] {
            let page = door.get(bob, &format!("{path}{query}")).await;
            assert_eq!(each(&page["messages"], "seq"), seen, "{query}");
        }
        let hidden = door.problem(bob, &format!("{path}/{between}")).await;
        assert_eq!(hidden, (404, "message_not_found".to_owned()));
        door.close().await;
    }
}
