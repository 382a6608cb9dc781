//! A file that somebody uploaded. Its stream says what it is and what became of it; its bytes are kept
//! elsewhere, under its id. Which messages have it stands in their conversations.

mod decide;
mod event;

pub use decide::{Attachment, Command, Kept, Refused, State};
pub use event::*;
