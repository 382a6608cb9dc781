//! The README's tour: two accounts, a conversation, a live stream, history, who has seen it, a
//! replay.

use reqwest::Method;
use serde_json::{Value, json};
use tests::Listener;

use crate::site::Site;

pub(crate) async fn two_people_talk_and_an_auditor_replays_it(site: &Site) {
    let olga = &site.owner;
    let bob = site.person("bob").await;
    let conversation = olga.starts_group("Lunch", &[&bob]).await;

    let (mut listener, ready) = Listener::live(&bob).await;
    assert_eq!(ready["user"], bob.id);
    assert_eq!(ready["conversations"], json!([conversation]));
    let seq = olga.says(&conversation, "Noodles at noon?").await;
    let heard = listener.wait_for_event("message-sent").await;
    assert_eq!(heard["conversation"], conversation);
    assert_eq!(heard["seq"], seq);
    assert_eq!(heard["data"]["body"], "Noodles at noon?");
    assert_eq!(heard["actor"], format!("user:{}", olga.id));
    let cursor = heard["cursor"].as_str().expect("a cursor");
    let path = format!("/v1/conversations/{conversation}/messages/{seq}?min_position={cursor}");
    assert_eq!(bob.get(&path).await.ok()["body"], "Noodles at noon?");

    listener
        .send(json!({
            "op": "send_message", "id": "answer-1", "conversation": conversation,
            "body": "Yes!", "reply_to": seq,
        }))
        .await;
    let answered = listener.wait_for("ack").await;
    assert_eq!(answered["id"], "answer-1");
    let answer_seq = answered["seq"].as_u64().expect("a seq");

    let seen = format!("/v1/conversations/{conversation}/receipts/seen");
    let marked = bob
        .ask(Method::PUT, &seen, Some(json!({ "seq": seq })), &[])
        .await
        .ok();
    let position = &marked["position"];

    let page = olga
        .get(&format!(
            "/v1/conversations/{conversation}/messages?min_position={position}"
        ))
        .await
        .ok();
    let said: Vec<_> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .collect();
    assert_eq!(said.len(), 2);
    assert_eq!(
        (&said[0]["body"], &said[1]["body"]),
        (&json!("Noodles at noon?"), &json!("Yes!"))
    );
    assert_eq!(said[1]["seq"], answer_seq);
    assert_eq!(said[1]["reply_to"], seq);

    let receipts = olga
        .get(&format!(
            "/v1/conversations/{conversation}/messages/{seq}/receipts?min_position={position}"
        ))
        .await
        .ok();
    let seen_by: Vec<&Value> = receipts["receipts"]
        .as_array()
        .expect("list")
        .iter()
        .collect();
    assert_eq!(seen_by.len(), 1, "{receipts}");
    assert_eq!(seen_by[0]["member"], bob.id);
    assert_eq!(seen_by[0]["seen"]["seq"], seq);

    let replayed = olga
        .text(&format!("/v1/audit/conversations/{conversation}/events"))
        .await;
    let types: Vec<String> = replayed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .map(|event| event["type"].as_str().expect("a type").to_owned())
        .collect();
    let expected = [
        "conversation-started",
        "message-sent",
        "message-sent",
        "seen-up-to",
    ];
    assert_eq!(types, expected);
    let record = olga.text("/v1/audit/events?type=log-replayed").await;
    assert_eq!(
        record.lines().count(),
        1,
        "each use is on the record: {record}"
    );
}

pub(crate) async fn the_same_command_twice_gives_the_first_answer(site: &Site) {
    let olga = &site.owner;
    let conversation = olga.starts_group("Notes", &[]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let key = [("Idempotency-Key", "k-1")];
    let body = json!({ "body": "once" });
    let first = olga
        .ask(Method::POST, &path, Some(body.clone()), &key)
        .await;
    let again = olga.ask(Method::POST, &path, Some(body), &key).await;
    assert_eq!(first.clone().ok(), again.ok());
    let other = olga
        .ask(Method::POST, &path, Some(json!({ "body": "twice" })), &key)
        .await;
    other.problem(422, "idempotency_key_reused");
    let position = first.ok()["position"].clone();
    let page = olga
        .get(&format!("{path}?min_position={position}"))
        .await
        .ok();
    assert_eq!(page["messages"].as_array().expect("messages").len(), 1);
}
