//! Who is behind a request: a person, or a service with a token of its own.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::service::Scope;
use domain::user::{PresenceChoice, SystemRole, Through};
use domain::values::IssuerName;
use domain::{Actor, ServiceId, SessionId, UserId};

/// Somebody whose token was checked, as of that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who. A bot is the user whose account it has; the id of any other service is nobody's, and
    /// [`crate::http::Authenticated`] does not let it act.
    pub user: UserId,
    /// Through which login. With an issuer's own access token it is the login there: revoking it here
    /// ends what its tokens are worth here. Of a service its own id, which is no login's: it tells its
    /// connections.
    pub session: SessionId,
    /// On which issuer's word; `None` for a login by means of our own.
    pub issuer: Option<IssuerName>,
    /// What they may do on the whole server. Of a service, the roles that its scopes stand for.
    pub system_roles: BTreeSet<SystemRole>,
    /// When the token or the login ends by itself, whichever comes first.
    pub expires_at: DateTime<Utc>,
    /// The account's login epoch when what opened the login was checked.
    pub login_epoch: u32,
    /// As what the account's user chose to be shown.
    pub presence: PresenceChoice,
    /// Person or service.
    pub kind: CallerKind,
}

/// Person or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A person who logged in.
    Person,
    /// A program with a service's token.
    Service {
        /// Which service.
        service: ServiceId,
        /// What it may do.
        scopes: BTreeSet<Scope>,
    },
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

    /// Whether they read how the server is doing: an analyst, or who runs it.
    pub fn is_analyst(&self) -> bool {
        self.system_roles.contains(&SystemRole::Analyst) || self.is_admin()
    }

    /// Whether they import history: who runs the server, or a service that is there for it.
    pub fn is_importer(&self) -> bool {
        self.is_admin() || self.has_scope(Scope::Importer)
    }

    /// Whether they are a user with an account: a person or a bot.
    pub fn is_user(&self) -> bool {
        match &self.kind {
            CallerKind::Person => true,
            CallerKind::Service { scopes, .. } => scopes.contains(&Scope::Bot),
        }
    }

    /// The session through which they ask.
    pub const fn through(&self) -> Through {
        Through {
            session: self.session,
            login_epoch: self.login_epoch,
        }
    }

    /// Who caused what they do.
    pub fn actor(&self) -> Actor {
        match &self.kind {
            CallerKind::Service { service, .. } if !self.is_user() => Actor::Service(*service),
            CallerKind::Person | CallerKind::Service { .. } => Actor::User(self.user),
        }
    }

    fn has_scope(&self, scope: Scope) -> bool {
        match &self.kind {
            CallerKind::Person => false,
            CallerKind::Service { scopes, .. } => scopes.contains(&scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, fresh_id};

    fn person(role: SystemRole) -> Caller {
        Caller {
            user: UserId(fresh_id()),
            session: SessionId(fresh_id()),
            system_roles: [role].into(),
            expires_at: Clock::system().now(),
            login_epoch: 0,
            issuer: None,
            presence: PresenceChoice::default(),
            kind: CallerKind::Person,
        }
    }

    #[test]
    fn roles_include_those_below_but_none_includes_the_auditor() {
        let may = |role| {
            let caller = person(role);
            [
                caller.is_owner(),
                caller.is_admin(),
                caller.is_analyst(),
                caller.is_importer(),
                caller.is_auditor(),
            ]
        };
        assert_eq!(may(SystemRole::Owner), [true, true, true, true, false]);
        assert_eq!(may(SystemRole::Admin), [false, true, true, true, false]);
        assert_eq!(may(SystemRole::Analyst), [false, false, true, false, false]);
        assert_eq!(may(SystemRole::Auditor), [false, false, false, false, true]);
    }

    #[test]
    fn only_a_bot_among_services_is_a_user() {
        for (scope, is_user) in [(Scope::Bot, true), (Scope::Importer, false)] {
            let service = ServiceId(fresh_id());
            let caller = Caller {
                system_roles: BTreeSet::new(),
                kind: CallerKind::Service {
                    service,
                    scopes: [scope].into(),
                },
                ..person(SystemRole::Auditor)
            };
            assert_eq!(caller.is_user(), is_user);
            assert_eq!(caller.is_importer(), !is_user);
            let actor = if is_user {
                Actor::User(caller.user)
            } else {
                Actor::Service(service)
            };
            assert_eq!(caller.actor(), actor);
        }
    }
}
