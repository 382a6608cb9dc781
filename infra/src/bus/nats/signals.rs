//! Signals on core NATS: `{prefix}.signals.{what}`.

use futures::StreamExt as _;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{NatsBus, away};
use crate::bus::signals::{SIGNALS_WAITING_MAX, Signal, SignalKind, Signals};
use crate::failure::Failure;

/// [`Signals`] between processes.
pub struct NatsSignals {
    outgoing: mpsc::Sender<Signal>,
    heard: broadcast::Sender<Signal>,
    _ends: DropGuard,
}

impl NatsSignals {
    /// Begins to pass signals; stops when dropped.
    pub async fn start(bus: &NatsBus) -> Result<Self, Failure> {
        let all = format!("{}.>", bus.subjects.signals());
        let mut incoming = bus
            .client
            .subscribe(all)
            .await
            .map_err(|error| away("listen to signals", error))?;
        let (outgoing, mut waiting) = mpsc::channel::<Signal>(SIGNALS_WAITING_MAX);
        let heard = broadcast::Sender::new(SIGNALS_WAITING_MAX);
        let stop = CancellationToken::new();

        let (tell, stopped) = (heard.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Some(message) = incoming.next().await {
                match serde_json::from_slice(&message.payload) {
                    // Without listeners nobody misses it.
                    Ok(signal) => drop(tell.send(signal)),
                    Err(error) => tracing::debug!(%error, "a signal cannot be read"),
                }
            }
        }));

        let (bus, stopped) = (bus.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Some(signal) = waiting.recv().await {
                say(&bus, &signal).await;
            }
        }));
        Ok(Self {
            outgoing,
            heard,
            _ends: stop.drop_guard(),
        })
    }
}

impl Signals for NatsSignals {
    fn send(&self, signal: &Signal) {
        if self.outgoing.try_send(signal.clone()).is_err() {
            metrics::counter!("verbatim_signals_dropped_total").increment(1);
        }
    }

    fn listen(&self) -> broadcast::Receiver<Signal> {
        self.heard.subscribe()
    }
}

async fn say(bus: &NatsBus, signal: &Signal) {
    let subjects = bus.subjects.signals();
    let subject = match &signal.kind {
        SignalKind::Typing { conversation, .. } => format!("{subjects}.typing.{conversation}"),
        SignalKind::Here { user, .. } | SignalKind::Gone { user } => {
            format!("{subjects}.presence.{user}")
        }
        SignalKind::Alive { .. } | SignalKind::RollCall { .. } | SignalKind::Ends => {
            format!("{subjects}.node.{}", signal.node.0)
        }
    };
    match serde_json::to_vec(signal) {
        Ok(payload) => {
            if let Err(error) = bus.client.publish(subject, payload.into()).await {
                tracing::debug!(%error, "a signal is lost");
            }
        }
        Err(error) => tracing::error!(%error, "a signal cannot be encoded"),
    }
}
