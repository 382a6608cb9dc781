//! What auditors did, and who took their data out: reading the log is itself on the record.

mod decide;
mod event;

pub use decide::{Audit, Command, Refused, State};
pub use event::*;
