//! An account: who somebody is and what they may do on this server.

mod blocks;
mod bot;
pub mod code_budget;
pub mod codes;
mod decide;
mod event;
pub mod factors;
mod identity;
mod login_epochs;
mod preferences;
mod presence;
mod privacy;
mod profile;
mod refused;
mod standing;
#[cfg(test)]
pub(crate) mod testing;

pub use bot::NewBot;
pub use decide::{Account, Command, Sessions, State, User};
pub use event::*;
pub use identity::{Identities, Identity, IdentityCommand, Vouched};
pub use login_epochs::Through;
pub use preferences::Preferences;
pub use presence::{PresenceChoice, Shown};
pub use privacy::{Privacy, PrivacyDraft, ShownTo};
pub use profile::{Profile, ProfileDraft};
pub use refused::Refused;
pub use standing::{Standing, Suspend, Suspension};
