//! A conversation: who is in it and what was said. Its stream is the one order in which its
//! members, its messages and its settings changed.

mod command;
mod decide;
mod event;
mod imported;
mod inherited;
mod members;
mod messages;
#[cfg(test)]
mod properties;
mod refused;
mod settings;
mod start;
mod state;

pub use command::{Act, Command, Contact, Draft, ImportedFact, MessageFact, UserCommand};
pub use decide::Conversation;
pub use event::*;
pub use refused::Refused;
pub use state::{Member, Settings, State};
