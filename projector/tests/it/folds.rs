//! What events become.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::conversation::HistoryVisibility::{Joined, Start};
use domain::user::{State, User, UserEvent};
use domain::{Decider as _, Position, SessionId, UserId};
use infra::read_models::receipts::Asked;
use infra::read_models::{
    Snapshot, conversations, members, messages, receipts, services, sessions, users,
};

use crate::harness::{ALL, BOTH, Log, Running, Scratch, registered, user, version};

/// A snapshot after a projector has caught up with the log, on each kind of database.
macro_rules! projected {
    ($log:ident, |$snapshot:ident| $check:expr) => {
        for kind in BOTH {
            let scratch = Scratch::new(kind).await;
            let database = scratch.open().await;
            let running = Running::start(&$log, &database);
            running.caught_up(&$log).await;
            let mut $snapshot = Snapshot::of(&database, &ALL).await.unwrap();
            $check;
            drop($snapshot);
            running.stop().await.unwrap();
        }
    };
}

#[tokio::test]
async fn of_edits_the_last_wins_and_a_delete_wins_over_all() {
    let log = Log::new();
    let (alice, bob) = (user(1), user(2));
    let room = log.group(alice, &[bob], Start).await;
    let first = room.send(alice, "one").await;
    let second = room.send(alice, "two").await;
    room.edit(alice, first, "one, edited").await;
    let edited = room.edit(alice, first, "one, edited again").await;
    room.react(bob, second, "+1").await;
    let deleted = room.delete(bob, second).await;
    room.edit(alice, second, "two, too late").await;
    room.react(bob, second, "eyes").await;
    projected!(log, |snapshot| {
        let message = messages::one(&mut snapshot, room.id, first).await.unwrap();
        let message = message.unwrap();
        assert_eq!(message.wording.body.as_deref(), Some("one, edited again"));
        assert_eq!(message.edited_seq, Some(edited));
        assert_eq!(message.ordinal, 1);
        let message = messages::one(&mut snapshot, room.id, second).await.unwrap();
        let message = message.unwrap();
        assert_eq!(message.wording.body, None);
        assert_eq!(message.edited_seq, None);
        assert_eq!(message.deleted_seq, Some(deleted));
        assert_eq!(message.deleted_by, Some(bob));
        assert_eq!(message.deleted_reason.as_deref(), Some("a reason"));
        let both = [first, second];
        let reactions = messages::reactions(&mut snapshot, room.id, &both).await;
        assert_eq!(reactions.unwrap(), []);
        let replaced = messages::revisions(&mut snapshot, room.id, &both).await;
        let replaced: Vec<_> = replaced
            .unwrap()
            .into_iter()
            .filter_map(|r| r.wording.body)
            .collect();
        assert_eq!(replaced, ["one", "one, edited"]);
        let listed = conversations::of_member(&mut snapshot, bob, None, 10).await;
        let listed = listed.unwrap();
        assert_eq!(listed[0].conversation.last_message_seq, Some(second));
        assert_eq!(listed[0].conversation.last_message_preview, None);
    });
}

#[tokio::test]
async fn a_reaction_is_there_or_it_is_not() {
    let log = Log::new();
    let (alice, bob) = (user(1), user(2));
    let room = log.group(alice, &[bob], Start).await;
    let message = room.send(alice, "one").await;
    let first = room.react(bob, message, "+1").await;
    room.react(bob, message, "+1").await;
    room.react(alice, message, "-1").await;
    room.unreact(alice, message, "-1").await;
    room.unreact(alice, message, "-1").await;
    room.unreact(bob, message, "eyes").await;
    let again = room.react(alice, message, "-1").await;
    projected!(log, |snapshot| {
        let one = [message];
        let reactions = messages::reactions(&mut snapshot, room.id, &one).await;
        let reactions: Vec<_> = reactions
            .unwrap()
            .into_iter()
            .map(|reaction| (reaction.emoji, reaction.member, reaction.seq))
            .collect();
        assert_eq!(
            reactions,
            [
                ("+1".to_owned(), bob, first),
                ("-1".to_owned(), alice, again)
            ]
        );
    });
}

