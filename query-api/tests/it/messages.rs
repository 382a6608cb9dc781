//! What messages say and said before, which are pinned, and whom they call.

use domain::conversation::HistoryVisibility::{Joined, Start};
use domain::conversation::{
    Content, Encrypted, Mention, MentionedRole, MessageSent, Origin, Role, TextFormat, WhoMayPost,
};
use domain::values::MessageBody;
use serde_json::json;

use crate::door::{Door, each};
use crate::harness::{BOTH, user};

#[tokio::test]
async fn those_who_see_a_message_read_what_it_said_before() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob], Joined).await;
        let seq = room.send(alice, "one").await;
        let second = room.edit(alice, seq, "two").await;
        room.leave(bob).await;
        room.add(carol).await;
        let third = room.edit(alice, seq, "three").await;
        let path = format!("/v1/conversations/{}/messages/{seq}/edits", room.id);
        let answer = door.get(alice, &path).await;
        assert_eq!(
            each(&answer["edits"], "seq"),
            [json!(seq), json!(second), json!(third)]
        );
        assert_eq!(each(&answer["edits"], "body"), ["one", "two", "three"]);
        assert_eq!(answer.get("next"), None);
        let first = door.get(alice, &format!("{path}?limit=2")).await;
        assert_eq!(each(&first["edits"], "body"), ["one", "two"]);
        let next = &first["next"];
        let rest = door
            .get(alice, &format!("{path}?limit=2&after={next}"))
            .await;
        assert_eq!(each(&rest["edits"], "body"), ["three"]);
        let left = door.get(bob, &path).await;
        assert_eq!(each(&left["edits"], "body"), ["one", "two"]);
        let newcomer = door.problem(carol, &path).await;
        assert_eq!(newcomer, (404, "message_not_found".to_owned()));
        door.close().await;
    }
}

#[tokio::test]
async fn a_deleted_message_says_nothing_of_what_it_said_before() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let seq = room.send(alice, "one").await;
        room.edit(alice, seq, "two").await;
        room.delete(alice, seq).await;
        let path = format!("/v1/conversations/{}/messages/{seq}/edits", room.id);
        assert_eq!(door.get(alice, &path).await["edits"], json!([]));
        door.close().await;
    }
}

#[tokio::test]
async fn pins_come_last_pinned_first_to_those_who_see_them() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob], Joined).await;
        let (one, two) = (room.send(bob, "one").await, room.send(bob, "two").await);
        room.react(bob, one, "+1").await;
        room.add(carol).await;
        let three = room.send(bob, "three").await;
        let mut pinned = Vec::new();
        for seq in [two, three, one] {
            pinned.push(room.pin(alice, seq).await);
        }
        let path = format!("/v1/conversations/{}/pins", room.id);
        let pins = door.get(bob, &path).await;
        assert_eq!(
            each(&pins["pins"], "seq"),
            [json!(one), json!(three), json!(two)]
        );
        assert_eq!(pins["pins"][0]["reactions"][0]["emoji"], "+1");
        assert_eq!(pins["pins"][0]["pinned"]["by"], json!(alice));
        assert_eq!(pins["pins"][0]["pinned"]["seq"], json!(pinned[2]));
        let newcomer = door.get(carol, &path).await;
        assert_eq!(each(&newcomer["pins"], "seq"), [json!(three)]);
        room.unpin(alice, three).await;
        room.delete(bob, two).await;
        let pins = door.get(bob, &path).await;
        assert_eq!(each(&pins["pins"], "seq"), [json!(one)]);
        let message = format!("/v1/conversations/{}/messages/{three}", room.id);
        assert_eq!(door.get(bob, &message).await.get("pinned"), None);
        door.close().await;
    }
}

#[tokio::test]
async fn a_message_says_how_it_is_meant() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let path = format!("/v1/conversations/{}", room.id);
        let markdown = Content::Text {
            body: MessageBody::parse_markdown("*tea*").unwrap(),
            format: TextFormat::Markdown,
        };
        let seq = room
            .say_as(alice, "", |sent| sent.said = markdown.said_by(alice))
            .await;
        let message = door.get(alice, &format!("{path}/messages/{seq}")).await;
        assert_eq!(message["format"], "markdown");
        assert_eq!(message["body"], "*tea*");
        let envelope = Encrypted {
            algorithm: "a".to_owned(),
            key_ids: vec!["k".to_owned()],
            nonce: "AAAA".to_owned(),
            ciphertext: "3q2+7w==".to_owned(),
        };
        let content = Content::Encrypted(envelope.clone());
        let seq = room
            .say_as(alice, "", |sent| sent.said = content.said_by(alice))
            .await;
        let message = door.get(alice, &format!("{path}/messages/{seq}")).await;
        assert_eq!(message["format"], "encrypted");
        assert_eq!(message["encrypted"], json!(envelope));
        assert_eq!(message.get("body"), None);
        let edits = format!("{path}/messages/{seq}/edits");
        let edits = door.get(alice, &edits).await;
        assert_eq!(edits["edits"][0]["encrypted"], json!(envelope));
        let conversation = door.get(alice, &path).await;
        assert_eq!(conversation["last_message"]["format"], "encrypted");
        assert_eq!(conversation["last_message"].get("preview"), None);
        room.delete(alice, seq).await;
        let message = door.get(alice, &format!("{path}/messages/{seq}")).await;
        assert_eq!(message.get("encrypted"), None);
        door.close().await;
    }
}

