//! An account: who somebody is and what they may do on this server.

mod blocks;
mod bot;
pub mod code_budget;
pub mod codes;
mod decide;
mod event;
mod identity;
mod preferences;
mod profile;
mod standing;
#[cfg(test)]
mod testing;

pub use bot::NewBot;
pub use decide::{Account, Command, Refused, Sessions, State, User};
pub use event::*;
pub use identity::{Identities, Identity, IdentityCommand, Vouched};
pub use preferences::Preferences;
pub use profile::{Profile, ProfileDraft};
pub use standing::{Standing, Suspend, Suspension};
