//! Signals on core NATS: `{prefix}.signals.{what}`.

use futures::StreamExt as _;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::NatsBus;
use crate::bus::signals::{SIGNALS_WAITING_MAX, Signal, SignalKind, Signals};
use crate::failure::Failure;

/// [`Signals`] between processes.
pub struct NatsSignals {
    bus: NatsBus,
    outgoing: mpsc::Sender<Signal>,
    heard: broadcast::Sender<Signal>,
    _ends: DropGuard,
}

impl NatsSignals {
    /// Begins to pass signals; stops when dropped.
    pub async fn start(bus: &NatsBus) -> Result<Self, Failure> {
        let all = format!("{}.>", bus.subjects.signals());
        let mut incoming = bus.subscribe(all).await?;
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

        let (to, stopped) = (bus.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Some(signal) = waiting.recv().await {
                say(&to, &signal).await;
            }
        }));
        Ok(Self {
            bus: bus.clone(),
            outgoing,
            heard,
            _ends: stop.drop_guard(),
        })
    }
}

impl Signals for NatsSignals {
    fn send(&self, signal: &Signal) {
        // What is said while nobody listens is not said later, when it is no longer true.
        if !self.bus.is_connected() || self.outgoing.try_send(signal.clone()).is_err() {
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
        SignalKind::Gone { user } => format!("{subjects}.presence.{user}"),
        SignalKind::Here { .. }
        | SignalKind::Alive { .. }
        | SignalKind::RollCall { .. }
        | SignalKind::Ends => format!("{subjects}.node.{}", signal.node.0),
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
