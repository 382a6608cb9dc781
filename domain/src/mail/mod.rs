//! What became of a mail that an event asked for. The stream is named by that event, so that the mail is
//! settled once, whoever sends it.

mod decide;
mod event;

pub use decide::{Command, Mail, Refused, State};
pub use event::*;
