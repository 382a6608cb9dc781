//! What can have happened to something that only one may hold.

use serde::{Deserialize, Serialize};

use crate::event::{FromCategory as _, events};
use crate::ids::UserId;

/// `claimed` and `released`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Who holds it, or held it.
    pub user: UserId,
}

events! {
    /// An event in a stream `handle-{hmac}`, `email-{hmac}` or `identity-{hmac}`.
    ReservationEvent {
        /// Somebody holds it.
        "claimed" => Claimed(Held),
        /// It is free again.
        "released" => Released(Held),
    }
}
