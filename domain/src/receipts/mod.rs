//! Delivered and seen marks of a conversation's members, and seen marks of its threads. A mark is the seq up to which everything
//! has been delivered to, or seen by, a member; it only grows.

mod decide;
mod event;

pub use decide::{Command, Mark, MarkOf, Receipts, Refused, State};
pub use event::{MarkKind, MarkedUpTo, ReceiptsEvent, ThreadMarkedUpTo};
