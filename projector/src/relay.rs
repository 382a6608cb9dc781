//! The relay: a projection of the log whose target is NATS. Its checkpoint is the last message there,
//! so that a stream that was lost is filled again from the log by itself. Of several relays one
//! publishes; the messages of another would be refused by the server.

use std::sync::Arc;

use domain::Position;
use infra::bus::{EventStream, NatsBus, PublishError};
use infra::event_store::{EventStore, SubscriptionItem, subscribe_all};
use infra::failure::Failure;
use tokio_util::sync::CancellationToken;

use crate::generation::Retry;

/// Publishes the log to NATS.
pub struct Relay {
    store: Arc<dyn EventStore>,
    bus: NatsBus,
    window: RelayWindow,
}

/// How much JetStream keeps of the log; the log itself keeps everything.
#[derive(Clone, Copy, Debug)]
pub struct RelayWindow {
    /// Bytes; the oldest messages go first.
    pub bytes_max: u64,
    /// Servers that have a copy each: 1, or 3 or 5 in a cluster of NATS.
    pub replicas: usize,
}

/// The stream has more than the log, so that it is of another log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the NATS stream goes up to position {published} and the log only up to {head}: it is of \
     another log; choose another NATS prefix, or remove the stream"
)]
struct OtherLog {
    published: Position,
    head: Position,
}

impl Relay {
    /// A relay from `store` to `bus`. Nothing happens before [`Relay::run`].
    pub const fn new(store: Arc<dyn EventStore>, bus: NatsBus, window: RelayWindow) -> Self {
        Self { store, bus, window }
    }

    /// Publishes what is there and what comes, until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = Retry::new("relay");
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.publish(&mut retry) => ended,
            };
            let paused = match ended {
                PublishError::NotTheLast => {
                    tracing::warn!("another relay publishes too, or the NATS stream was changed");
                    retry.pause_after(&PublishError::NotTheLast, &stop)
                }
                PublishError::Failure(failure) => retry.pause_after(&failure, &stop),
            };
            paused.await;
        }
    }

    /// Opens the stream and publishes after its last message; returns why it does not go on.
    async fn publish(&self, retry: &mut Retry) -> PublishError {
        let RelayWindow {
            bytes_max,
            replicas,
        } = self.window;
        let mut stream = match EventStream::open(&self.bus, bytes_max, replicas).await {
            Ok(stream) => stream,
            Err(failure) => return failure.into(),
        };
        let (published, head) = (stream.position(), *self.store.head().borrow());
        if published > head {
            return Failure::internal("publish events", OtherLog { published, head }).into();
        }
        tracing::info!(%published, %head, "the relay publishes");
        let mut subscription = subscribe_all(Arc::clone(&self.store), published);
        loop {
            match subscription.next().await {
                Ok(SubscriptionItem::Events(events)) => {
                    if let Err(error) = stream.publish(&events).await {
                        return error;
                    }
                    retry.succeeded();
                    metrics::counter!("verbatim_relay_events_total").increment(events.len() as u64);
                    measure(stream.position());
                }
                Ok(SubscriptionItem::CaughtUp) => measure(stream.position()),
                Err(failure) => return failure.into(),
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn measure(position: Position) {
    metrics::gauge!("verbatim_relay_position").set(position.0 as f64);
}
