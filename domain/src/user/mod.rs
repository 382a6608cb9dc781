//! An account: who somebody is and what they may do on this server.

mod blocks;
mod bot;
pub mod codes;
mod decide;
mod event;
pub mod factors;
mod preferences;
mod profile;
mod standing;
#[cfg(test)]
mod testing;

pub use bot::NewBot;
pub use decide::{Account, Command, Refused, Sessions, State, User};
pub use event::*;
pub use preferences::Preferences;
pub use profile::{Profile, ProfileDraft};
pub use standing::{Standing, Suspend, Suspension};
