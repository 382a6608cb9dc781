//! Who is not looking is told once: by a push, when their quiet hours end, or in a mail.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use infra::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Cluster, Inbox, Person, Plan, PushService};

use crate::mail::{recorded, verifies_address};
use crate::site::{Site, owner_of};
use crate::{PROGRAM, owned_server_with};

/// What a server is started with so that a push service on this machine is reached.
const PUSHES: [&str; 3] = [
    "--push-anywhere",
    "--push-delay-seconds=1",
    "--digest-seconds-min=1",
];

async fn put(person: &Person, path: &str, body: Value) -> Value {
    person.ask(Method::PUT, path, Some(body), &[]).await.ok()
}

/// People call, answer and react, and read the list of it.
pub(crate) async fn what_concerns_somebody_is_listed_until_it_is_read(site: &Site) {
    let alice = site.person("nora").await;
    let bob = site.person("nick").await;
    let group = alice.starts_group("Tea", &[&bob]).await;
    let path = format!("/v1/conversations/{group}/messages");
    let call = json!({ "body": "tea?", "mentions": [{ "user": bob.id }] });
    let called = alice.post(&path, call).await.ok();
    let list = format!("/v1/notifications?min_position={}", called["position"]);
    let listed = bob.get(&list).await.ok();
    assert_eq!(listed["notifications"][0]["kind"], "mention");
    assert_eq!(listed["notifications"][0]["message"], called["seq"]);
    assert_eq!(listed["notifications"][1]["kind"], "added");
    assert_eq!(listed["unread"], 2);
    let read = json!({ "up_to": listed["notifications"][0]["position"] });
    let read = put(&bob, "/v1/notifications/read", read).await;
    let list = format!("/v1/notifications?min_position={}", read["position"]);
    assert_eq!(bob.get(&list).await.ok()["unread"], 0);
    let rule = format!("/v1/conversations/{group}/notifications");
    let muted = put(&bob, &rule, json!({ "level": "none" })).await;
    let settings = format!(
        "/v1/users/me/notifications?min_position={}",
        muted["position"]
    );
    let settings = bob.get(&settings).await.ok();
    assert_eq!(settings["rules"][0]["level"], "none");
}

#[tokio::test]
async fn a_push_comes_once_whoever_is_killed_and_a_dead_browser_is_removed() {
    let service = PushService::start().await;
    let (mut server, olga) = owned_server_with(&PUSHES).await;
    let bob = Person::register(&server.url(), "bob").await;
    service.subscribes(&bob, "laptop").await;
    let group = olga.starts_group("Tea", &[&bob]).await;
    let seq = olga.says(&group, "tea?").await;
    let pushes = service.pushes("laptop", 1).await;
    let payload = &pushes[0]["payload"];
    assert_eq!(payload["type"], "message");
    assert_eq!(payload["seq"], json!(seq));
    assert_eq!(payload["author_name"], "olga");
    assert_eq!(payload.get("text"), None);
    recorded(&olga, "pushes-settled", 1).await;

    // Killed while the push service has not said that it takes it, and after it has.
    service.hold().await;
    olga.says(&group, "or coffee?").await;
    service.holds().await;
    server.kill().await;
    service.release().await;
    server.start_again().await;
    service.pushes("laptop", 2).await;
    recorded(&olga, "pushes-settled", 2).await;
    server.kill().await;
    server.start_again().await;
    // What was seen in time is not told.
    let seen = olga.says(&group, "seen").await;
    let path = format!("/v1/conversations/{group}/receipts/seen");
    put(&bob, &path, json!({ "seq": seen })).await;
    olga.says(&group, "hello?").await;
    let pushes = service.pushes("laptop", 3).await;
    assert_eq!(pushes[2]["payload"]["seq"], json!(seen + 1));

    // What fails for a moment comes all the same; who is gone is removed.
    service.answers(&[503, 410]).await;
    olga.says(&group, "anybody?").await;
    let removed = recorded(&olga, "push-subscription-removed", 1).await;
    assert_eq!(removed[0]["data"]["because"], "gone");
    service.pushes("laptop", 3).await;
}

