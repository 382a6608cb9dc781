//! What can have happened to a service account.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{Actor, FromCategory as _, events};
use crate::ids::UserId;
use crate::values::DisplayName;

/// What a service may do. It may do nothing else.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read the whole log, each time on the record.
    Auditor,
    /// Read how the server is doing.
    Analyst,
    /// Act as a user of its own. Goes with no other scope.
    Bot,
    /// Import history.
    Importer,
}

/// `service-created`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// What it is called.
    pub name: DisplayName,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The user as whom it acts, where it is a bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<UserId>,
    /// Who made it.
    pub by: Actor,
}

/// `service-token-issued`: from now on this token is the service's, and no earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIssued {
    /// The how many-th token it is, from 1.
    pub generation: u32,
    /// SHA-256 of the token, as 64 digits of lower-case hex.
    pub hash: String,
    /// After this moment it is worth nothing; absent: it lasts until it is replaced or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// `service-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Who revoked it.
    pub by: Actor,
}

events! {
    /// An event in a stream `service-{id}`.
    ServiceEvent {
        /// There is a service.
        "service-created" => Created(Created),
        /// It has another token.
        "service-token-issued" => TokenIssued(TokenIssued),
        /// Its token is worth nothing, and it gets no other.
        "service-revoked" => Revoked(Revoked),
    }
}