#[tokio::test]
async fn a_message_is_pinned_once_and_no_more_when_it_is_deleted() {
    let log = Log::new();
    let (alice, bob) = (user(1), user(2));
    let room = log.group(alice, &[bob], Start).await;
    let (first, second) = (room.send(bob, "one").await, room.send(bob, "two").await);
    let third = room.send(bob, "three").await;
    let pinned = room.pin(alice, first).await;
    room.pin(bob, first).await;
    room.pin(alice, second).await;
    room.unpin(alice, second).await;
    room.unpin(alice, second).await;
    room.pin(alice, third).await;
    room.delete(bob, third).await;
    room.pin(alice, third).await;
    projected!(log, |snapshot| {
        let pins = messages::pins(&mut snapshot, room.id).await.unwrap();
        let pins: Vec<_> = pins
            .into_iter()
            .map(|pin| (pin.message, pin.seq, pin.pinned_by))
            .collect();
        assert_eq!(pins, [(first, pinned, alice)]);
    });
}

#[tokio::test]
async fn unread_is_what_others_said_after_the_mark_and_did_not_delete() {
    let log = Log::new();
    let (alice, bob, carol) = (user(1), user(2), user(3));
    let room = log.group(alice, &[bob], Joined).await;
    room.send(alice, "1").await;
    let seen = room.send(alice, "2").await;
    room.send(bob, "3").await;
    let taken_back = room.send(alice, "4").await;
    let own_taken_back = room.send(bob, "5").await;
    room.send(alice, "6").await;
    room.seen(bob, seen).await;
    room.delete(alice, taken_back).await;
    room.delete(bob, own_taken_back).await;
    room.add(carol).await;
    room.send(alice, "7").await;
    projected!(log, |snapshot| {
        for (who, unread) in [(alice, 1), (bob, 2), (carol, 1)] {
            let listed = conversations::of_member(&mut snapshot, who, None, 10).await;
            assert_eq!(listed.unwrap()[0].unread, unread, "{who}");
        }
    });
}

#[tokio::test]
async fn each_membership_has_its_own_view() {
    let log = Log::new();
    let (alice, bob, carol) = (user(1), user(2), user(3));
    let room = log.group(alice, &[], Joined).await;
    let early = room.send(alice, "1").await;
    let joined = room.add(bob).await;
    let between = room.send(alice, "2").await;
    let left = room.remove(bob, alice).await;
    room.send(alice, "3").await;
    let again = room.add(bob).await;
    room.show_history(Start).await;
    room.add(carol).await;
    room.leave(carol).await;
    room.leave(carol).await;
    projected!(log, |snapshot| {
        let of_bob = members::within(&mut snapshot, room.id, bob).await.unwrap();
        let spans: Vec<_> = of_bob
            .iter()
            .map(|m| (m.joined_seq, m.visible_from, m.left_seq))
            .collect();
        assert_eq!(spans, [(joined, joined, Some(left)), (again, again, None)]);
        assert_eq!(of_bob[0].removed_by, Some(alice));
        assert!(!of_bob[0].sees(early) && of_bob[0].sees(between));
        let of_carol = members::of_member(&mut snapshot, carol, Position::ZERO)
            .await
            .unwrap();
        assert_eq!(of_carol.len(), 1);
        assert_eq!(of_carol[0].visible_from, version(1));
        assert_eq!(of_carol[0].removed_by, None);
    });
}

#[tokio::test]
async fn who_has_seen_a_message_is_told_by_the_first_mark_that_covers_it() {
    let log = Log::new();
    let (alice, bob, carol, late) = (user(1), user(2), user(3), user(4));
    let room = log.group(alice, &[bob, carol], Joined).await;
    let first = room.send(alice, "1").await;
    let second = room.send(alice, "2").await;
    let third = room.send(alice, "3").await;
    room.delivered(bob, third).await;
    room.seen(bob, first).await;
    room.seen(bob, third).await;
    let seen_at = log.clock.now();
    room.seen(bob, second).await;
    room.add(late).await;
    room.seen(late, third).await;
    projected!(log, |snapshot| {
        let asked = |viewer| Asked {
            conversation: room.id,
            message: second,
            version: second,
            viewer,
            until: None,
        };
        let told = receipts::of_message(&mut snapshot, asked(alice), None, 10).await;
        let told = told.unwrap();
        let members: Vec<_> = told.iter().map(|receipt| receipt.member).collect();
        assert_eq!(members, [bob, carol], "the late one could not see it");
        let seen = told[0].seen.unwrap();
        assert_eq!((seen.seq, seen.at), (third, seen_at));
        assert_eq!(told[0].delivered.unwrap().seq, third);
        assert_eq!((told[1].seen, told[1].delivered), (None, None));
        let page = receipts::of_message(&mut snapshot, asked(alice), Some(bob), 10).await;
        assert_eq!(page.unwrap()[0].member, carol);
    });
}

