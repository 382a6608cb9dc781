//! The projector against both kinds of read database: what events become, and what interruptions,
//! rebuilds and damage do not change.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the answer; clippy knows only functions marked as tests"
)]

mod failures;
mod folds;
mod harness;
mod histories;
mod pushes;
mod spaces;
