//! A conversation: who is in it and what was said. Its stream is the one order in which its
//! members, its messages and its settings changed.

mod channel;
mod command;
mod content;
mod decide;
mod event;
mod imported;
mod inherited;
mod markdown;
mod members;
mod mentions;
mod messages;
mod pins;
mod posting;
#[cfg(test)]
mod properties;
mod refused;
mod settings;
mod start;
mod state;
mod threads;

pub use channel::{ChannelNow, Viewers};
pub use command::{
    Act, Allowed, Command, Contact, Draft, ImportedFact, MessageFact, SettingsChange, UserCommand,
};
pub use content::{Content, ContentKind, Encrypted, Said, TextFormat};
pub use decide::Conversation;
pub use event::*;
pub use mentions::{Mention, MentionedRole};
pub use refused::Refused;
pub use state::{Member, Settings, State};