#[tokio::test]
async fn quiet_hours_end_with_one_push() {
    let service = PushService::start().await;
    let (_server, olga) = owned_server_with(&PUSHES).await;
    let bob = Person::register(olga.server(), "bob").await;
    service.subscribes(&bob, "phone").await;
    service.subscribes(&olga, "desk").await;
    let now = Clock::system().now();
    // The minute after the next one: the rest is done before.
    let until = now + TimeDelta::seconds(120 - i64::from(now.second()));
    let time = |at: DateTime<Utc>| at.format("%H:%M").to_string();
    let quiet = json!({
        "time_zone": "UTC", "from": time(now - TimeDelta::hours(1)), "until": time(until),
    });
    let set = put(
        &bob,
        "/v1/users/me/notifications",
        json!({ "quiet_hours": quiet }),
    )
    .await;
    let path = format!(
        "/v1/users/me/notifications?min_position={}",
        set["position"]
    );
    bob.get(&path).await.ok();
    let group = olga.starts_group("Tea", &[&bob]).await;
    for text in ["tea?", "hello?"] {
        olga.says(&group, text).await;
    }
    // Messages are told in order: this comes after what might be.
    bob.says(&group, "zzz").await;
    service.pushes("desk", 1).await;
    service.pushes("phone", 0).await;
    let pushes = service.pushes("phone", 1).await;
    let expected = json!({ "type": "missed", "messages": 2, "conversations": 1 });
    assert_eq!(pushes[0]["payload"], expected);
    // To the minute.
    assert!(Clock::system().now() + TimeDelta::seconds(1) >= until);
}

#[tokio::test]
async fn a_digest_is_mailed_once_to_who_is_away() {
    let (mut server, olga) = owned_server_with(&PUSHES).await;
    let inbox = Inbox::at(&server.data_dir().join("mail"));
    let bob = Person::register(&server.url(), "bob").await;
    verifies_address(&bob, &inbox).await;
    put(
        &bob,
        "/v1/users/me/notifications",
        json!({ "digest_after_s": 2 }),
    )
    .await;
    let group = olga.starts_group("Tea", &[&bob]).await;
    let path = format!("/v1/conversations/{group}/messages");
    let call = json!({ "body": "tea?", "mentions": ["everyone"] });
    olga.post(&path, call).await.ok();
    let subject = "1 message for you on Verbatim";
    let letter = inbox.wait_for("bob@example.org", subject).await;
    assert!(letter.text().contains("Tea: 1 message"), "{letter:?}");
    assert!(letter.text().contains("turn digests off"));
    assert!(!letter.text().contains("tea?"));
    recorded(&olga, "digest-issued", 1).await;
    server.stop().await;
    server.start_again().await;
    // Of two messages there is one mail more: the first was told.
    let call = json!({ "body": "bob?", "mentions": [{ "user": bob.id }] });
    olga.post(&path, call).await.ok();
    inbox
        .wait_for("bob@example.org", "2 messages for you on Verbatim")
        .await;
    recorded(&olga, "digest-issued", 2).await;
}

#[tokio::test]
async fn in_a_cluster_a_push_comes_once_whichever_projector_is_killed() {
    let service = PushService::start().await;
    let mut cluster = Cluster::start(PROGRAM, Plan::default()).await;
    let arguments = PUSHES.map(ToOwned::to_owned);
    for node in &mut cluster.nodes {
        if matches!(node.role, "projector" | "command-api") {
            node.kill().await;
            node.set_arguments(&arguments);
            node.start_again().await;
        }
    }
    let url = cluster.url();
    let olga = owner_of(&url, &cluster.owner_code(PROGRAM).await).await;
    let bob = Person::register(&url, "bob").await;
    service.subscribes(&bob, "laptop").await;
    let group = olga.starts_group("Tea", &[&bob]).await;
    olga.says(&group, "tea?").await;
    service.pushes("laptop", 1).await;
    recorded(&olga, "pushes-settled", 1).await;
    service.hold().await;
    olga.says(&group, "or coffee?").await;
    service.holds().await;
    for projector in cluster.of_role("projector") {
        projector.kill().await;
    }
    service.release().await;
    for projector in cluster.of_role("projector") {
        projector.start_again().await;
    }
    service.pushes("laptop", 2).await;
    recorded(&olga, "pushes-settled", 2).await;
    olga.says(&group, "hello?").await;
    service.pushes("laptop", 3).await;
}
