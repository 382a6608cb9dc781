//! As what people are shown, what they keep to themselves, and who has what since when.

use std::time::Duration;

use infra::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person};

use crate::site::Site;

/// Puts `body` at `path` and gives the position by which it is read.
async fn puts(person: &Person, path: &str, body: Value) -> Value {
    let answer = person.ask(Method::PUT, path, Some(body), &[]).await;
    answer.ok()["position"].clone()
}

/// What `person` reads at `path` once `position` is read.
async fn reads(person: &Person, path: &str, position: &Value) -> Value {
    let and = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{and}min_position={position}");
    person.get(&path).await.ok()
}

/// Waits until `of` is told to be `state`; other frames are passed over.
async fn is_told(listener: &mut Listener, of: &Person, state: &str) {
    let actor = format!("user:{}", of.id);
    loop {
        let signal = listener.wait_for("signal").await;
        if signal["type"] == "presence"
            && signal["actor"] == actor
            && signal["data"]["state"] == state
        {
            return;
        }
    }
}

fn turned(state: &str) -> Value {
    json!({ "op": "presence", "state": state })
}

pub(crate) async fn a_person_is_shown_as_their_devices_say_and_as_they_chose(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    let group = alice.starts_group("Plans", &[&bob]).await;
    let (mut watching, _) = Listener::live(&alice).await;
    let (mut phone, _) = Listener::live(&bob).await;
    is_told(&mut watching, &bob, "online").await;
    let laptop = bob.on_another_device("laptop").await;
    let (mut laptop, _) = Listener::live(&laptop).await;
    phone.send(turned("idle")).await;
    laptop.send(turned("idle")).await;
    is_told(&mut watching, &bob, "idle").await;
    laptop.send(turned("online")).await;
    is_told(&mut watching, &bob, "online").await;

    let choose = |shown: &str| puts(&bob, "/v1/users/me/presence", json!({ "shown": shown }));
    choose("away").await;
    is_told(&mut watching, &bob, "away").await;
    let chosen = choose("invisible").await;
    is_told(&mut watching, &bob, "offline").await;
    let me = reads(&bob, "/v1/users/me", &chosen).await;
    assert_eq!(me["presence"], json!({ "shown": "invisible" }));
    // Nothing is heard of him, and he hears everything.
    phone
        .send(json!({ "op": "typing", "conversation": group }))
        .await;
    alice.says(&group, "Are you there?").await;
    phone.wait_for_event("message-sent").await;
    choose("automatic").await;
    loop {
        let signal = watching.wait_for("signal").await;
        assert_ne!(signal["type"], "typing", "{signal}");
        if signal["data"]["state"] == "online" {
            break;
        }
    }
}

/// Who begins to share a conversation is shown to the other, without a change of what they do.
pub(crate) async fn who_comes_into_a_conversation_is_shown_there(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    let (mut of_alice, _) = Listener::live(&alice).await;
    let (mut of_bob, _) = Listener::live(&bob).await;
    alice.starts_group("Plans", &[&bob]).await;
    is_told(&mut of_alice, &bob, "online").await;
    is_told(&mut of_bob, &alice, "online").await;
}

