//! Threads, and what of them is not seen.

use domain::conversation::HistoryVisibility::{Joined, Start};
use domain::conversation::{Mention, MessageSent};
use serde_json::{Value, json};

use crate::door::{Door, each};
use crate::harness::{BOTH, user};

#[tokio::test]
async fn a_message_shows_what_came_of_its_thread() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let group = door.log.group(alice, &[bob], Start).await;
        let root = group.send(alice, "tea?").await;
        let other = group.send(alice, "by the way").await;
        let first = group.answer(bob, root, "yes").await;
        let last = group.answer(alice, root, "at five").await;
        let gone = group.answer(bob, root, "no").await;
        group.delete(bob, gone).await;
        let path = format!("/v1/conversations/{}/messages", group.id);
        let all = door.get(alice, &path).await;
        let seqs = [root, other, first, last, gone].map(|seq| json!(seq));
        assert_eq!(each(&all["messages"], "seq"), seqs);
        let begun = &all["messages"][0]["answers"];
        assert_eq!(begun["count"], 2);
        assert_eq!(begun["last"]["seq"], json!(last));
        assert_eq!(begun["last"]["author"], json!(alice));
        assert_eq!(all["messages"][1].get("answers"), None);
        assert_eq!(all["messages"][2]["thread"], json!(root));
        let main = door.get(alice, &format!("{path}?which=main")).await;
        assert_eq!(each(&main["messages"], "seq"), [json!(root), json!(other)]);
        let newest = format!("{path}?thread={root}&limit=2");
        let thread = door.get(alice, &newest).await;
        assert_eq!(each(&thread["messages"], "seq"), [json!(last), json!(gone)]);
        let rest = format!("{path}?thread={root}&before={}", thread["prev"]);
        let rest = door.get(alice, &rest).await;
        assert_eq!(each(&rest["messages"], "seq"), [json!(first)]);
        let both = format!("{path}?thread={root}&which=main");
        let refused = door.problem(alice, &both).await;
        assert_eq!(refused, (400, "invalid_query".to_owned()));
        door.close().await;
    }
}

#[tokio::test]
async fn threads_are_followed_by_those_who_write_in_them_and_seen_apart() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let group = door.log.group(alice, &[bob, carol], Start).await;
        let root = group.send(alice, "tea?").await;
        group.answer(bob, root, "yes").await;
        let second = group.answer(bob, root, "please").await;
        // Who follows, and what of it is new to them.
        let standing = async |who| -> Value {
            let path = format!("/v1/conversations/{}/threads", group.id);
            let thread = door.get(who, &path).await["threads"][0].clone();
            json!([thread["follows"], thread["unread"], thread["seen_seq"]])
        };
        assert_eq!(standing(alice).await, json!([true, 2, 0]));
        assert_eq!(standing(bob).await, json!([true, 0, 0]));
        assert_eq!(standing(carol).await, json!([false, 0, 0]));
        group.follow(carol, root, true).await;
        let third = group.answer(bob, root, "with milk").await;
        assert_eq!(standing(carol).await, json!([true, 1, 0]));
        group.thread_seen(alice, root, second).await;
        assert_eq!(standing(alice).await, json!([true, 1, second]));
        group.delete(bob, third).await;
        assert_eq!(standing(alice).await, json!([true, 0, second]));
        let mine = door.get(alice, "/v1/threads").await;
        assert_eq!(mine["threads"][0]["root"]["seq"], json!(root));
        assert_eq!(mine["threads"][0]["root"]["answers"]["count"], 2);
        group.follow(alice, root, false).await;
        group.answer(bob, root, "hello?").await;
        assert_eq!(standing(alice).await, json!([false, 0, second]));
        assert_eq!(door.get(alice, "/v1/threads").await["threads"], json!([]));
        let conversation = format!("/v1/conversations/{}", group.id);
        let conversation = door.get(bob, &conversation).await;
        assert_eq!(conversation["unread"], 1, "threads are counted apart");
        assert_eq!(conversation["last_message"]["seq"], json!(root));
        door.close().await;
    }
}

#[tokio::test]
async fn my_threads_come_last_answered_first_from_all_my_conversations() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let one = door.log.group(alice, &[bob], Start).await;
        let other = door.log.group(alice, &[bob], Start).await;
        let mut roots = Vec::new();
        for group in [one, other, one] {
            roots.push(group.send(alice, "tea?").await);
        }
        one.answer(bob, roots[0], "yes").await;
        other.answer(bob, roots[1], "yes").await;
        one.answer(bob, roots[2], "yes").await;
        one.answer(bob, roots[0], "now").await;
        let expected = [(one.id, roots[0]), (one.id, roots[2]), (other.id, roots[1])];
        let mut walked = Vec::new();
        let mut path = "/v1/threads?limit=1".to_owned();
        loop {
            let page = door.get(alice, &path).await;
            let thread = &page["threads"][0];
            walked.push(json!([thread["conversation"], thread["root"]["seq"]]));
            let Some(next) = page.get("next") else { break };
            path = format!("/v1/threads?limit=1&before={next}");
        }
        assert_eq!(walked, expected.map(|(group, root)| json!([group, root])));
        one.remove(alice, bob).await;
        let left = door.get(alice, "/v1/threads").await;
        assert_eq!(each(&left["threads"], "conversation"), [json!(other.id)]);
        door.close().await;
    }
}

#[tokio::test]
async fn who_came_later_or_left_sees_of_threads_what_they_were_there_for() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let group = door.log.group(alice, &[bob], Joined).await;
        let old = group.send(alice, "tea?").await;
        let first = group.answer(bob, old, "yes").await;
        group.leave(bob).await;
        group.add(carol).await;
        group.answer(alice, old, "too late").await;
        let path = format!("/v1/conversations/{}/threads", group.id);
        let left = door.get(bob, &path).await;
        assert_eq!(left["threads"][0]["root"]["answers"]["count"], 1);
        let last = &left["threads"][0]["root"]["answers"]["last"];
        assert_eq!(last["seq"], json!(first));
        assert_eq!(door.get(carol, &path).await["threads"], json!([]));
        let stranger = door.problem(user(4), &path).await;
        assert_eq!(stranger, (404, "conversation_not_found".to_owned()));
        door.close().await;
    }
}

#[tokio::test]
async fn a_call_in_a_thread_is_seen_with_the_thread_or_the_conversation() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let group = door.log.group(alice, &[bob], Start).await;
        let root = group.send(alice, "tea?").await;
        let mut called = Vec::new();
        for _ in 0..2 {
            let call = |sent: &mut MessageSent| {
                sent.thread = Some(root);
                sent.mentions = [Mention::User(bob)].into();
            };
            called.push(group.say_as(alice, "hey", call).await);
        }
        let path = format!("/v1/conversations/{}", group.id);
        assert_eq!(door.get(bob, &path).await["mention_count"], 2);
        group.thread_seen(bob, root, called[0]).await;
        assert_eq!(door.get(bob, &path).await["mention_count"], 1);
        group.seen(bob, called[1]).await;
        assert_eq!(door.get(bob, &path).await["mention_count"], 0);
        door.close().await;
    }
}