#[tokio::test]
async fn a_private_mark_is_its_members_own_and_a_thread_is_seen_by_its_own_mark() {
    let log = Log::new();
    let (alice, bob) = (user(1), user(2));
    let room = log.group(alice, &[bob], Joined).await;
    let begun = room.send(alice, "1").await;
    let answer = room.answer(alice, begun, "2").await;
    room.seen_as(bob, begun, true).await;
    room.thread_seen(bob, begun, answer).await;
    let in_thread = log.clock.now();
    room.seen(bob, answer).await;
    let minute = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::minutes(1)).unwrap();
    let last = minute(log.clock.now());
    projected!(log, |snapshot| {
        for (message, viewer, seen) in [
            (begun, alice, Some(answer)),
            (begun, bob, Some(begun)),
            (answer, alice, Some(answer)),
        ] {
            let asked = Asked {
                conversation: room.id,
                message,
                version: message,
                viewer,
                until: None,
            };
            let told = receipts::of_message(&mut snapshot, asked, None, 10).await;
            let told = told.unwrap();
            assert_eq!(told[0].seen.map(|mark| mark.seq), seen, "{message:?}");
            if message == answer {
                assert_eq!(told[0].seen.map(|mark| mark.at), Some(in_thread));
            }
        }
        let mark = receipts::last_mark(&mut snapshot, bob).await.unwrap();
        assert_eq!(mark, Some(last));
        let none = receipts::last_mark(&mut snapshot, alice).await.unwrap();
        assert_eq!(none, None);
    });
}

#[tokio::test]
async fn users_are_found_by_id_and_handle() {
    let log = Log::new();
    log.register(user(1), "alice").await;
    log.grant(user(1), domain::user::SystemRole::Auditor).await;
    log.verify(user(1), "alice@example.org").await;
    for (number, handle) in [(2, "bob"), (3, "carol"), (4, "dave")] {
        log.register(user(number), handle).await;
    }
    log.verify(user(2), "bob@before.example").await;
    log.link(user(3), "carol@example.org").await;
    log.link(user(4), "dave@before.example").await;
    projected!(log, |snapshot| {
        let alice = users::by_handle(&mut snapshot, "alice").await.unwrap();
        let alice = alice.unwrap();
        assert_eq!(alice.id, user(1));
        assert_eq!(alice.email.as_deref(), Some("alice@example.org"));
        assert_eq!(alice.system_roles.len(), 1);
        assert!(alice.is_email_verified());
        for (number, is_verified) in [(2, false), (3, true), (4, false)] {
            let other = users::one(&mut snapshot, user(number)).await.unwrap();
            assert_eq!(other.unwrap().is_email_verified(), is_verified, "{number}");
        }
        assert_eq!(
            users::one(&mut snapshot, user(1)).await.unwrap(),
            Some(alice)
        );
        assert_eq!(
            users::by_handle(&mut snapshot, "nobody").await.unwrap(),
            None
        );
    });
}

#[tokio::test]
async fn people_are_found_by_the_beginnings_of_their_words() {
    let log = Log::new();
    for (number, handle, name) in [
        (1, "alice", "Alice"),
        (2, "zoe.a", "Zoë Ångström"),
        (3, "zora", "Zora Angst"),
        (4, "hidden", "Zoë Hidden"),
        (5, "out", "Zoë Out"),
        (6, "back", "Zoë Back"),
        (7, "foe", "Zoë Foe"),
        (8, "fan", "Zoë Fan"),
        (9, "renamed", "Zoë Renamed"),
    ] {
        log.register(user(number), handle).await;
        log.call(user(number), name).await;
    }
    log.discoverable(user(4), false).await;
    log.suspend(user(5), false).await;
    log.suspend(user(6), true).await;
    log.block(user(7), user(1), true).await;
    log.block(user(1), user(8), true).await;
    log.call(user(9), "Somebody").await;
    projected!(log, |snapshot| {
        for (beginnings, after, found) in [
            (&["zo"][..], "", &["back", "zoe.a", "zora"][..]),
            (&["zo"], "back", &["zoe.a", "zora"]),
            (&["zoe", "angst"], "", &["zoe.a"]),
            (&["angst"], "", &["zoe.a", "zora"]),
            (&["renamed"], "", &["renamed"]),
            (&["oe"], "", &[]),
            (&["here"], "", &[]),
        ] {
            let beginnings: Vec<String> = beginnings.iter().map(ToString::to_string).collect();
            let search = users::Search {
                beginnings: &beginnings,
                asker: user(1),
                now: log.clock.now(),
                after,
                limit: 10,
            };
            let users = users::search(&mut snapshot, &search).await.unwrap();
            let handles: Vec<&str> = users.iter().map(|user| user.handle.as_str()).collect();
            assert_eq!(handles, found, "{beginnings:?}");
        }
        let blocks = users::blocks(&mut snapshot, user(1), None, 10).await;
        let blocked: Vec<UserId> = blocks.unwrap().iter().map(|it| it.blocked).collect();
        assert_eq!(blocked, [user(8)]);
    });
}

