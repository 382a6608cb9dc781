//! The bus on NATS: JetStream for events, core NATS for hearing of them and for signals.
//!
//! Subjects, below a prefix: `events.{category}.{key}` has the events of a stream (JetStream keeps
//! them), `index` says after each batch what was in it, `signals.…` is what passes by. A listener
//! that has the index of a batch knows which events it must have got, and reads those that it has
//! not from the log. Works with servers from 2.9.

mod events;
mod index;
mod message;
mod publisher;
mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use domain::StreamName;
use percent_encoding::percent_decode_str;

use crate::failure::Failure;

pub use events::NatsEvents;
pub use publisher::{EventStream, PublishError};
pub use signals::NatsSignals;

/// Longest wait between two tries to connect. There is no last try: a server comes back.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// How often a quiet connection is tried.
const PING_EVERY: Duration = Duration::from_secs(5);

/// How long the connection may take to accept what it is asked. It accepts nothing more while the server
/// is away and its queue is full.
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);

/// Messages that one subscription may hold; more are dropped, and read from the log.
const SUBSCRIPTION_MESSAGES_MAX: usize = 8_192;

/// Letters of a subject prefix.
const PREFIX_BYTES_MAX: usize = 40;

/// An address or a prefix that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NatsUrlInvalid(String);

/// A connection to NATS that comes back by itself. Cheap to clone; clones are the same connection.
#[derive(Clone)]
pub struct NatsBus {
    client: Client,
    subjects: Arc<Subjects>,
}

/// The subjects of one installation.
#[derive(Debug)]
struct Subjects {
    prefix: String,
}

impl Subjects {
    fn event(&self, stream: &StreamName) -> String {
        let (category, key) = (stream.category(), stream.key());
        let key = if key.is_empty() { "_" } else { key };
        format!("{}.events.{}.{}", self.prefix, token(category), token(key))
    }

    /// Of all streams with this key: a conversation and its receipts.
    fn events_of_key(&self, key: &str) -> String {
        format!("{}.events.*.{}", self.prefix, token(key))
    }

    fn all_events(&self) -> String {
        format!("{}.events.>", self.prefix)
    }

    fn index(&self) -> String {
        format!("{}.index", self.prefix)
    }

    fn signals(&self) -> String {
        format!("{}.signals", self.prefix)
    }
}

/// `text` as one token of a subject: what cannot stand in one is `%` and two hexadecimal digits.
fn token(text: &str) -> String {
    use std::fmt::Write as _;
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$' | b'=' | b'@') {
            token.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(token, "%{byte:02x}");
        }
    }
    token
}

impl NatsBus {
    /// A connection to one of `addresses` (`nats://[user:password@]host:port` or
    /// `nats://[token@]host:port`, several with commas; the first that has a login names it for all).
    /// Returns at once; until the connection is there, what is asked of it fails or waits. `name`
    /// names the process in the server's lists.
    pub async fn connect(
        addresses: &str,
        prefix: &str,
        name: &str,
    ) -> Result<Self, NatsUrlInvalid> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(good) {
            return Err(NatsUrlInvalid(format!(
                "a NATS prefix has 1 to {PREFIX_BYTES_MAX} letters, digits, - and _"
            )));
        }
        let servers = addresses
            .split(',')
            .map(|address| address.trim().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| NatsUrlInvalid(format!("not an address of NATS: {error}")))?;
        let was_away = Arc::new(AtomicBool::new(false));
        let client = login(&servers)?
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ping_interval(PING_EVERY)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX).min(8);
                (Duration::from_millis(20) * 2_u32.pow(tries)).min(RECONNECT_MAX)
            })
            .event_callback(move |event| {
                let was_away = Arc::clone(&was_away);
                async move { note(&event, &was_away) }
            })
            .connect(servers)
            .await
            .map_err(|error| NatsUrlInvalid(format!("cannot use NATS: {error}")))?;
        Ok(Self {
            client,
            subjects: Arc::new(Subjects {
                prefix: prefix.to_owned(),
            }),
        })
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Sends what was said so far, and ends the connection.
    pub async fn close(&self) {
        match tokio::time::timeout(ACCEPT_WITHIN, self.client.drain()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection to NATS was closed already"),
            Err(_) => tracing::debug!("NATS is away; what was to be said is lost"),
        }
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber, Failure> {
        const WHAT: &str = "subscribe";
        match tokio::time::timeout(ACCEPT_WITHIN, self.client.subscribe(subject)).await {
            Ok(subscribed) => subscribed.map_err(|error| away(WHAT, error)),
            Err(late) => Err(away(WHAT, late)),
        }
    }
}

/// Options with the login that the first of `servers` has: the client ignores what is in addresses.
fn login(servers: &[ServerAddr]) -> Result<ConnectOptions, NatsUrlInvalid> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| NatsUrlInvalid("a login of NATS is not UTF-8".to_owned()));
        text.map(std::borrow::Cow::into_owned)
    };
    for server in servers {
        match (server.username(), server.password()) {
            (Some(user), Some(password)) => {
                let (user, password) = (decoded(user)?, decoded(password)?);
                return Ok(ConnectOptions::with_user_and_password(user, password));
            }
            (Some(token), None) => return Ok(ConnectOptions::with_token(decoded(token)?)),
            (None, _) => {}
        }
    }
    Ok(ConnectOptions::new())
}

/// Logs what happens to the connection, once each time it goes and comes back.
fn note(event: &Event, was_away: &AtomicBool) {
    match event {
        Event::Connected => {
            if was_away.swap(false, Ordering::Relaxed) {
                tracing::info!("NATS is back");
            }
        }
        Event::Disconnected => {
            if !was_away.swap(true, Ordering::Relaxed) {
                tracing::warn!("NATS is away; what is missed is read from the log");
            }
        }
        Event::SlowConsumer(subscription) => {
            metrics::counter!("verbatim_bus_dropped_total").increment(1);
            tracing::debug!(
                subscription,
                "messages were dropped; they are read from the log"
            );
        }
        Event::ServerError(_) | Event::ClientError(_) => {
            tracing::debug!(%event, "NATS complains");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::debug!(%event, "the connection to NATS");
        }
    }
}

fn away(what: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::unavailable(what, error)
}

#[cfg(test)]
mod tests {
    use domain::StreamName;

    use super::Subjects;

    #[test]
    fn every_stream_has_one_subject() {
        let subjects = Subjects {
            prefix: String::from("v"),
        };
        let of = |name| subjects.event(&StreamName::parse(name).unwrap());
        assert_eq!(of("conversation-0b-c"), "v.events.conversation.0b-c");
        assert_eq!(of("audit"), "v.events.audit._");
        assert_eq!(of("a b.c>-*"), "v.events.a%20b%2ec%3e.%2a");
    }
}