pub(crate) async fn what_one_is_up_to_ends_by_itself_and_does_not_come_back(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    alice.starts_group("Plans", &[&bob]).await;
    let says = |body: Value| {
        let bob = bob.clone();
        async move {
            let answer = bob.ask(Method::PATCH, "/v1/users/me", Some(body), &[]);
            answer.await.ok()["position"].clone()
        }
    };
    let user = format!("/v1/users/{}", bob.id);
    // Longer than it takes to read it once.
    let until = Clock::system().now() + chrono::TimeDelta::seconds(5);
    let lunch = json!({ "status_text": "Lunch", "status_emoji": "🍜", "status_until": until });
    let position = says(lunch).await;
    let shown = reads(&alice, &user, &position).await;
    assert_eq!(shown["status_text"], "Lunch");
    assert_eq!(shown["status_emoji"], "🍜");
    while reads(&alice, &user, &position).await["status_text"] != Value::Null {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let position = says(json!({ "status_emoji": "☕" })).await;
    let shown = reads(&alice, &user, &position).await;
    assert_eq!(shown["status_emoji"], "☕");
    assert_eq!(shown["status_text"], Value::Null, "{shown}");
    assert_eq!(shown["status_until"], Value::Null, "{shown}");
}

pub(crate) async fn what_is_seen_in_private_is_ones_own(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    let group = alice.starts_group("Secrets", &[&bob]).await;
    let (of_alice, ready) = Listener::live(&alice).await;
    let (mut of_bob, _) = Listener::live(&bob).await;
    let seq = alice.says(&group, "Psst").await;
    let privacy = json!({ "seen": "nobody" });
    let position = puts(&bob, "/v1/users/me/privacy", privacy).await;
    let me = reads(&bob, "/v1/users/me", &position).await;
    assert_eq!(me["privacy"]["seen"], "nobody");
    // Through another node it counts within half a second: a mark is his own once it is said to be.
    let path = format!("/v1/conversations/{group}");
    let mark = |what: &str, seq: u64| {
        let path = format!("{path}/receipts/{what}");
        let bob = bob.clone();
        async move { puts(&bob, &path, json!({ "seq": seq })).await }
    };
    mark("delivered", seq).await;
    let mut last = seq;
    loop {
        mark("seen", last).await;
        let event = of_bob.wait_for_event("seen-up-to").await;
        if event["data"]["private"] == true {
            break;
        }
        last = alice.says(&group, "Still there?").await;
    }
    let said = alice.says(&group, "The end").await;
    let position = mark("seen", said).await;
    of_bob.wait_for_event("seen-up-to").await;

    let conversation = reads(&bob, &path, &position).await;
    assert_eq!(conversation["unread"], 0, "it counts for himself");
    let receipts = format!("{path}/messages/{said}/receipts");
    let of = |answer: Value| answer["receipts"][0]["seen"].clone();
    assert_eq!(of(reads(&alice, &receipts, &position).await), Value::Null);
    assert_eq!(of(reads(&bob, &receipts, &position).await)["seq"], said);
    let first = format!("{path}/messages/{seq}/receipts");
    let shown = reads(&alice, &first, &position).await;
    assert_eq!(shown["receipts"][0]["delivered"]["seq"], seq);

    // Neither live nor on a resume does she get one of his private marks.
    alice.says(&group, "Over").await;
    let resumed = Listener::resumed(&alice, ready["cursor"].as_str().expect("a cursor")).await;
    for mut listener in [resumed, of_alice] {
        loop {
            let event = listener.wait_for("event").await;
            assert_eq!(event["data"].get("private"), None, "{event}");
            if event["data"]["body"] == "Over" {
                break;
            }
        }
    }
    let replayed = site.owner.text("/v1/audit/events?type=seen-up-to").await;
    let is_his = |line: &str| line.contains(&bob.id) && line.contains("\"private\":true");
    assert!(replayed.lines().any(is_his), "auditors see it");
}

pub(crate) async fn who_has_an_edit_is_told_and_when_somebody_was_here(site: &Site) {
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    let group = alice.starts_group("Menu", &[&bob]).await;
    let seq = alice.says(&group, "Soup").await;
    let path = format!("/v1/conversations/{group}");
    let message = format!("{path}/messages/{seq}");
    let see = format!("{path}/receipts/seen");
    puts(&bob, &see, json!({ "seq": seq })).await;
    let edit = json!({ "body": "Noodles" });
    let edited = alice.ask(Method::PATCH, &message, Some(edit), &[]).await;
    let edited = edited.ok();
    let receipts = format!("{message}/receipts?edit={}", edited["seq"]);
    let of_edit = reads(&alice, &receipts, &edited["position"]).await;
    assert_eq!(of_edit["receipts"][0]["member"], bob.id);
    assert_eq!(of_edit["receipts"][0].get("seen"), None, "not this one");
    let position = puts(&bob, &see, json!({ "seq": edited["seq"] })).await;
    let of_edit = reads(&alice, &receipts, &position).await;
    assert_eq!(of_edit["receipts"][0]["seen"]["seq"], edited["seq"]);
    let wrong = alice.get(&format!("{message}/receipts?edit=1")).await;
    wrong.problem(404, "edit_not_found");

    let user = format!("/v1/users/{}", bob.id);
    let shown = reads(&alice, &user, &position).await;
    assert!(shown["last_seen_at"].is_string(), "{shown}");
    let stranger = site.person("carol").await;
    let shown = reads(&stranger, &user, &position).await;
    assert_eq!(shown.get("last_seen_at"), None);
    let nobody = json!({ "last_seen": "nobody" });
    let position = puts(&bob, "/v1/users/me/privacy", nobody).await;
    let shown = reads(&alice, &user, &position).await;
    assert_eq!(shown.get("last_seen_at"), None);
    let hers = format!("/v1/users/{}", alice.id);
    let shown = reads(&bob, &hers, &position).await;
    assert_eq!(shown.get("last_seen_at"), None, "he does not tell his");
}

/// A gateway that is killed says nothing any more: whoever was on it alone is offline soon.
#[tokio::test]
async fn who_was_on_a_gateway_that_is_killed_is_offline() {
    let mut site = Site::cluster().await;
    let (alice, bob) = (site.person("alice").await, site.person("bob").await);
    alice.starts_group("Plans", &[&bob]).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    let gateways: Vec<String> = cluster.of_role("gateway").map(|node| node.url()).collect();
    let (mut watching, _) = Listener::live(&alice.at(&gateways[0])).await;
    let (mut phone, _) = Listener::live(&bob.at(&gateways[1])).await;
    is_told(&mut watching, &bob, "online").await;
    phone.send(turned("idle")).await;
    is_told(&mut watching, &bob, "idle").await;
    let victim = cluster.of_role("gateway").nth(1).expect("two of each");
    victim.kill().await;
    is_told(&mut watching, &bob, "offline").await;
    let (_phone, _) = Listener::live(&bob.at(&gateways[0])).await;
    is_told(&mut watching, &bob, "online").await;
}
