//! Who owns the server: one small stream, so that there is always somebody. What an owner may do
//! follows from the role in their account; this only keeps the last one from losing it.

mod decide;
mod event;

pub use decide::{Command, Owners, Refused, State};
pub use event::*;
