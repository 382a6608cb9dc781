//! The user behind a request.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::user::SystemRole;
use domain::{SessionId, UserId};

/// A user whose token was checked, as of that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// Through which login.
    pub session: SessionId,
    /// What they may do on the whole server.
    pub system_roles: BTreeSet<SystemRole>,
    /// When the token or the login ends by itself, whichever comes first.
    pub expires_at: DateTime<Utc>,
    /// The account's login epoch when what opened the login was checked.
    pub login_epoch: u32,
}

impl Caller {
    /// Whether they read the whole log, on the record.
    pub fn is_auditor(&self) -> bool {
        self.system_roles.contains(&SystemRole::Auditor)
    }

    /// Whether they run the server: an admin, or the owner.
    pub fn is_admin(&self) -> bool {
        self.system_roles.contains(&SystemRole::Admin) || self.is_owner()
    }

    /// Whether they own the server.
    pub fn is_owner(&self) -> bool {
        self.system_roles.contains(&SystemRole::Owner)
    }
}
