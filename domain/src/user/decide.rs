//! The rules of an account.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::personal::Personal;
use crate::user::codes::{self, CodeCommand, CodePurpose, Codes, NewCode};
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
        /// Mailed to the address, to verify it.
        code: NewCode,
    },
    /// Begin the account of somebody from another system. Without a password they come in with a code.
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
    /// Have another password in place of the one that was looked at, or have the same hashed anew.
    ReplacePassword {
        /// Whose account.
        user: UserId,
        /// The hash that was looked at, in PHC format.
        from: String,
        /// Of the new password, in PHC format.
        to: String,
    },
    /// Something about codes in mails.
    Code(CodeCommand),
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
    /// There is nowhere to mail to.
    #[error("this account has no e-mail address")]
    NoAddress,
    /// There is nothing to verify.
    #[error("the e-mail address is verified already")]
    AlreadyVerified,
    /// They have to wait before another is mailed.
    #[error("too many codes were asked for; use the last one, or wait some minutes")]
    TooManyCodes,
    /// There is no such code, or not any more.
    #[error("this is not the code; ask for another if it was tried too often or is too old")]
    WrongCode,
    /// Somebody else was faster.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user_not_found",
            Self::AlreadyRegistered => "already_registered",
            Self::NoAddress => "no_email",
            Self::AlreadyVerified => "email_already_verified",
            Self::TooManyCodes => "too_many_codes",
            Self::WrongCode => "wrong_code",
            Self::PasswordChanged => "password_changed",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered
            | Self::NoAddress
            | Self::AlreadyVerified
            | Self::TooManyCodes
            | Self::PasswordChanged => RefusalKind::Conflict,
            Self::WrongCode => RefusalKind::Forbidden,
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
    /// In PHC format; `None` for those who come in with a code only.
    pub password_hash: Option<String>,
    /// What they may do on the whole server.
    pub system_roles: BTreeSet<SystemRole>,
    /// The last address that was shown to be theirs.
    pub verified_email: Option<Email>,
    /// Those in their mail.
    pub codes: Codes,
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
                code,
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
                    password_set(*user, password_hash),
                    codes::issued(*user, CodePurpose::VerifyEmail, email.clone(), code),
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
            Command::ReplacePassword { user, from, to } => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                account.replace_password(*user, from, to)
            }
            Command::Code(command) => {
                let account = state.account.as_ref().ok_or(Refused::NotFound)?;
                codes::decide(account, command)
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
                state.account.get_or_insert_with(|| Account {
                    handle: registered.handle.clone(),
                    email: registered.email.as_ref().map(|email| email.value.clone()),
                    display_name: registered.display_name.value.clone(),
                    password_hash: None,
                    system_roles: BTreeSet::new(),
                    verified_email: None,
                    codes: Codes::default(),
                });
            }
            UserEvent::ProfileChanged(changed) => {
                state.change(|account| account.display_name = changed.display_name.value.clone());
            }
            UserEvent::PasswordSet(set) => {
                state.change(|account| account.password_hash = Some(set.hash.value.clone()));
            }
            UserEvent::CodeIssued(issued) => state.change(|account| account.codes.issued(issued)),
            UserEvent::CodeRefused(done) => {
                state.change(|account| account.codes.refused(done.purpose));
            }
            UserEvent::CodeUsed(done) => state.change(|account| account.codes.used(done.purpose)),
            UserEvent::EmailVerified(verified) => {
                state.change(|account| account.verified_email = Some(verified.email.value.clone()));
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

fn password_set(user: UserId, hash: &str) -> UserEvent {
    UserEvent::PasswordSet(PasswordSet {
        hash: Personal::new(user, hash.to_owned()),
    })
}

impl Account {
    /// Whether the address was shown to be theirs.
    pub fn is_email_verified(&self) -> bool {
        self.email.is_some() && self.email == self.verified_email
    }

    fn replace_password(
        &self,
        user: UserId,
        from: &str,
        to: &str,
    ) -> Result<Vec<UserEvent>, Refused> {
        match self.password_hash.as_deref() {
            Some(current) if current == to => Ok(vec![]),
            Some(current) if current == from => Ok(vec![password_set(user, to)]),
            Some(_) | None => Err(Refused::PasswordChanged),
        }
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
    use crate::testing::{ALICE, Given, moment};
    use crate::user::codes::CodeHash;

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
            code: code(),
        }
    }

    fn code() -> NewCode {
        NewCode {
            hash: CodeHash::new("of a code".to_owned()),
            at: moment(0),
        }
    }

    fn mailed() -> UserEvent {
        let email = email("alice@example.org");
        codes::issued(ALICE, CodePurpose::VerifyEmail, email, &code())
    }

    fn replace(from: &str, to: &str) -> Command {
        Command::ReplacePassword {
            user: ALICE,
            from: from.to_owned(),
            to: to.to_owned(),
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
    fn to_register_is_to_have_a_name_an_address_and_a_password_and_a_code_in_the_mail() {
        given([])
            .when(register("alice", "$1"))
            .then([registered(), password("$1"), mailed()]);
    }

    #[test]
    fn a_password_is_replaced_by_who_knew_it() {
        let history = || given([registered(), password("$1")]);
        history().when(replace("$1", "$2")).then([password("$2")]);
        history().when(replace("$0", "$1")).then([]);
        history()
            .when(replace("$0", "$2"))
            .then_refused(Refused::PasswordChanged);
        given([imported(None)])
            .when(replace("$1", "$2"))
            .then_refused(Refused::PasswordChanged);
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

    #[test]
    fn who_has_no_account_changes_nothing_of_it() {
        for command in [
            rename("Ally"),
            replace("$1", "$2"),
            Command::GrantSystemRole(SystemRole::Admin),
            Command::RevokeSystemRole(SystemRole::Admin),
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
            ("[12]", "[12]").prop_map(|(from, to)| replace(&format!("${from}"), &format!("${to}"))),
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