#[tokio::test]
async fn services_are_listed_without_their_tokens() {
    let log = Log::new();
    log.service(2, true).await;
    log.service(1, true).await;
    log.service(2, false).await;
    projected!(log, |snapshot| {
        let page = services::page(&mut snapshot, Position::ZERO, 10);
        let listed = page.await.unwrap();
        let names: Vec<bool> = listed.iter().map(|it| it.revoked_at.is_some()).collect();
        assert_eq!(names, [true, false], "in the order in which they were made");
        assert_eq!((listed[1].generation, listed[1].expires_at), (1, None));
        let rest = services::page(&mut snapshot, listed[0].created_position, 10).await;
        assert_eq!(rest.unwrap().len(), 1);
    });
}

#[tokio::test]
async fn a_session_is_active_until_it_ends_in_one_way_or_another() {
    let log = Log::new();
    let (alice, bob) = (user(1), user(2));
    let [phone, laptop, tablet, other] =
        [1, 2, 3, 4].map(|number| SessionId(uuid::Uuid::from_u128(number)));
    log.log_in(alice, phone).await;
    let opened_at = log.clock.now();
    log.log_in(alice, laptop).await;
    log.log_in(alice, tablet).await;
    log.log_in(bob, other).await;
    log.refresh(alice, phone).await;
    let used_at = log.clock.now();
    log.log_out(tablet).await;
    let registered = UserEvent::Registered(registered(alice, "alice"));
    let state = User::evolve(State::default(), version(1), &registered);
    let mut account = state.account.unwrap();
    projected!(log, |snapshot| {
        let now = log.clock.now();
        let of_alice = sessions::active(&mut snapshot, alice, &account, now, None, 10)
            .await
            .unwrap();
        let ids: Vec<_> = of_alice.iter().map(|session| session.id).collect();
        assert_eq!(ids, [laptop, phone], "the newest first");
        let on_the_phone = &of_alice[1];
        assert_eq!(on_the_phone.device.as_deref(), Some("A phone"), "as it was");
        assert_eq!(on_the_phone.address.as_deref(), Some("192.0.2.2"));
        assert_eq!(
            (on_the_phone.opened_at, on_the_phone.last_used_at),
            (opened_at, used_at)
        );
        let before = Some(of_alice[0].opened_position);
        let page = sessions::active(&mut snapshot, alice, &account, now, before, 10).await;
        assert_eq!(page.unwrap(), of_alice[1..]);
        let later = now + chrono::TimeDelta::days(1);
        let late = sessions::active(&mut snapshot, alice, &account, later, None, 10).await;
        assert_eq!(late.unwrap(), [], "their time is over");
        (account.login_epoch, account.kept_session) = (1, Some(phone));
        let kept = sessions::active(&mut snapshot, alice, &account, now, None, 10).await;
        assert_eq!(kept.unwrap(), of_alice[1..], "the others ended together");
        (account.login_epoch, account.kept_session) = (0, None);
    });
}

#[tokio::test]
async fn text_that_postgres_cannot_store_is_stored_the_same_on_both() {
    let log = Log::new();
    let room = log.group(user(1), &[], Start).await;
    let seq = room
        .send(user(1), "nul \0 and \\u0000 'quoted' \"too\"")
        .await;
    projected!(log, |snapshot| {
        let message = messages::one(&mut snapshot, room.id, seq).await.unwrap();
        assert_eq!(
            message.unwrap().wording.body.as_deref(),
            Some("nul \u{fffd} and \\u0000 'quoted' \"too\"")
        );
    });
}
