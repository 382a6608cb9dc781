//! The query API over both kinds of read database, filled by the projector from a log in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the answer; clippy knows only functions marked as tests"
)]

mod attachments;
mod audit;
mod door;
#[path = "../../../projector/tests/it/harness.rs"]
#[expect(dead_code, reason = "the projector's own tests use the rest")]
mod harness;
mod messages;
mod people;
mod reads;
mod search;
mod threads;
mod visibility;
