//! A service account: a program with a token of its own that may do some things and no others.

mod decide;
mod event;

pub use decide::{Command, Issue, Live, New, Refused, Service, State};
pub use event::*;
