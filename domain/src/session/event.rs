//! What can have happened to a login.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{UserId, Version};
use crate::personal::Personal;
use crate::session::factor::Factor;
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
    /// SHA-256 of its first refresh token, in hex. Sessions that were opened before there were refresh
    /// tokens have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_hash: Option<String>,
    /// The account's login epoch when what opened it was checked; 0 where none is stored.
    #[serde(default, skip_serializing_if = "is_first_epoch")]
    pub login_epoch: u32,
    /// What its user showed to open it (RFC 8176 calls it so). Empty for sessions from before that was kept.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub amr: BTreeSet<Factor>,
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference to the field"
)]
const fn is_first_epoch(epoch: &u32) -> bool {
    *epoch == 0
}

/// `session-refreshed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Number of the refresh token that is the newest from now on; that of the login was 0.
    pub generation: u32,
    /// Its SHA-256, in hex.
    pub refresh_hash: String,
    /// When, by the clock of whoever decided it.
    pub at: DateTime<Utc>,
    /// What the client calls its device from now on, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Personal<String>>,
    /// Where it came from this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Personal<String>>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBecause {
    /// The user logged out.
    LoggedOut,
    /// A refresh token came that had been exchanged before: somebody else may have a copy.
    RefreshReused,
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
        /// It has another refresh token.
        "session-refreshed" => Refreshed(Refreshed),
        /// Its tokens are worth nothing from now on.
        "session-revoked" => Revoked(Revoked),
    }
}
