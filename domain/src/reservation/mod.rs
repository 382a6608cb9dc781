//! A handle, an e-mail address or an issuer's identity, which only one user at a time may hold. The stream is named by a
//! keyed hash, so that nothing about a person stands in its name.

mod decide;
mod event;

pub use decide::{Command, Refused, Reservation, State};
pub use event::*;
