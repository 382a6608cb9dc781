//! What people do with messages beyond sending them: pins and edits, threads, calling each other,
//! forwarding, and rules about who writes when.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person};

use crate::site::Site;

/// Does something and gives the position by which it is read.
async fn does(person: &Person, method: Method, path: &str, body: Option<Value>) -> Value {
    person.ask(method, path, body, &[]).await.ok()["position"].clone()
}

/// What `person` reads at `path` once `position` is read.
async fn reads(person: &Person, path: &str, position: &Value) -> Value {
    let and = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{and}min_position={position}");
    person.get(&path).await.ok()
}

/// `field` of each of `list`.
fn each(list: &Value, field: &str) -> Vec<Value> {
    let list = list.as_array().expect("a list");
    list.iter().map(|one| one[field].clone()).collect()
}

pub(crate) async fn a_message_is_pinned_edited_and_taken_back(site: &Site) {
    let olga = &site.owner;
    let bob = site.person("bob").await;
    let group = olga.starts_group("Plans", &[&bob]).await;
    let (mut listener, _) = Listener::live(&bob).await;
    let seq = olga.says(&group, "Noodles").await;
    let path = format!("/v1/conversations/{group}/messages/{seq}");
    let pin = format!("{path}/pin");
    let refused = bob.ask(Method::PUT, &pin, None, &[]).await;
    refused.problem(403, "role_too_low");
    does(olga, Method::PUT, &pin, None).await;
    let pinned = listener.wait_for_event("message-pinned").await;
    assert_eq!(pinned["data"]["message"], seq);
    let edit = json!({ "body": "*Rice*", "format": "markdown" });
    let edited = does(olga, Method::PATCH, &path, Some(edit)).await;

    let pins = format!("/v1/conversations/{group}/pins");
    let shown = reads(&bob, &pins, &edited).await;
    assert_eq!(each(&shown["pins"], "body"), ["*Rice*"]);
    assert_eq!(each(&shown["pins"], "format"), ["markdown"]);
    assert_eq!(shown["pins"][0]["pinned"]["by"], olga.id);
    let edits = reads(&bob, &format!("{path}/edits"), &edited).await;
    assert_eq!(each(&edits["edits"], "body"), ["Noodles", "*Rice*"]);

    let why = json!({ "reason": "all gone" });
    let deleted = does(olga, Method::DELETE, &path, Some(why)).await;
    let shown = reads(&bob, &path, &deleted).await;
    assert_eq!(shown.get("body"), None, "{shown}");
    assert_eq!(shown["deleted"]["reason"], "all gone");
    let pins = reads(&bob, &pins, &deleted).await;
    assert_eq!(pins["pins"], json!([]));
    let edits = reads(&bob, &format!("{path}/edits"), &deleted).await;
    assert_eq!(edits["edits"], json!([]), "nothing of it is kept to read");
}

pub(crate) async fn a_thread_is_followed_and_seen_apart(site: &Site) {
    let olga = &site.owner;
    let (bob, carol) = (site.person("bob").await, site.person("carol").await);
    let group = olga.starts_group("Tea", &[&bob, &carol]).await;
    let root = olga.says(&group, "Tea?").await;
    let (mut listener, _) = Listener::live(&carol).await;
    listener
        .send(json!({
            "op": "follow_thread", "id": "f", "conversation": group, "thread": root,
        }))
        .await;
    listener.wait_for("ack").await;
    let answer = |body: &str| json!({ "body": body, "thread": root });
    let messages = format!("/v1/conversations/{group}/messages");
    does(&bob, Method::POST, &messages, Some(answer("Yes"))).await;
    let last = bob.post(&messages, answer("Please")).await.ok();
    let heard = listener.wait_for_event("message-sent").await;
    assert_eq!(heard["data"]["thread"], root);

    let position = &last["position"];
    let begun = reads(olga, &format!("{messages}/{root}"), position).await;
    assert_eq!(begun["answers"]["count"], 2);
    assert_eq!(begun["answers"]["last"]["author"], bob.id);
    let main = reads(olga, &format!("{messages}?which=main"), position).await;
    assert_eq!(each(&main["messages"], "seq"), [json!(root)]);
    let thread = reads(olga, &format!("{messages}?thread={root}"), position).await;
    assert_eq!(each(&thread["messages"], "body"), ["Yes", "Please"]);
    for who in [olga, &carol] {
        let mine = reads(who, "/v1/threads", position).await;
        assert_eq!(mine["threads"][0]["root"]["seq"], root, "{mine}");
        assert_eq!(mine["threads"][0]["unread"], 2);
    }
    listener
        .send(json!({
            "op": "mark_thread_seen", "id": "s", "conversation": group, "thread": root,
            "seq": last["seq"],
        }))
        .await;
    let acknowledged = listener.wait_for("ack").await;
    let mine = reads(&carol, "/v1/threads", &acknowledged["position"]).await;
    assert_eq!(mine["threads"][0]["unread"], 0);
    let conversation = format!("/v1/conversations/{group}");
    let conversation = reads(&carol, &conversation, &acknowledged["position"]).await;
    assert_eq!(conversation["unread"], 1, "the message in no thread");
}

