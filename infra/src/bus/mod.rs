//! The bus: how the processes of a cluster hear of committed events, and of signals, without all of
//! them reading the whole log. It is never the record: whatever it loses is read from the log.
//!
//! Two ports, each with an adapter within the process and one on NATS: [`LiveEvents`] for what was
//! committed and [`Signals`] for what passes by. [`NatsBus`] is the connection that both share with
//! the [`EventStream`], through which the relay publishes.

mod live;
mod nats;
mod signals;

pub use live::{Announced, Interest, LiveEvents, LogEvents};
pub use nats::{EventStream, NatsBus, NatsEvents, NatsSignals, NatsUrlInvalid, PublishError};
pub use signals::{
    Here, HereState, LocalSignals, NodeId, SIGNALS_WAITING_MAX, Signal, SignalKind, Signals,
};
