//! What concerned somebody, and of what they want to be told.

use domain::conversation::HistoryVisibility::Start;
use domain::conversation::{Mention, MentionedRole, MessageSent, Role};
use domain::notifications::{
    Level, NotificationsEvent, PushSubscriptionAdded, ReadUpTo, Rule, RuleChanged, Settings,
    SettingsChanged,
};
use domain::{Actor, Personal, Position, PushSubscriptionId, Seq, SessionId, StreamName, UserId};
use serde_json::{Value, json};

use crate::door::{Door, each};
use crate::harness::{BOTH, Kinds, Room, user};

const LIST: &str = "/v1/notifications";

async fn calls(room: &Room<'_>, author: UserId, mention: Mention) -> Seq {
    let call = |sent: &mut MessageSent| sent.mentions = [mention].into();
    room.say_as(author, "hey", call).await
}

/// Kind, message and reader's mark of each entry.
fn told(list: &Value) -> Value {
    let entries = list["notifications"].as_array().unwrap();
    let of = |entry: &Value| json!([entry["kind"], entry["message"], entry["read"]]);
    entries.iter().map(of).collect()
}

#[tokio::test]
async fn what_concerned_somebody_is_listed_newest_first() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(bob, &[alice, carol], Start).await;
        let mine = room.send(alice, "tea?").await;
        let named = calls(&room, bob, Mention::User(alice)).await;
        let all = calls(&room, carol, Mention::Everyone).await;
        let not_mine = calls(&room, carol, Mention::Role(MentionedRole::Admin)).await;
        let reply = |sent: &mut MessageSent| sent.reply_to = Some(mine);
        let reply = room.say_as(carol, "yes", reply).await;
        room.react(bob, mine, "+1").await;
        room.react(carol, mine, "-1").await;
        room.unreact(carol, mine, "-1").await;
        room.answer(bob, mine, "which?").await;
        let answer = room.answer(carol, mine, "green").await;
        room.send(bob, "not about alice").await;
        let gone = calls(&room, bob, Mention::User(alice)).await;
        room.delete(bob, gone).await;
        let list = door.get(alice, LIST).await;
        let expected = json!([
            ["thread_answer", answer, false],
            ["reaction", mine, false],
            ["reply", reply, false],
            ["mention", all, false],
            ["mention", named, false],
            ["added", null, false],
        ]);
        assert_eq!(told(&list), expected);
        assert_eq!(list["unread"], 6);
        assert_eq!(list["notifications"][1]["emoji"], "+1");
        assert_eq!(list["notifications"][2]["preview"], "yes");
        assert_eq!(list["notifications"][2]["by"], json!(carol));
        // Page by page it is the same.
        let mut walked = Vec::new();
        let mut path = format!("{LIST}?limit=1");
        loop {
            let page = door.get(alice, &path).await;
            walked.extend(told(&page).as_array().unwrap().clone());
            let Some(next) = page.get("next") else { break };
            path = format!("{LIST}?limit=1&before={next}");
        }
        assert_eq!(json!(walked), expected);
        // As the owner bob is called with the admins.
        let of_bob = door.get(bob, LIST).await;
        assert_eq!(
            told(&of_bob),
            json!([
                ["thread_answer", answer, false],
                ["mention", not_mine, false],
                ["mention", all, false],
            ])
        );
        door.log.block(alice, carol, true).await;
        let without = door.get(alice, LIST).await;
        let by = each(&without["notifications"], "by");
        assert_eq!(by, vec![json!(bob); 4], "{without}");
        room.remove(alice, bob).await;
        assert_eq!(door.get(alice, LIST).await["notifications"], json!([]));
        door.close().await;
    }
}

