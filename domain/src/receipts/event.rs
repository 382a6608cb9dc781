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
    /// Whether it is the member's own only: others did not learn of it when it was made. Never of what
    /// was delivered.
    #[serde(default, skip_serializing_if = "is_open")]
    pub private: bool,
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
    /// Whether it is the member's own only: others did not learn of it when it was made.
    #[serde(default, skip_serializing_if = "is_open")]
    pub private: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it like this"
)]
const fn is_open(private: &bool) -> bool {
    !*private
}

impl ReceiptsEvent {
    /// Whose alone it is, where others do not learn of it.
    pub const fn only_for(&self) -> Option<UserId> {
        let (member, private) = match self {
            Self::Delivered(mark) | Self::Seen(mark) => (mark.member, mark.private),
            Self::ThreadSeen(mark) => (mark.member, mark.private),
        };
        if private { Some(member) } else { None }
    }
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