#[tokio::test]
async fn what_calls_somebody_is_counted_until_they_have_seen_it() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob, carol], Start).await;
        room.change_role(carol, Role::Admin).await;
        let path = format!("/v1/conversations/{}", room.id);
        let counts = async || {
            let mut counts = Vec::new();
            for who in [alice, bob, carol] {
                counts.push(door.get(who, &path).await["mention_count"].clone());
            }
            counts
        };
        let call = async |author, mentions: &[Mention]| {
            let mentions = mentions.iter().copied().collect();
            let with = |sent: &mut MessageSent| sent.mentions = mentions;
            room.say_as(author, "hey", with).await
        };
        room.send(alice, "nobody is called").await;
        call(alice, &[Mention::Here]).await;
        assert_eq!(counts().await, [0, 0, 0]);
        let first = call(alice, &[Mention::User(bob), Mention::Everyone]).await;
        assert_eq!(counts().await, [0, 1, 1]);
        call(bob, &[Mention::Role(MentionedRole::Admin)]).await;
        call(bob, &[Mention::Role(MentionedRole::Owner)]).await;
        assert_eq!(counts().await, [2, 1, 2]);
        let gone = call(alice, &[Mention::User(bob)]).await;
        assert_eq!(counts().await, [2, 2, 2]);
        room.delete(alice, gone).await;
        assert_eq!(counts().await, [2, 1, 2]);
        room.seen(bob, first).await;
        assert_eq!(counts().await, [2, 0, 2]);
        let message = door.get(bob, &format!("{path}/messages/{first}")).await;
        assert_eq!(message["mentions"], json!([{"user": bob}, "everyone"]));
        door.close().await;
    }
}

#[tokio::test]
async fn where_a_message_comes_from_is_told_to_those_who_see_that_one() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let from = door.log.group(alice, &[bob], Start).await;
        let to = door.log.group(bob, &[alice, carol], Start).await;
        let origin = Origin {
            conversation: from.id,
            message: from.send(alice, "tea?").await,
            author: alice,
        };
        let forward = |sent: &mut MessageSent| sent.origin = Some(origin);
        let seq = to.say_as(bob, "tea?", forward).await;
        let path = format!("/v1/conversations/{}/messages/{seq}", to.id);
        let seen = door.get(alice, &path).await;
        assert_eq!(seen["link"], json!(path));
        assert_eq!(
            seen["forwarded"],
            json!({"conversation": from.id, "message": origin.message, "author": alice})
        );
        assert_eq!(door.get(carol, &path).await["forwarded"], json!({}));
        let plain = to.send(bob, "mine").await;
        let path = format!("/v1/conversations/{}/messages/{plain}", to.id);
        assert_eq!(door.get(alice, &path).await.get("forwarded"), None);
        door.close().await;
    }
}

#[tokio::test]
async fn the_timeline_tells_who_came_and_went() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob], Start).await;
        let said = room.send(alice, "tea?").await;
        let added = room.add(carol).await;
        let raised = room.change_role(carol, Role::Admin).await;
        let removed = room.remove(bob, alice).await;
        let left = room.leave(carol).await;
        let after = room.send(alice, "nobody?").await;
        let path = format!("/v1/conversations/{}", room.id);
        let timeline = format!("{path}/messages?which=timeline");
        let timeline = door.get(alice, &timeline).await;
        let seqs = [said, added, raised, removed, left, after].map(|seq| json!(seq));
        assert_eq!(each(&timeline["messages"], "seq"), seqs);
        let system = each(&timeline["messages"], "system");
        assert_eq!(
            system[1..5],
            [
                json!({"type": "member-added", "user": carol, "role": "member"}),
                json!({"type": "member-role-changed", "user": carol, "role": "admin"}),
                json!({"type": "member-removed", "user": bob}),
                json!({"type": "member-left", "user": carol}),
            ]
        );
        assert_eq!(timeline["messages"][3]["author"], json!(alice));
        let all = door.get(alice, &format!("{path}/messages")).await;
        assert_eq!(each(&all["messages"], "seq"), [json!(said), json!(after)]);
        let one = format!("{path}/messages/{added}");
        let refused = door.problem(alice, &one).await;
        assert_eq!(refused, (404, "message_not_found".to_owned()));
        room.add(bob).await;
        let unread = door.get(bob, &path).await["unread"].clone();
        assert_eq!(unread, 0, "what nobody wrote is not new");
        door.close().await;
    }
}

#[tokio::test]
async fn a_conversation_says_who_may_write_and_how_often() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        room.set(Start, Some(30), Some(WhoMayPost::Admins)).await;
        room.leave(bob).await;
        room.set(Start, Some(0), None).await;
        let path = format!("/v1/conversations/{}", room.id);
        let now = door.get(alice, &path).await;
        assert_eq!(
            (&now["slow_mode_s"], &now["who_may_post"]),
            (&json!(0), &json!("admins"))
        );
        let then = door.get(bob, &path).await;
        assert_eq!(then["slow_mode_s"], 30);
        door.close().await;
    }
}