#[tokio::test]
async fn what_is_read_or_seen_is_not_counted() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        let first = calls(&room, alice, Mention::User(bob)).await;
        calls(&room, alice, Mention::User(bob)).await;
        let third = calls(&room, alice, Mention::Everyone).await;
        let list = door.get(bob, LIST).await;
        assert_eq!(list["unread"], 4);
        room.seen(bob, first).await;
        let list = door.get(bob, LIST).await;
        assert_eq!(list["unread"], 2);
        assert_eq!(
            each(&list["notifications"], "read"),
            [false, false, true, true]
        );
        let up_to = list["notifications"][1]["position"].as_u64().unwrap();
        let read = NotificationsEvent::ReadUpTo(ReadUpTo {
            position: Position(up_to),
        });
        door.log.tell(bob, read).await;
        let list = door.get(bob, LIST).await;
        assert_eq!(
            (&list["unread"], &list["read_up_to"]),
            (&json!(1), &json!(up_to))
        );
        room.seen(bob, third).await;
        assert_eq!(door.get(bob, LIST).await["unread"], 0);
        let stream = StreamName::conversation(room.id);
        let role = domain::conversation::MemberRoleChanged {
            user: bob,
            role: Role::Admin,
        };
        let role = domain::conversation::ConversationEvent::MemberRoleChanged(role);
        door.log.append_by(stream, role, Actor::User(alice)).await;
        let list = door.get(bob, LIST).await;
        assert_eq!(list["notifications"][0]["kind"], "role_changed");
        assert_eq!(list["notifications"][0]["role"], "admin");
        assert_eq!(list["unread"], 1);
        door.close().await;
    }
}

#[tokio::test]
async fn of_the_calls_for_everyone_the_last_hundred_are_listed() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        for _ in 0..103 {
            calls(&room, alice, Mention::Everyone).await;
        }
        let list = door.get(bob, &format!("{LIST}?limit=100")).await;
        assert_eq!(list["unread"], 100);
        let path = format!("{LIST}?before={}", list["next"]);
        let rest = door.get(bob, &path).await;
        assert_eq!(told(&rest), json!([["added", null, false]]));
        door.close().await;
    }
}

#[tokio::test]
async fn what_one_set_is_ones_own() {
    let door = Door::open(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let room = door.log.group(alice, &[bob], Start).await;
    let path = "/v1/users/me/notifications";
    let unset = door.get(alice, path).await;
    assert_eq!(
        (&unset["direct"], &unset["rules"]),
        (&json!("all"), &json!([]))
    );
    let rule = Rule {
        level: Some(Level::None),
        muted_until: None,
    };
    let changed = RuleChanged {
        conversation: room.id,
        rule,
    };
    door.log
        .tell(alice, NotificationsEvent::RuleChanged(changed))
        .await;
    let settings = Settings {
        groups: Some(Level::Mentions),
        digest_after_s: Some(3_600),
        ..Settings::default()
    };
    let changed = SettingsChanged {
        settings: Personal::new(alice, settings),
    };
    door.log
        .tell(alice, NotificationsEvent::SettingsChanged(changed))
        .await;
    let own = door.get(alice, "/v1/sessions").await["sessions"][0]["id"].clone();
    let added = PushSubscriptionAdded {
        subscription: PushSubscriptionId(alice.0),
        target: Personal::new(alice, "sealed".to_owned()),
        mark: "00".to_owned(),
        session: serde_json::from_value(own).unwrap(),
        at: door.log.clock.now(),
    };
    let of_an_ended_login = PushSubscriptionAdded {
        subscription: PushSubscriptionId(bob.0),
        session: SessionId(alice.0),
        ..added.clone()
    };
    for added in [added, of_an_ended_login] {
        door.log
            .tell(alice, NotificationsEvent::PushSubscriptionAdded(added))
            .await;
    }
    let set = door.get(alice, path).await;
    assert_eq!(
        (&set["groups"], &set["digest_after_s"]),
        (&json!("mentions"), &json!(3_600))
    );
    assert_eq!(
        set["rules"],
        json!([{ "conversation": room.id, "level": "none" }])
    );
    let browsers = "/v1/users/me/push-subscriptions";
    let mine = door.get(alice, browsers).await;
    assert_eq!(each(&mine["subscriptions"], "current"), [true]);
    assert!(!mine.to_string().contains("sealed"), "{mine}");
    assert_eq!(door.get(bob, browsers).await["subscriptions"], json!([]));
    assert_eq!(door.get(bob, path).await["rules"], json!([]));
    assert_eq!(
        door.get(bob, "/v1/push/key").await,
        json!({ "key": "a key" })
    );
    let (_, export) = door.text(alice, "/v1/users/me/export").await;
    assert!(export.contains("push-subscription-added") && !export.contains("sealed"));
    door.close().await;
}
