//! The projector against both kinds of read database: what events become, and what interruptions,
//! rebuilds and damage do not change.

mod failures;
mod folds;
mod harness;
mod histories;
