//! Clients on a bad day: they send until each message is acknowledged, listen with a cursor and come
//! back whenever they are cut. Afterwards everything acknowledged must be in the log once, and every
//! listener must have heard exactly the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::listener::Listener;
use crate::person::{AGAIN_AFTER, Person};

/// Between two messages of one sender.
const PAUSE: Duration = Duration::from_millis(15);

/// How long a client without news waits before it says that it is there.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// For so long after the last message nothing may come again.
const AFTER_LAST: Duration = Duration::from_millis(300);

/// How long the clients may take to come to rest once nothing goes wrong any more.
const REST_MAX: Duration = Duration::from_mins(2);

/// Seqs, and what was said.
type Said = Vec<(u64, String)>;

/// Senders and listeners in one conversation.
pub struct Storm {
    conversation: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Said>>,
    listeners: Vec<JoinHandle<Said>>,
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
        acknowledged.sort_unstable();
        for pair in acknowledged.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "one seq for two messages: {pair:?}");
        }
        let newest = acknowledged.last().map_or(0, |(seq, _)| *seq);
        let log = log_of(auditor, &self.conversation, newest).await;
        let ascends = log.is_sorted_by(|(seq, _), (next, _)| seq < next);
        assert!(ascends, "a seq is there twice, or not in order");
        let by_seq: BTreeMap<u64, &String> = log.iter().map(|(seq, body)| (*seq, body)).collect();
        for (seq, body) in &acknowledged {
            assert_eq!(by_seq.get(seq), Some(&body), "acknowledged and lost");
        }
        let bodies: BTreeSet<&String> = by_seq.into_values().collect();
        assert_eq!(bodies.len(), log.len(), "nothing is there twice");
        self.last.send_replace(log.last().map(|(seq, _)| *seq));
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
        let message = json!({ "body": body });
        let key = [("Idempotency-Key", body.as_str())];
        let answer = person.insists(&path, &message, &key).await;
        acknowledged.push((answer["seq"].as_u64().expect("a seq"), body));
        count.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
    acknowledged
}

/// Listens, comes back after each cut, and ends a moment after it has heard the last.
async fn listens(
    person: Person,
    listener: Listener,
    mut cursor: String,
    last: watch::Receiver<Option<u64>>,
) -> Said {
    let mut heard = Said::new();
    let mut connected = Some(listener);
    let mut ends_at: Option<Instant> = None;
    loop {
        let has_last = last
            .borrow()
            .is_some_and(|last| heard.iter().any(|(seq, _)| *seq >= last));
        if has_last {
            let ends_at = *ends_at.get_or_insert_with(|| Instant::now() + AFTER_LAST);
            if Instant::now() >= ends_at {
                return heard;
            }
        }
        let Some(listener) = &mut connected else {
            tokio::time::sleep(AGAIN_AFTER).await;
            connected = Listener::try_resume(&person, &cursor).await;
            continue;
        };
        let quiet_max =
            ends_at.map_or(QUIET_MAX, |at| at.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(quiet_max, listener.try_next()).await {
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

/// The messages of a conversation, by an auditor's replay, as soon as it goes up to `newest`: the
/// process that is asked may be a moment behind the one that acknowledged.
async fn log_of(auditor: &Person, conversation: &str, newest: u64) -> Said {
    let path = format!("/v1/audit/conversations/{conversation}/events?type=message-sent");
    let replayed = async {
        loop {
            let events = auditor.replays(&path).await;
            let log: Said = events.iter().map(said).collect();
            if log.last().map_or(0, |(seq, _)| *seq) >= newest {
                return log;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    let log = tokio::time::timeout(REST_MAX, replayed).await;
    log.expect("the log goes as far as what was acknowledged")
}

/// What a stored message says.
fn said(event: &Value) -> (u64, String) {
    let body = event["data"]["body"]["value"].as_str().expect("a body");
    let version = event["version"].as_u64().expect("a version");
    (version, body.to_owned())
}
