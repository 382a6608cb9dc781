//! The door: the log, served over KurrentDB's gRPC protocol, so that its official clients in any
//! language can read it, follow it and, with the service token, append to it.
//!
//! A revision is our version less one; commit and prepare position are our position. It has no state of
//! its own, decides nothing and removes nothing. Not served: persistent subscriptions, projections,
//! gossip, links, access lists, and the newer protocol's appends to several streams.

mod access;
mod append;
mod batch;
mod delete;
mod events;
mod expected;
mod features;
mod filter;
mod follow;
mod limits;
mod pages;
mod proto;
mod read;
mod record;
mod server;
mod service;
mod socket;
mod statuses;
mod streams;

pub use access::{Deletes, KnownUser, Logins, SERVICE_TOKEN_BYTES_MIN, SERVICE_USER, ServiceToken};
pub use server::{Door, Parts, Tls};
