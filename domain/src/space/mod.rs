//! A space: people, their roles, and the channels in which they talk. Its stream is the one order in
//! which its members, roles and channels changed; what is said is in the channels, which are
//! conversations of their own.

mod channels;
mod command;
mod decide;
mod event;
mod following;
mod invites;
mod members;
mod overrides;
mod permissions;
#[cfg(test)]
mod properties;
mod refused;
mod roles;
mod state;

pub use command::{Act, Command, Target};
pub use decide::SpaceRules;
pub use event::*;
pub use permissions::{Because, Explained, Permission, Permissions, Standing};
pub use refused::Refused;
pub use state::{
    Category, Channel, Invite, Member, Override, Overrides, Sight, Sights, Space, SpaceRole, State,
    Touch,
};
