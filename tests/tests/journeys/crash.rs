//! A server that is killed loses nothing it acknowledged, and its listeners miss nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person};

use crate::owned_server;

/// Kills in one journey.
const ROUNDS: usize = 5;

/// Sends until told to stop, each message until it is acknowledged, under one key; gives what was
/// acknowledged: seq to body.
async fn sends(
    person: Person,
    conversation: String,
    round: usize,
    stop: Arc<AtomicBool>,
) -> BTreeMap<u64, String> {
    let path = format!("/v1/conversations/{conversation}/messages");
    let mut acknowledged = BTreeMap::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let body = format!("{} {round} {number}", person.id);
        let key = [("Idempotency-Key", body.as_str())];
        let sent = person
            .try_ask(Method::POST, &path, Some(json!({ "body": body })), &key)
            .await;
        let Ok(answer) = sent else { break };
        if answer.status.is_success() {
            acknowledged.insert(answer.body["seq"].as_u64().expect("a seq"), body);
        }
    }
    acknowledged
}

/// Listens until the connection ends; adds what it hears.
async fn listens(
    mut listener: Listener,
    mut cursor: Option<String>,
    mut heard: Vec<(u64, String)>,
) -> (Option<String>, Vec<(u64, String)>) {
    while let Some(frame) = listener.try_next().await {
        if frame["op"] == "event" && frame["type"] == "message-sent" {
            let body = frame["data"]["body"].as_str().expect("a body").to_owned();
            heard.push((frame["seq"].as_u64().expect("a seq"), body));
        }
        if let Some(newer) = frame["cursor"].as_str() {
            cursor = Some(newer.to_owned());
        }
    }
    (cursor, heard)
}

#[tokio::test]
async fn kill_during_sends_loses_nothing_and_listeners_resume_exactly() {
    let (mut server, mut olga) = owned_server().await;
    let mut bob = Person::register(server.url(), "bob").await;
    let conversation = olga.starts_group("Storm", &[&bob]).await;
    let mut acknowledged = BTreeMap::new();
    let mut cursor = None;
    let mut heard = Vec::new();

    for round in 0..ROUNDS {
        let listener = match &cursor {
            None => {
                let (listener, ready) = Listener::live(&bob).await;
                cursor = ready["cursor"].as_str().map(str::to_owned);
                listener
            }
            Some(cursor) => Listener::resumed(&bob, cursor).await,
        };
        let listening = tokio::spawn(listens(listener, cursor.take(), std::mem::take(&mut heard)));
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = [&olga, &bob, &olga]
            .into_iter()
            .enumerate()
            .map(|(index, person)| {
                let part = round * 10 + index;
                tokio::spawn(sends(
                    person.clone(),
                    conversation.clone(),
                    part,
                    Arc::clone(&stop),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(150 + 70 * round as u64)).await;
        server.kill().await;
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            acknowledged.extend(sender.await.expect("it ends"));
        }
        (cursor, heard) = listening.await.expect("it ends");
        server.start_again().await;
        olga.moved_to(server.url());
        bob.moved_to(server.url());
    }

    assert!(
        acknowledged.len() > ROUNDS,
        "the storm was one: {}",
        acknowledged.len()
    );
    let log = log_of(&olga, &conversation).await;
    for (seq, body) in &acknowledged {
        assert_eq!(log.get(seq), Some(body), "acknowledged and lost");
    }
    let bodies: std::collections::BTreeSet<_> = log.values().collect();
    assert_eq!(bodies.len(), log.len(), "nothing is there twice");

    let mut listener = Listener::resumed(&bob, &cursor.expect("a cursor")).await;
    let last = *log.keys().last().expect("messages");
    while heard.last().is_none_or(|(seq, _)| *seq < last) {
        let event = listener.wait_for_event("message-sent").await;
        let body = event["data"]["body"].as_str().expect("a body").to_owned();
        heard.push((event["seq"].as_u64().expect("a seq"), body));
    }
    assert_eq!(
        heard,
        log.into_iter().collect::<Vec<_>>(),
        "a gap or a repeat"
    );
}

async fn log_of(auditor: &Person, conversation: &str) -> BTreeMap<u64, String> {
    let path = format!("/v1/audit/conversations/{conversation}/events?type=message-sent");
    let text = auditor.text(&path).await;
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events
        .map(|event| {
            let body = event["data"]["body"]["value"]
                .as_str()
                .expect("a body")
                .to_owned();
            (event["version"].as_u64().expect("a version"), body)
        })
        .collect()
}
