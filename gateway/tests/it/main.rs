//! The gateway through its real doors: TCP, WebSocket, HTTP; over a log in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail like tests"
)]

mod abuse;
mod commands;
mod drain;
mod members;
mod presence;
mod resume;
mod session;
mod signals;
mod sse;
mod storm;
mod world;
