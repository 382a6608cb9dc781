//! What can have happened to an account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::personal::Personal;
use crate::values::{DisplayName, Email, Handle, IssuerName, Subject};

/// What a user may do on the whole server, besides being a user.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// Gives and takes system roles, and everything an admin may.
    Owner,
    /// Runs the server: imports, rebuilds, reads its status.
    Admin,
    /// Reads the whole log, each time on the record.
    Auditor,
}

/// `user-registered`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The address, where there is one: imported users may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
    /// What the user wants to be called.
    pub display_name: Personal<DisplayName>,
    /// The unique name.
    pub handle: Handle,
    /// Where the account came from when it was imported, such as `slack:U5213C2A7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
}

/// `profile-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileChanged {
    /// What the user wants to be called from now on.
    pub display_name: Personal<DisplayName>,
}

/// `password-set`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordSet {
    /// In PHC format (`$argon2id$…`).
    pub hash: Personal<String>,
}

/// `system-role-granted` and `system-role-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRoleChanged {
    /// Which role.
    pub role: SystemRole,
}

/// `external-identity-linked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityLinked {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// For whom it vouches, in its own terms.
    pub subject: Personal<Subject>,
    /// The address, where the issuer says that it is theirs. Where it is the account's own, that one is
    /// verified by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
    /// Of when the issuer's record is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
}

/// `external-identity-updated`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityUpdated {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// Of when its record is.
    pub as_of: DateTime<Utc>,
    /// What the user is called from now on, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Personal<DisplayName>>,
    /// The address of the identity and of the account from now on, where that changed: verified by the
    /// issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
}

/// Why an identity is no way in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlinkedBecause {
    /// The user asked for it.
    Asked,
    /// The issuer does not know it any more.
    DeletedByIssuer,
}

/// `external-identity-unlinked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityUnlinked {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// For whom it vouched, in its own terms.
    pub subject: Personal<Subject>,
    /// Why.
    pub because: UnlinkedBecause,
    /// Of when the issuer's record is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
}

events! {
    /// An event in a stream `user-{id}`.
    UserEvent {
        /// The account begins.
        "user-registered" => Registered(Registered),
        /// It has another profile.
        "profile-changed" => ProfileChanged(ProfileChanged),
        /// It has another password.
        "password-set" => PasswordSet(PasswordSet),
        /// It may do more.
        "system-role-granted" => SystemRoleGranted(SystemRoleChanged),
        /// It may do less.
        "system-role-revoked" => SystemRoleRevoked(SystemRoleChanged),
        /// An issuer's word is a way in.
        "external-identity-linked" => ExternalIdentityLinked(ExternalIdentityLinked),
        /// The issuer's record says something else.
        "external-identity-updated" => ExternalIdentityUpdated(ExternalIdentityUpdated),
        /// The issuer's word is a way in no longer.
        "external-identity-unlinked" => ExternalIdentityUnlinked(ExternalIdentityUnlinked),
    }
}
