//! What can have happened to pushing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{Position, PushSubscriptionId, UserId};

/// How far pushing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Everything up to here is settled.
    pub up_to: Position,
    /// The message after that of which a part is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Quiet hours that ended up to this moment are settled.
    pub quiet_until: DateTime<Utc>,
    /// Of those that ended up to a later moment, those of users up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_part: Option<QuietPart>,
}

/// Part of those who are told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// The message.
    pub position: Position,
    /// Users up to this one are settled.
    pub user: UserId,
}

/// Part of those whose quiet hours ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuietPart {
    /// Up to this moment.
    pub until: DateTime<Utc>,
    /// Users up to this one are settled.
    pub user: UserId,
}

/// `pushes-settled`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
    /// How many pushes were taken by push services since the last such event.
    pub sent: u32,
}

/// From where on a browser is to be told what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Untold {
    /// When the first of it was said.
    pub since: DateTime<Utc>,
    /// The position before it.
    pub after: Position,
}

/// A browser whose push service did not take a push. When it takes one again, it is told what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Whose browser.
    pub user: UserId,
    /// Which.
    pub subscription: PushSubscriptionId,
    /// Since when nothing was taken.
    pub failing_since: DateTime<Utc>,
    /// What it is still to be told; absent where that was seen meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Untold>,
}

/// `push-retries-changed`: all of them, in place of those before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriesChanged {
    /// What is to be tried again: one for each browser.
    pub waiting: Vec<Waiting>,
}

events! {
    /// An event in one of the streams `pushes-sent` and `pushes-waiting`.
    PushesEvent {
        /// Pushing is further.
        "pushes-settled" => Settled(Settled),
        /// Other pushes are to be tried again.
        "push-retries-changed" => RetriesChanged(RetriesChanged),
    }
}
