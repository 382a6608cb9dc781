//! What can have happened to an account.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::SessionId;
use crate::personal::Personal;
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

/// `system-role-granted` and `system-role-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRoleChanged {
    /// Which role.
    pub role: SystemRole,
}

/// `logged-out-everywhere`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOutEverywhere {
    /// The login epoch that begins: sessions of earlier ones have ended.
    pub epoch: u32,
    /// The one session that goes on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<SessionId>,
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
        /// Its sessions have ended, but for one at most.
        "logged-out-everywhere" => LoggedOutEverywhere(LoggedOutEverywhere),
    }
}
