//! The query API over both kinds of read database, filled by the projector from a log in memory.

mod audit;
mod door;
#[path = "../../../projector/tests/it/harness.rs"]
#[expect(dead_code, reason = "the projector's own tests use the rest")]
mod harness;
mod reads;
mod visibility;
