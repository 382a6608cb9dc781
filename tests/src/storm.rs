//! Clients on a bad day: they send until each message is acknowledged, listen with a cursor and come
//! back whenever they are cut. Afterwards everything acknowledged must be in the log once, and every
//! listener must have heard exactly the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::listener::Listener;
use crate::person::Person;

/// Between two messages of one sender.
const PAUSE: Duration = Duration::from_millis(15);

/// Before a client that was cut tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long a client without news waits before it says that it is there.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// How long the clients may take to come to rest once nothing goes wrong any more.
const REST_MAX: Duration = Duration::from_mins(2);

/// By seq, what was said.
type Said = BTreeMap<u64, String>;

/// Senders and listeners in one conversation.
pub struct Storm {
    conversation: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Said>>,
    listeners: Vec<JoinHandle<Vec<(u64, String)>>>,
    last: watch::Sender<Option<u64>>,
}

impl Storm {
    /// `people`, all members of a new conversation of `owner`, listen and then send.
    pub async fn begin(owner: &Person, people: &[Person]) -> Self {
        let members: Vec<&Person> = people.iter().collect();
        let conversation = owner.starts_group("Storm", &members).await;
        let (stop, acknowledged) = (Arc::default(), Arc::default());
        let last = watch::Sender::new(None);
        let mut storm = Self {
            conversation,
            stop,
            acknowledged,
            senders: Vec::new(),
            listeners: Vec::new(),
            last,
        };
        for person in people {
            let (listener, ready) = Listener::live(person).await;
            let cursor = ready["cursor"].as_str().expect("a cursor").to_owned();
            let last = storm.last.subscribe();
            let listens = listens(person.clone(), listener, cursor, last);
            storm.listeners.push(tokio::spawn(listens));
        }
        for (index, person) in people.iter().enumerate() {
            let sends = sends(
                person.clone(),
                storm.conversation.clone(),
                index,
                Arc::clone(&storm.stop),
                Arc::clone(&storm.acknowledged),
            );
            storm.senders.push(tokio::spawn(sends));
        }
        storm
    }

    /// Messages acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until `more` further messages are acknowledged: the storm goes on.
    pub async fn goes_on(&self, more: usize) {
        let goal = self.acknowledged() + more;
        let reached = async {
            while self.acknowledged() < goal {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(REST_MAX, reached)
            .await
            .expect("messages are acknowledged again");
    }

    /// Ends it, and checks that nothing was lost or doubled. Gives how many messages there were.
    pub async fn end(self, auditor: &Person) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut acknowledged = Said::new();
        for sender in self.senders {
            let sent = tokio::time::timeout(REST_MAX, sender).await;
            let sent = sent.expect("every message is acknowledged in the end");
            acknowledged.extend(sent.expect("a sender does not fail"));
        }
        let log = log_of(auditor, &self.conversation).await;
        for (seq, body) in &acknowledged {
            assert_eq!(log.get(seq), Some(body), "acknowledged and lost");
        }
        let bodies: BTreeSet<_> = log.values().collect();
        assert_eq!(bodies.len(), log.len(), "nothing is there twice");
        self.last.send_replace(log.keys().last().copied());
        let log: Vec<(u64, String)> = log.into_iter().collect();
        for listener in self.listeners {
            let heard = tokio::time::timeout(REST_MAX, listener).await;
            let heard = heard.expect("every listener hears the end");
            assert_eq!(
                heard.expect("a listener does not fail"),
                log,
                "a gap or a repeat"
            );
        }
        log.len()
    }
}

/// Sends until told to stop, each message until it is acknowledged, under one key.
async fn sends(
    person: Person,
    conversation: String,
    index: usize,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Said {
    let path = format!("/v1/conversations/{conversation}/messages");
    let mut acknowledged = Said::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let body = format!("{index} says {number}");
        let key = [("Idempotency-Key", body.as_str())];
        loop {
            let sent = person
                .try_ask(Method::POST, &path, Some(json!({ "body": body })), &key)
                .await;
            match sent {
                Ok(answer) if answer.status.is_success() => {
                    let seq = answer.body["seq"].as_u64().expect("a seq");
                    acknowledged.insert(seq, body.clone());
                    count.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Ok(answer) => assert!(may_pass(answer.status), "{answer:?}"),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    acknowledged
}

/// Whether a client tries again after such an answer.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::CONFLICT
        || status == StatusCode::TOO_MANY_REQUESTS
}

/// Listens, comes back after each cut, and ends when it has heard the last.
async fn listens(
    person: Person,
    listener: Listener,
    mut cursor: String,
    last: watch::Receiver<Option<u64>>,
) -> Vec<(u64, String)> {
    let mut heard: Vec<(u64, String)> = Vec::new();
    let mut connected = Some(listener);
    loop {
        let is_last = last
            .borrow()
            .is_some_and(|last| heard.last().is_some_and(|(seq, _)| *seq >= last));
        if is_last {
            return heard;
        }
        let Some(listener) = &mut connected else {
            tokio::time::sleep(AGAIN_AFTER).await;
            connected = Listener::try_resume(&person, &cursor).await;
            continue;
        };
        match tokio::time::timeout(QUIET_MAX, listener.try_next()).await {
            Ok(Some(frame)) => {
                if frame["op"] == "event" && frame["type"] == "message-sent" {
                    let body = frame["data"]["body"].as_str().expect("a body").to_owned();
                    heard.push((frame["seq"].as_u64().expect("a seq"), body));
                }
                if let Some(newer) = frame["cursor"].as_str() {
                    newer.clone_into(&mut cursor);
                }
            }
            Ok(None) => connected = None,
            Err(_) => {
                if !listener.try_send(json!({ "op": "heartbeat" })).await {
                    connected = None;
                }
            }
        }
    }
}

/// The messages of a conversation, by an auditor's replay, as soon as there is one.
async fn log_of(auditor: &Person, conversation: &str) -> Said {
    let path = format!("/v1/audit/conversations/{conversation}/events?type=message-sent");
    let replayed = async {
        loop {
            match auditor.try_text(&path).await {
                Ok((status, text)) if status.is_success() => return text,
                Ok((status, text)) => assert!(may_pass(status), "{status}: {text}"),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    let text = tokio::time::timeout(REST_MAX, replayed).await;
    let text = text.expect("the log can be replayed");
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events
        .map(|event| {
            let body = event["data"]["body"]["value"].as_str().expect("a body");
            (
                event["version"].as_u64().expect("a version"),
                body.to_owned(),
            )
        })
        .collect()
}
