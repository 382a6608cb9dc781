//! A conversation: who is in it and what was said. Its stream is the one order in which its
//! members, its messages and its settings changed.

mod command;
mod decide;
mod event;
mod state;

pub use command::{Act, Command, Draft, ImportedFact, MessageFact, UserCommand};
pub use decide::{Conversation, Refused};
pub use event::*;
pub use state::State;
