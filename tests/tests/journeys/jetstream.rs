//! What NATS has after a bad day, and whether it is of use again. No client would notice that it is
//! not: what does not come by NATS is read from the log.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tests::{ClusterNode, Listener};

use crate::site::Site;

/// The JetStream stream of events.
const STREAM: &str = "verbatim-events";

/// Counts how often a process read the log because NATS was quiet about it.
const FALLBACKS: &str = "verbatim_bus_fallbacks_total";

/// How long it may take until all is well again.
const WELL_WITHIN: Duration = Duration::from_mins(1);

/// Before it is looked again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Messages that must be heard by NATS alone.
const MESSAGES: usize = 5;

/// How long they may take; shorter than listeners wait for one frame.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

/// Checks that the stream has the log, once and in order, and that gateways hear by NATS.
pub(crate) async fn is_well(site: &Site) {
    let group = json!({ "kind": "group", "title": "Afterwards", "members": [] });
    let started = site.owner.insists("/v1/conversations", &group, &[]);
    let started = tokio::time::timeout(WELL_WITHIN, started).await;
    let started = started.expect("the server works again");
    let position = started["position"].as_u64().expect("a position");
    has_the_log(site, position).await;
    let conversation = started["id"].as_str().expect("an id");
    is_heard(site, conversation).await;
}

/// Waits until the stream has the log, which goes at least up to `position`, and compares them.
async fn has_the_log(site: &Site, position: u64) {
    let log = tokio::time::timeout(WELL_WITHIN, log(site, position)).await;
    let log = log.expect("the log goes as far as what was acknowledged");
    let head = *log.last().expect("events");
    let nats = site.cluster.as_ref().expect("a cluster").nats[0].url();
    let published = async {
        loop {
            match Box::pin(published(&nats, head)).await {
                Ok(Some(published)) => return published,
                Ok(None) => {}
                Err(error) => eprintln!("{STREAM} cannot be read: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let published = tokio::time::timeout(WELL_WITHIN, published).await;
    let mut published =
        published.unwrap_or_else(|_| panic!("{STREAM} does not come to position {head}"));
    let ascends = published.positions.is_sorted_by(|one, next| one < next);
    assert!(ascends, "{STREAM} has a position twice, or not in order");
    let first = published.positions[0];
    if published.is_whole {
        assert_eq!(first, log[0], "{STREAM} begins where the log begins");
    }
    // The replay itself made an event, which may be there as well.
    published.positions.retain(|position| *position <= head);
    let log: Vec<u64> = log
        .into_iter()
        .filter(|position| *position >= first)
        .collect();
    let differs = published.positions.iter().zip(&log).find(|(a, b)| a != b);
    assert!(
        published.positions == log,
        "{STREAM} has {} of {} positions; they differ first at {differs:?}",
        published.positions.len(),
        log.len()
    );
}

/// The positions of the log as soon as it goes up to `position`: the process that is asked may be a
/// moment behind the one that wrote.
async fn log(site: &Site, position: u64) -> Vec<u64> {
    loop {
        let events = site.owner.replays("/v1/audit/events").await;
        let positions: Vec<u64> = events
            .iter()
            .map(|event| event["position"].as_u64().expect("a position"))
            .collect();
        if positions.last().is_some_and(|last| *last >= position) {
            return positions;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the stream has.
struct Published {
    positions: Vec<u64>,
    /// Nothing of it was discarded.
    is_whole: bool,
}

/// Reads the stream; `None` where it does not go up to `head` yet.
async fn published(nats: &str, head: u64) -> Result<Option<Published>, async_nats::Error> {
    let client = async_nats::connect(nats).await?;
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream(STREAM).await?;
    let state = &stream.cached_info().state;
    if state.messages == 0 {
        return Ok(None);
    }
    let last = stream.get_raw_message(state.last_sequence).await?;
    if position(&last.headers) < head {
        return Ok(None);
    }
    let count = usize::try_from(state.messages)?;
    let headers_only = OrderedConfig {
        headers_only: true,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(headers_only).await?;
    let mut messages = consumer.messages().await?.take(count);
    let mut positions = Vec::with_capacity(count);
    while let Some(message) = messages.next().await {
        let message = message?;
        positions.push(position(message.headers.as_ref().expect("headers")));
    }
    Ok(Some(Published {
        positions,
        is_whole: state.first_sequence == 1,
    }))
}

fn position(headers: &HeaderMap) -> u64 {
    let value = headers.get("ce-position").expect("a position");
    value.as_str().parse().expect("a number")
}

/// Waits until messages in `conversation` are heard at each gateway without its reading the log for
/// them.
async fn is_heard(site: &Site, conversation: &str) {
    let cluster = site.cluster.as_ref().expect("a cluster");
    let gateways = cluster.nodes.iter().filter(|node| node.role == "gateway");
    let gateways: Vec<String> = gateways.map(ClusterNode::url).collect();
    let heard = async {
        loop {
            let heard = Box::pin(hears_by_nats(site, &gateways, conversation));
            if tokio::time::timeout(HEARD_WITHIN, heard).await == Ok(true) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(WELL_WITHIN, heard)
        .await
        .expect("messages come by NATS, and not only from the log");
}

/// Whether some messages were heard at each of `gateways` while none of them fell back to the log.
async fn hears_by_nats(site: &Site, gateways: &[String], conversation: &str) -> bool {
    let mut listeners = Vec::new();
    for gateway in gateways {
        let Some(listener) = Listener::try_live(&site.owner.at(gateway)).await else {
            return false;
        };
        listeners.push(listener);
    }
    let before = fallbacks(gateways).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    for number in 0..MESSAGES {
        let message = json!({ "body": format!("afterwards {number}") });
        let sent = site.owner.insists(&path, &message, &[]).await;
        for listener in &mut listeners {
            if !hears(listener, &sent["seq"]).await {
                return false;
            }
        }
    }
    fallbacks(gateways).await == before
}

/// Whether the message `seq` comes before the connection ends.
async fn hears(listener: &mut Listener, seq: &Value) -> bool {
    while let Some(frame) = listener.try_next().await {
        if frame["type"] == "message-sent" && frame["seq"] == *seq {
            return true;
        }
    }
    false
}

/// How often these processes fell back to the log, all together.
async fn fallbacks(gateways: &[String]) -> u64 {
    let mut sum = 0;
    for gateway in gateways {
        let metrics = reqwest::get(format!("{gateway}/metrics")).await;
        let metrics = metrics.expect("the gateway answers").text().await;
        let metrics = metrics.expect("metrics");
        let lines = metrics.lines().filter(|line| line.starts_with(FALLBACKS));
        let counts = lines.filter_map(|line| line.rsplit(' ').next());
        let counts = counts.map(|count| count.parse::<u64>().expect("a count"));
        sum += counts.sum::<u64>();
    }
    sum
}
