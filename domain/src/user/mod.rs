//! An account: who somebody is and what they may do on this server.

mod decide;
mod event;
mod identity;

pub use decide::{Account, Command, Refused, State, User};
pub use event::*;
pub use identity::{Identities, Identity, IdentityCommand, Vouched};
