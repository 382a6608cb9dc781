//! What Verbatim needs from the world: ports, the adapters behind them, and the plumbing that the
//! roles share. Rules about conversations are in `domain`; routes are in the role crates.

pub mod auth;
mod backoff;
pub mod blobs;
pub mod bus;
pub mod clock;
pub mod codes;
pub mod commands;
pub mod data_folder;
pub mod database;
pub mod event_store;
pub mod factors;
pub mod failure;
pub mod files;
pub mod http;
pub mod issuers;
pub mod keys;
pub mod leadership;
pub mod limits;
pub mod mail;
pub mod problem;
pub mod read_models;
pub mod seal;
pub mod snapshots;
pub mod states;
pub mod tls;
pub mod trace;
