//! What can have happened to what a user wants to be told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{ConversationId, Position, PushSubscriptionId, SessionId};
use crate::notifications::settings::{Rule, Settings};
use crate::personal::Personal;
use crate::values::Email;

/// `notification-rule-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChanged {
    /// Which conversation.
    pub conversation: ConversationId,
    /// What is set for it now; nothing where it is as all others.
    #[serde(flatten)]
    pub rule: Rule,
}

/// `notification-settings-changed`: all of them, in place of those before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChanged {
    /// What is set now. It says where their clock is.
    pub settings: Personal<Settings>,
}

/// `notifications-read-up-to`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadUpTo {
    /// Up to which position of the log the list is read.
    pub position: Position,
}

/// `push-subscription-added`: a browser takes pushes. One that is there already has other keys, or belongs
/// to another login, from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSubscriptionAdded {
    /// Names it.
    pub subscription: PushSubscriptionId,
    /// Where pushes go and how they are encrypted; sealed with a key of the server's, as whoever knows
    /// it can send to the browser.
    pub target: Personal<String>,
    /// Names exactly this target: a keyed hash.
    pub mark: String,
    /// The login that it ends with.
    pub session: SessionId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a browser gets no more pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBecause {
    /// Its user asked for it.
    Asked,
    /// Its push service does not know it any more.
    Gone,
    /// Its push service took nothing for days.
    Failing,
    /// The login has ended.
    SessionEnded,
}

/// `push-subscription-removed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSubscriptionRemoved {
    /// Which.
    pub subscription: PushSubscriptionId,
    /// Why.
    pub because: RemovedBecause,
}

/// `digest-issued`: what was missed is to be mailed. What it says is looked up when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestIssued {
    /// Where it goes.
    pub email: Personal<Email>,
    /// When.
    pub issued_at: DateTime<Utc>,
    /// From this moment on it is not sent any more.
    pub expires_at: DateTime<Utc>,
}

events! {
    /// An event in a stream `notifications-{user}`.
    NotificationsEvent {
        /// One conversation is told of otherwise.
        "notification-rule-changed" => RuleChanged(RuleChanged),
        /// All of them are.
        "notification-settings-changed" => SettingsChanged(SettingsChanged),
        /// The list is read up to here.
        "notifications-read-up-to" => ReadUpTo(ReadUpTo),
        /// A browser takes pushes.
        "push-subscription-added" => PushSubscriptionAdded(PushSubscriptionAdded),
        /// It takes them no more.
        "push-subscription-removed" => PushSubscriptionRemoved(PushSubscriptionRemoved),
        /// What was missed is to be mailed.
        "digest-issued" => DigestIssued(DigestIssued),
    }
}
