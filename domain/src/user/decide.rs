//! The rules of an account.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{SessionId, UserId, Version};
use crate::personal::Personal;
use crate::user::event::{
    LoggedOutEverywhere, PasswordSet, ProfileChanged, Registered, SystemRole, SystemRoleChanged,
    UserEvent,
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
    /// End all sessions that there are. Each command ends those opened until then: that one was
    /// carried out before is known by its id alone.
    LogOutEverywhere {
        /// But for this one.
        kept: Option<SessionId>,
    },
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
    /// How often all sessions were ended. A session is of the epoch in which what opened it was checked.
    pub login_epoch: u32,
    /// The session of an earlier epoch that goes on all the same.
    pub kept_session: Option<SessionId>,
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
                if let Some(account) = &state.account {
                    return account.registered_again(handle, email, password_hash);
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
            Command::LogOutEverywhere { kept } => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                Ok(vec![UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
                    epoch: account.login_epoch.saturating_add(1),
                    kept: *kept,
                })])
            }
        }
    }

    fn evolve(mut state: State, _version: Version, event: &UserEvent) -> State {
        match event {
            UserEvent::Registered(registered) => {
                state.account.get_or_insert_with(|| Account {
                    handle: registered.handle.clone(),
                    email: registered.email.as_ref().map(|email| email.value.clone()),
                    display_name: registered.display_name.value.clone(),
                    password_hash: None,
                    system_roles: BTreeSet::new(),
                    login_epoch: 0,
                    kept_session: None,
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
            UserEvent::LoggedOutEverywhere(out) => state.change(|account| {
                account.login_epoch = out.epoch;
                account.kept_session = out.kept;
            }),
        }
        state
    }
}

impl Account {
    /// Whether `session`, which is of `login_epoch`, was not ended together with all others.
    pub fn lets_in(&self, session: SessionId, login_epoch: u32) -> bool {
        login_epoch >= self.login_epoch || self.kept_session == Some(session)
    }

    /// What a registration is told that finds the account there: the very same registration that
    /// it is done, any other that it is too late.
    fn registered_again(
        &self,
        handle: &Handle,
        email: &Email,
        password_hash: &String,
    ) -> Result<Vec<UserEvent>, Refused> {
        let same = self.handle == *handle
            && self.email.as_ref() == Some(email)
            && self.password_hash.as_ref() == Some(password_hash);
        if same {
            Ok(vec![])
        } else {
            Err(Refused::AlreadyRegistered)
        }
    }
}

impl State {
    fn change(&mut self, change: impl FnOnce(&mut Account)) {
        if let Some(account) = &mut self.account {
            change(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ALICE, Given};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(history)
    }

    fn handle(text: &str) -> Handle {
        Handle::parse(text).expect("a good handle")
    }

    fn email(text: &str) -> Email {
        Email::parse(text).expect("a good address")
    }

    fn name(text: &str) -> DisplayName {
        DisplayName::parse(text).expect("a good name")
    }

    fn register(handle_text: &str, hash: &str) -> Command {
        Command::Register {
            user: ALICE,
            email: email("alice@example.org"),
            handle: handle(handle_text),
            display_name: name("Alice"),
            password_hash: hash.to_owned(),
        }
    }

    fn import(address: Option<&str>) -> Command {
        Command::Import {
            user: ALICE,
            email: address.map(email),
            handle: handle("alice"),
            display_name: name("Alice"),
            imported_from: "slack:U1".to_owned(),
        }
    }

    fn rename(to: &str) -> Command {
        Command::ChangeProfile {
            user: ALICE,
            display_name: name(to),
        }
    }

    fn registered() -> UserEvent {
        UserEvent::Registered(Registered {
            email: Some(Personal::new(ALICE, email("alice@example.org"))),
            display_name: Personal::new(ALICE, name("Alice")),
            handle: handle("alice"),
            imported_from: None,
        })
    }

    fn imported(address: Option<&str>) -> UserEvent {
        UserEvent::Registered(Registered {
            email: address.map(|address| Personal::new(ALICE, email(address))),
            display_name: Personal::new(ALICE, name("Alice")),
            handle: handle("alice"),
            imported_from: Some("slack:U1".to_owned()),
        })
    }

    fn password(hash: &str) -> UserEvent {
        UserEvent::PasswordSet(PasswordSet {
            hash: Personal::new(ALICE, hash.to_owned()),
        })
    }

    fn renamed(to: &str) -> UserEvent {
        UserEvent::ProfileChanged(ProfileChanged {
            display_name: Personal::new(ALICE, name(to)),
        })
    }

    fn granted(role: SystemRole) -> UserEvent {
        UserEvent::SystemRoleGranted(SystemRoleChanged { role })
    }

    fn revoked(role: SystemRole) -> UserEvent {
        UserEvent::SystemRoleRevoked(SystemRoleChanged { role })
    }

    #[test]
    fn to_register_is_to_have_a_name_an_address_and_a_password() {
        given([])
            .when(register("alice", "$1"))
            .then([registered(), password("$1")]);
    }

    #[test]
    fn the_same_registration_again_changes_nothing_even_under_another_display_name() {
        given([registered(), password("$1"), renamed("Ally")])
            .when(register("alice", "$1"))
            .then([]);
    }

    #[test]
    fn another_registration_of_the_same_account_is_refused() {
        for other in [register("alicia", "$1"), register("alice", "$2")] {
            given([registered(), password("$1")])
                .when(other)
                .then_refused(Refused::AlreadyRegistered);
        }
        given([imported(Some("alice@example.org"))])
            .when(register("alice", "$1"))
            .then_refused(Refused::AlreadyRegistered);
    }

    #[test]
    fn who_is_imported_has_no_password_and_perhaps_no_address() {
        for address in [None, Some("alice@example.org")] {
            let account = given([])
                .when(import(address))
                .then([imported(address)])
                .account
                .expect("there is an account");
            assert_eq!(account.password_hash, None);
            assert_eq!(account.email, address.map(email));
        }
    }

    #[test]
    fn a_second_import_changes_nothing() {
        given([imported(None)])
            .when(import(Some("alice@example.org")))
            .then([]);
    }

    #[test]
    fn users_change_what_they_are_called() {
        given([registered()])
            .when(rename("Ally"))
            .then([renamed("Ally")]);
        given([registered()]).when(rename("Alice")).then([]);
    }

    #[test]
    fn roles_are_given_and_taken_once() {
        let role = SystemRole::Auditor;
        let grant = Command::GrantSystemRole(role);
        let revoke = Command::RevokeSystemRole(role);
        given([registered()])
            .when(grant.clone())
            .then([granted(role)]);
        given([registered(), granted(role)]).when(grant).then([]);
        given([registered(), granted(role)])
            .when(revoke.clone())
            .then([revoked(role)]);
        given([registered(), granted(SystemRole::Admin)])
            .when(revoke)
            .then([]);
    }

    fn out(epoch: u32, kept: Option<SessionId>) -> UserEvent {
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere { epoch, kept })
    }

    #[test]
    fn logging_out_everywhere_ends_what_was_opened_until_then_and_keeps_one_at_most() {
        let [phone, laptop] = [1, 2].map(|id| SessionId(uuid::Uuid::from_u128(id)));
        let kept = Some(phone);
        let account = given([registered()])
            .when(Command::LogOutEverywhere { kept })
            .then([out(1, kept)])
            .account
            .expect("there is an account");
        assert!(account.lets_in(phone, 0), "it is the one that is kept");
        assert!(!account.lets_in(laptop, 0));
        assert!(account.lets_in(laptop, 1), "it was opened after");

        let account = given([registered(), out(1, kept)])
            .when(Command::LogOutEverywhere { kept: None })
            .then([out(2, None)])
            .account
            .expect("there is an account");
        for epoch in [0, 1] {
            assert!(!account.lets_in(phone, epoch) && !account.lets_in(laptop, epoch));
        }
        assert!(account.lets_in(laptop, 2));
    }

    #[test]
    fn who_has_no_account_changes_nothing_of_it() {
        for command in [
            rename("Ally"),
            Command::GrantSystemRole(SystemRole::Admin),
            Command::RevokeSystemRole(SystemRole::Admin),
            Command::LogOutEverywhere { kept: None },
        ] {
            given([]).when(command).then_refused(Refused::NotFound);
        }
    }

    #[test]
    fn redundant_events_fold_to_nothing() {
        let history = [registered(), password("$1"), granted(SystemRole::Admin)];
        let state = given(history.clone()).state;
        for redundant in [
            imported(None),
            granted(SystemRole::Admin),
            revoked(SystemRole::Owner),
        ] {
            let after = User::evolve(state.clone(), Version(4), &redundant);
            assert_eq!(after, state, "{redundant:?}");
        }
        let nobody = given([renamed("Ally"), password("$1"), granted(SystemRole::Admin)]).state;
        assert_eq!(nobody, State::default());
    }

    fn commands() -> impl Strategy<Value = Vec<Command>> {
        let role = || {
            prop_oneof![
                Just(SystemRole::Owner),
                Just(SystemRole::Admin),
                Just(SystemRole::Auditor)
            ]
        };
        let command = prop_oneof![
            Just(register("alice", "$1")),
            Just(register("alicia", "$2")),
            Just(import(None)),
            "[a-c]".prop_map(|text| rename(&text)),
            role().prop_map(Command::GrantSystemRole),
            role().prop_map(Command::RevokeSystemRole),
        ];
        prop::collection::vec(command, 0..30)
    }

    proptest! {
        #[test]
        fn a_repeat_of_what_was_accepted_changes_nothing(commands in commands()) {
            let mut given = given([]);
            for command in &commands {
                let had_account = given.state.account.is_some();
                if given.accept(command).is_ok() {
                    let repeated = given.accept(command);
                    prop_assert!(repeated.is_ok_and(|events| events.is_empty()), "{command:?}");
                }
                prop_assert!(given.state.account.is_some() >= had_account);
            }
            let registrations = given.events.iter().filter(|e| matches!(e, UserEvent::Registered(_)));
            prop_assert!(registrations.count() <= 1);
        }
    }
}
