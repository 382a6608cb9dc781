//! What can have happened to a login.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{UserId, Version};
use crate::personal::Personal;
use crate::values::IssuerName;

/// `session-opened`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Whose.
    pub user: UserId,
    /// After this moment its tokens are worth nothing.
    pub expires_at: DateTime<Utc>,
    /// What the client calls its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Personal<String>>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Personal<String>>,
    /// On whose word it was opened; `None` for one by means of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched_by: Option<VouchedBy>,
}

/// The identity on whose word a session was opened. Once that is no way in any more, nor is the session,
/// also where another of the same issuer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VouchedBy {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// Where in the user's stream the identity was linked.
    pub since: Version,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBecause {
    /// The user logged out.
    LoggedOut,
}

/// `session-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Why.
    pub because: RevokedBecause,
}

events! {
    /// An event in a stream `session-{id}`.
    SessionEvent {
        /// Somebody logged in.
        "session-opened" => Opened(Opened),
        /// Its tokens are worth nothing from now on.
        "session-revoked" => Revoked(Revoked),
    }
}
