//! The rules of an account.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::personal::Personal;
use crate::user::event::{
    PasswordSet, ProfileChanged, Registered, SystemRole, SystemRoleChanged, UserEvent,
};
use crate::values::{DisplayName, Email, Handle};

/// Decides for streams `user-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct User;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin the account. That handle and address are the user's is known when this is asked.
    Register {
        /// Whose account.
        user: UserId,
        /// The address.
        email: Email,
        /// The unique name.
        handle: Handle,
        /// What to be called.
        display_name: DisplayName,
        /// Of the password, in PHC format.
        password_hash: String,
    },
    /// Begin the account of somebody from another system, who cannot log in yet.
    Import {
        /// Whose account.
        user: UserId,
        /// The address, where the other system gave it.
        email: Option<Email>,
        /// The unique name.
        handle: Handle,
        /// What to be called.
        display_name: DisplayName,
        /// Where the account came from, such as `slack:U5213C2A7`.
        imported_from: String,
    },
    /// Change what the user is called.
    ChangeProfile {
        /// Whose account.
        user: UserId,
        /// What to be called.
        display_name: DisplayName,
    },
    /// Let the user do more.
    GrantSystemRole(SystemRole),
    /// Let the user do less.
    RevokeSystemRole(SystemRole),
}

/// Why an account says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// There is one already.
    #[error("this account is registered already")]
    AlreadyRegistered,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user_not_found",
            Self::AlreadyRegistered => "already_registered",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered => RefusalKind::Conflict,
        }
    }
}

/// The state of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// Set once registered.
    pub account: Option<Account>,
}

/// An account that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The unique name.
    pub handle: Handle,
    /// The address.
    pub email: Option<Email>,
    /// What to be called.
    pub display_name: DisplayName,
    /// In PHC format; `None` for those who cannot log in.
    pub password_hash: Option<String>,
    /// What they may do on the whole server.
    pub system_roles: BTreeSet<SystemRole>,
}

impl Decider for User {
    type State = State;
    type Command = Command;
    type Event = UserEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "user";

    fn decide(state: &State, command: &Command) -> Result<Vec<UserEvent>, Refused> {
        match command {
            Command::Register {
                user,
                email,
                handle,
                display_name,
                password_hash,
            } => {
                if state.account.is_some() {
                    return Err(Refused::AlreadyRegistered);
                }
                Ok(vec![
                    UserEvent::Registered(Registered {
                        email: Some(Personal::new(*user, email.clone())),
                        display_name: Personal::new(*user, display_name.clone()),
                        handle: handle.clone(),
                        imported_from: None,
                    }),
                    UserEvent::PasswordSet(PasswordSet {
                        hash: Personal::new(*user, password_hash.clone()),
                    }),
                ])
            }
            Command::Import {
                user,
                email,
                handle,
                display_name,
                imported_from,
            } => {
                if state.account.is_some() {
                    return Ok(vec![]);
                }
                Ok(vec![UserEvent::Registered(Registered {
                    email: email.clone().map(|email| Personal::new(*user, email)),
                    display_name: Personal::new(*user, display_name.clone()),
                    handle: handle.clone(),
                    imported_from: Some(imported_from.clone()),
                })])
            }
            Command::ChangeProfile { user, display_name } => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                if account.display_name == *display_name {
                    return Ok(vec![]);
                }
                let display_name = Personal::new(*user, display_name.clone());
                Ok(vec![UserEvent::ProfileChanged(ProfileChanged {
                    display_name,
                })])
            }
            Command::GrantSystemRole(role) => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                if account.system_roles.contains(role) {
                    return Ok(vec![]);
                }
                Ok(vec![UserEvent::SystemRoleGranted(SystemRoleChanged {
                    role: *role,
                })])
            }
            Command::RevokeSystemRole(role) => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                if !account.system_roles.contains(role) {
                    return Ok(vec![]);
                }
                Ok(vec![UserEvent::SystemRoleRevoked(SystemRoleChanged {
                    role: *role,
                })])
            }
        }
    }

    fn evolve(mut state: State, _version: Version, event: &UserEvent) -> State {
        match event {
            UserEvent::Registered(registered) => {
                state.account = Some(Account {
                    handle: registered.handle.clone(),
                    email: registered.email.as_ref().map(|email| email.value.clone()),
                    display_name: registered.display_name.value.clone(),
                    password_hash: None,
                    system_roles: BTreeSet::new(),
                });
            }
            UserEvent::ProfileChanged(changed) => {
                state.change(|account| account.display_name = changed.display_name.value.clone());
            }
            UserEvent::PasswordSet(set) => {
                state.change(|account| account.password_hash = Some(set.hash.value.clone()));
            }
            UserEvent::SystemRoleGranted(changed) => state.change(|account| {
                account.system_roles.insert(changed.role);
            }),
            UserEvent::SystemRoleRevoked(changed) => state.change(|account| {
                account.system_roles.remove(&changed.role);
            }),
        }
        state
    }
}

impl State {
    fn change(&mut self, change: impl FnOnce(&mut Account)) {
        if let Some(account) = &mut self.account {
            change(account);
        }
    }
}