pub(crate) async fn who_is_called_is_told_and_what_is_forwarded_says_from_where(site: &Site) {
    let olga = &site.owner;
    let (bob, carol) = (site.person("bob").await, site.person("carol").await);
    let from = olga.starts_group("Kitchen", &[&bob]).await;
    let to = bob.starts_group("Office", &[&carol]).await;
    let call = json!({ "body": "Soup, @bob!", "mentions": [{ "user": bob.id }] });
    let path = format!("/v1/conversations/{from}/messages");
    let sent = olga.post(&path, call).await.ok();
    let conversation = format!("/v1/conversations/{from}");
    let counted = reads(&bob, &conversation, &sent["position"]).await;
    assert_eq!(counted["mention_count"], 1);
    let of_a_stranger = json!({ "body": "@carol", "mentions": [{ "user": carol.id }] });
    let refused = olga.post(&path, of_a_stranger).await;
    refused.problem(404, "no_such_member");
    let seen = json!({ "seq": sent["seq"] });
    let receipts = format!("{conversation}/receipts/seen");
    let position = does(&bob, Method::PUT, &receipts, Some(seen)).await;
    let counted = reads(&bob, &conversation, &position).await;
    assert_eq!(counted["mention_count"], 0);

    let origin = json!({ "conversation": from, "message": sent["seq"] });
    let forward = json!({ "body": "Soup, @bob!", "forward_of": origin });
    let there = format!("/v1/conversations/{to}/messages");
    let forwarded = bob.post(&there, forward.clone()).await.ok();
    let path = format!("{there}/{}", forwarded["seq"]);
    let known = reads(&bob, &path, &forwarded["position"]).await;
    assert_eq!(
        known["forwarded"],
        json!({ "conversation": from, "message": sent["seq"], "author": olga.id })
    );
    assert_eq!(known["link"], json!(path));
    let hidden = reads(&carol, &path, &forwarded["position"]).await;
    assert_eq!(hidden["forwarded"], json!({}), "she was not there");
    let otherwise = json!({ "body": "Something else", "forward_of": origin });
    bob.post(&there, otherwise)
        .await
        .problem(422, "invalid_body");
    let unseen = carol.post(&there, forward).await;
    unseen.problem(404, "conversation_not_found");
}

pub(crate) async fn a_group_says_who_writes_how_often_and_who_came_and_went(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    let group = alice.starts_group("News", &[&bob]).await;
    let path = format!("/v1/conversations/{group}");
    let slow = json!({ "slow_mode_s": 600 });
    does(&alice, Method::PATCH, &path, Some(slow)).await;
    let first = bob.says(&group, "Hear, hear").await;
    let messages = format!("{path}/messages");
    let hello = || json!({ "body": "hello" });
    let refused = bob.post(&messages, hello()).await.problem(409, "slow_mode");
    let wait_s = refused["retry_after_s"].as_u64();
    assert!(wait_s > Some(500) && wait_s <= Some(600), "{refused}");
    let (mut listener, _) = Listener::live(&bob).await;
    listener
        .send(json!({
            "op": "send_message", "id": "soon", "conversation": group, "body": "hello",
        }))
        .await;
    let error = listener.wait_for("error").await;
    assert_eq!(error["problem"]["code"], "slow_mode");
    alice.says(&group, "First").await;
    alice.says(&group, "Second, at once").await;
    let closed = json!({ "who_may_post": "admins" });
    does(&alice, Method::PATCH, &path, Some(closed)).await;
    let refused = bob.post(&messages, hello()).await;
    refused.problem(403, "role_too_low");
    let why = json!({ "reason": "not news" });
    let message = format!("{messages}/{first}");
    does(&alice, Method::DELETE, &message, Some(why)).await;
    let member = format!("{path}/members/{}", bob.id);
    let removed = does(&alice, Method::DELETE, &member, None).await;
    let timeline = reads(&alice, &format!("{messages}?which=timeline"), &removed).await;
    let last = timeline["messages"].as_array().and_then(|all| all.last());
    let last = last.expect("an entry");
    assert_eq!(
        last["system"],
        json!({ "type": "member-removed", "user": bob.id })
    );
    assert_eq!(last["author"], alice.id);
    let said = reads(&alice, &messages, &removed).await;
    assert_eq!(said["messages"].as_array().map(Vec::len), Some(3));
    assert_eq!(said["messages"][0]["deleted"]["by"], alice.id);
}
