//! What was read and is itself on the record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{FromCategory as _, events};
use crate::ids::{ConversationId, Position, UserId};
use crate::stream::StreamName;

/// Which part of the log an auditor asked for. An absent field means "all".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// One conversation and its receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// One stream, whichever; asked for through the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// After this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    /// Up to and with this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Position>,
    /// Recorded at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Caused by this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
    /// Only these stored types; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// `log-replayed`: recorded before the first event is handed out. Who did it stands in the
/// metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// What was asked for.
    pub selection: Selection,
}

/// `data-exported`: recorded before the first line is handed out. Who did it stands in the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Whose data: today always that of who did it.
    pub of: UserId,
}

events! {
    /// An event in the stream `audit`.
    AuditEvent {
        /// Somebody read the log.
        "log-replayed" => Replayed(Replayed),
        /// Somebody took their own data out.
        "data-exported" => Exported(Exported),
    }
}
