//! What can have happened to marks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{Seq, UserId};

/// Which mark.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A device has it.
    Delivered,
    /// The person has seen it.
    Seen,
}

/// `delivered-up-to` and `seen-up-to`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedUpTo {
    /// Whose mark.
    pub member: UserId,
    /// The last seq of the conversation that it covers.
    pub seq: Seq,
}

/// `thread-seen-up-to`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadMarkedUpTo {
    /// Whose mark.
    pub member: UserId,
    /// The message that the thread began with.
    pub thread: Seq,
    /// The last seq of the conversation that it covers, of what is in the thread.
    pub seq: Seq,
}

events! {
    /// An event in a stream `receipts-{conversation}`.
    ReceiptsEvent {
        /// Delivered to a device of the member.
        "delivered-up-to" => Delivered(MarkedUpTo),
        /// Seen by the member.
        "seen-up-to" => Seen(MarkedUpTo),
        /// Seen by the member in a thread.
        "thread-seen-up-to" => ThreadSeen(ThreadMarkedUpTo),
    }
}
