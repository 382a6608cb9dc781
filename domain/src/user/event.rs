//! What can have happened to an account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::personal::Personal;
use crate::user::codes::{CodeHash, CodePurpose};
use crate::values::{DisplayName, Email, Handle};

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

/// `code-issued`: a code is to be mailed. It is made of the event's command, account, purpose and
/// expiry under a key of the server's, so that it stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeIssued {
    /// What it is for.
    pub purpose: CodePurpose,
    /// Where it goes.
    pub email: Personal<Email>,
    /// Of the code.
    pub hash: CodeHash,
    /// When it was asked for.
    pub issued_at: DateTime<Utc>,
    /// From this moment on it is worth nothing.
    pub expires_at: DateTime<Utc>,
}

/// `code-refused` and `code-used`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeDone {
    /// What the code is for.
    pub purpose: CodePurpose,
}

/// `email-verified`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailVerified {
    /// Which address.
    pub email: Personal<Email>,
}

/// `system-role-granted` and `system-role-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRoleChanged {
    /// Which role.
    pub role: SystemRole,
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
        /// A code is mailed to its address.
        "code-issued" => CodeIssued(CodeIssued),
        /// Somebody sent another code than the one that was mailed.
        "code-refused" => CodeRefused(CodeDone),
        /// Somebody sent the code, which is worth nothing from now on.
        "code-used" => CodeUsed(CodeDone),
        /// Its address is its user's.
        "email-verified" => EmailVerified(EmailVerified),
        /// It may do more.
        "system-role-granted" => SystemRoleGranted(SystemRoleChanged),
        /// It may do less.
        "system-role-revoked" => SystemRoleRevoked(SystemRoleChanged),
    }
}
