//! How far pushing is: what of the log was pushed, and which pushes are to be tried again. There are two
//! streams, and the last event of each says all there is to know: whoever goes on reads no more.

mod decide;
mod event;

pub use decide::{Command, Pushes, Refused, State};
pub use event::*;
