//! A login of a user on a device, from opening to revocation.

mod decide;
mod event;

pub use decide::{Command, Refused, Session, State};
pub use event::*;
