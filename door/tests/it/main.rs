//! The door over a real socket, with the official Rust client, and the contract of the event store on
//! our adapter of that client.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the answer; clippy knows only functions marked as tests"
)]

mod access;
mod event_store;
mod generated;
mod harness;
mod official;
mod resilience;
