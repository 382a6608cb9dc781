//! What can have happened to the circle of owners.

use serde::{Deserialize, Serialize};

use crate::event::{FromCategory as _, events};
use crate::ids::UserId;

/// `owner-added` and `owner-removed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerChanged {
    /// Who.
    pub user: UserId,
}

events! {
    /// An event in the stream `owners`.
    OwnersEvent {
        /// Somebody is an owner.
        "owner-added" => Added(OwnerChanged),
        /// Somebody is one no more.
        "owner-removed" => Removed(OwnerChanged),
    }
}
