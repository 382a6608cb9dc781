//! The rules of Verbatim: ids, values, events, and the deciders that turn commands into events.
//!
//! Pure: no IO, no async, no clock, no randomness. Time and ids arrive inside commands.

pub mod attachment;
pub mod audit;
mod change;
pub mod conversation;
mod decider;
pub mod event;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fuzz;
mod ids;
pub mod mail;
pub mod notifications;
pub mod owners;
mod personal;
pub mod pushes;
pub mod receipts;
pub mod reservation;
pub mod service;
pub mod session;
pub mod space;
mod stream;
#[cfg(test)]
mod testing;
pub mod user;
pub mod values;

pub use change::Change;
pub use decider::{Decider, Refusal, RefusalKind};
pub use event::{Actor, DecodeError, Event, Metadata};
pub use ids::{
    AttachmentId, CategoryId, CommandId, ConversationId, EventId, InviteId, PasskeyId, Position,
    PushSubscriptionId, Seq, ServiceId, SessionId, SpaceId, SpaceRoleId, UserId, Version,
};
pub use personal::Personal;
pub use stream::{StreamName, StreamNameInvalid};
