//! What others learn of what somebody does: what they have seen, which version of it, when they were
//! here, what they are up to.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::conversation::HistoryVisibility::{Joined, Start};
use domain::user::Shown;
use serde_json::{Value, json};

use crate::door::{Door, each};
use crate::harness::{BOTH, Kinds, user};

#[tokio::test]
async fn what_was_seen_in_private_counts_for_oneself_alone() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let room = door.log.group(alice, &[bob], Start).await;
        let first = room.send(alice, "one").await;
        let second = room.send(alice, "two").await;
        room.delivered(bob, second).await;
        room.seen_as(bob, first, true).await;
        let path = format!("/v1/conversations/{}", room.id);
        assert_eq!(door.get(bob, &path).await["unread"], 1);
        let receipts = format!("{path}/messages/{first}/receipts");
        let seen = async |who| door.get(who, &receipts).await["receipts"][0]["seen"].clone();
        assert_eq!(seen(alice).await, Value::Null);
        assert_eq!(seen(bob).await["seq"], json!(first));
        let others = door.get(alice, &receipts).await;
        let delivered = &others["receipts"][0]["delivered"];
        assert_eq!(delivered["seq"], json!(second));
        // Said to everybody from here on: it covers what was before.
        room.seen(bob, second).await;
        assert_eq!(seen(alice).await["seq"], json!(second));
        assert_eq!(seen(bob).await["seq"], json!(first));
        assert_eq!(door.get(bob, &path).await["unread"], 0);
        door.close().await;
    }
}

#[tokio::test]
async fn a_version_is_seen_by_who_saw_it_after_the_edit() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol, dave) = (user(1), user(2), user(3), user(4));
        let room = door.log.group(alice, &[bob, carol, dave], Joined).await;
        let seq = room.send(alice, "soup").await;
        let other = room.send(alice, "else").await;
        room.seen(bob, seq).await;
        room.seen(carol, other).await;
        room.leave(dave).await;
        let edit = room.edit(alice, seq, "noodles").await;
        room.delivered(bob, edit).await;
        room.seen(carol, edit).await;
        let path = format!("/v1/conversations/{}/messages/{seq}/receipts", room.id);
        let of = async |version: String| door.get(alice, &format!("{path}{version}")).await;
        let all = of(String::new()).await;
        let members = [json!(bob), json!(carol), json!(dave)];
        assert_eq!(each(&all["receipts"], "member"), members);
        assert_eq!(all["receipts"][0]["seen"]["seq"], json!(seq));
        assert_eq!(all, of(format!("?edit={seq}")).await, "as it was sent");
        let edited = of(format!("?edit={edit}")).await;
        assert_eq!(each(&edited["receipts"], "member"), members[..2]);
        assert_eq!(edited["receipts"][0].get("seen"), None);
        assert_eq!(edited["receipts"][0]["delivered"]["seq"], json!(edit));
        assert_eq!(edited["receipts"][1]["seen"]["seq"], json!(edit));
        let missing = (404, "edit_not_found".to_owned());
        for none in ["0".to_owned(), "99".to_owned(), other.to_string()] {
            let refused = door.problem(alice, &format!("{path}?edit={none}")).await;
            assert_eq!(refused, missing, "{none}");
        }
        let left = door.problem(dave, &format!("{path}?edit={edit}")).await;
        assert_eq!(left, missing, "an edit that one does not see");
        let wrong = door.problem(alice, &format!("{path}?edit=last")).await;
        assert_eq!(wrong.0, 400);
        room.delete(alice, seq).await;
        let gone = door.problem(alice, &format!("{path}?edit={edit}")).await;
        assert_eq!(gone, missing);
        door.close().await;
    }
}

#[tokio::test]
async fn when_somebody_was_here_is_for_those_who_tell_it_of_themselves() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob], Start).await;
        let path = format!("/v1/users/{bob}");
        let last_seen = async |who| -> Option<DateTime<Utc>> {
            let found = door.get(who, &path).await;
            let at = found.get("last_seen_at")?.as_str().unwrap().to_owned();
            Some(at.parse().unwrap())
        };
        let minute = || {
            let minute = TimeDelta::minutes(1);
            door.log.clock.now().duration_trunc(minute).unwrap()
        };
        assert!(last_seen(alice).await.is_some(), "he logged in");
        assert_eq!(last_seen(carol).await, None, "they share nothing");
        let seq = room.send(alice, "one").await;
        door.log
            .clock
            .set(door.log.clock.now() + TimeDelta::hours(3));
        room.seen(bob, seq).await;
        let seen = minute();
        assert_eq!(last_seen(alice).await, Some(seen));
        // What he keeps to himself does not tell it either.
        let seq = room.send(alice, "two").await;
        door.log
            .clock
            .set(door.log.clock.now() + TimeDelta::hours(3));
        room.seen_as(bob, seq, true).await;
        assert_eq!(last_seen(alice).await, Some(seen));

        door.log.private(alice, true).await;
        assert_eq!(last_seen(alice).await, None, "she tells nobody herself");
        door.log.private(alice, false).await;
        door.log.block(bob, alice, true).await;
        assert_eq!(last_seen(alice).await, None);
        door.log.block(bob, alice, false).await;
        door.log.private(bob, true).await;
        assert_eq!(last_seen(alice).await, None);
        assert_eq!(last_seen(bob).await, Some(seen), "he knows it himself");
        door.log.private(bob, false).await;
        room.leave(bob).await;
        assert_eq!(last_seen(alice).await, None, "they share nothing now");
        door.close().await;
    }
}

#[tokio::test]
async fn what_one_chose_is_shown_to_oneself_until_it_ends() {
    let door = Door::open(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let me = door.get(alice, "/v1/users/me").await;
    let open = json!({"seen": "everyone", "last_seen": "everyone"});
    assert_eq!(me["privacy"], open);
    assert_eq!(me["presence"], json!({"shown": "automatic"}));
    door.log.private(alice, true).await;
    let until = door.log.clock.now() + TimeDelta::hours(1);
    door.log.choose(alice, Shown::Invisible, Some(until)).await;
    door.log.status(alice, "Lunch", until).await;
    let me = door.get(alice, "/v1/users/me").await;
    let closed = json!({"seen": "nobody", "last_seen": "nobody"});
    assert_eq!(me["privacy"], closed);
    assert_eq!(me["presence"]["shown"], "invisible");
    let path = format!("/v1/users/{alice}");
    let shown = door.get(bob, &path).await;
    assert_eq!(shown["status_text"], "Lunch");
    assert_eq!(shown["status_emoji"], "🍜");
    assert!(shown["status_until"].is_string());
    for hidden in ["privacy", "presence"] {
        assert_eq!(shown.get(hidden), None);
    }
    door.log.clock.set(until);
    let me = door.get(alice, "/v1/users/me").await;
    assert_eq!(me["presence"], json!({"shown": "automatic"}));
    let shown = door.get(bob, &path).await;
    for over in ["status_text", "status_emoji", "status_until"] {
        assert_eq!(shown.get(over), None, "{over}");
    }
    door.close().await;
}
