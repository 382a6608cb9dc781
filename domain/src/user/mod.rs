//! An account: who somebody is and what they may do on this server.

pub mod codes;
mod decide;
mod event;

pub use decide::{Account, Command, Refused, State, User};
pub use event::*;
