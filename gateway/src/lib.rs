//! Streams committed events to clients, over WebSocket and Server-Sent Events, from any age of
//! cursor, and takes their commands on the way.
//!
//! It keeps nothing that a restart would miss: what a client has is in its cursor, what it may see
//! is in its memberships, and what happened is in the log. Layers, from the wire inwards:
//!
//! - `frames`: what is said;
//! - `session` and `sse`: one connection each, its timers, limits and commands;
//! - `feed`: what one user gets to see, in which order;
//! - `ring` and `replay`: the two places that events come from, memory and the log;
//! - `hub`: follows the log once for all, `mailbox` its word to one connection;
//! - `signals`, `presence`, `cursor`, `memberships`, `limits`, `shutdown`: what their names say.

mod cursor;
mod entry;
mod feed;
pub mod frames;
#[cfg(test)]
mod fuzz;
mod gateway;
mod hub;
mod limits;
mod mailbox;
mod memberships;
mod presence;
mod replay;
mod ring;
mod session;
mod shutdown;
mod signals;
mod sse;

pub use gateway::{Gateway, Parts, Status, routes};
pub use limits::Limits;
pub use memberships::{
    LogMemberships, MEMBERSHIPS_WITHIN, Membership, Memberships, MembershipsAt, MembershipsError,
};
