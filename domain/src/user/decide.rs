//! The rules of an account.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::Decider;
use uuid::Uuid;

use crate::event::Actor;
use crate::ids::{AttachmentId, ServiceId, SessionId, UserId, Version};
use crate::personal::Personal;
use crate::user::bot::{self, NewBot};
use crate::user::codes::{self, CodeCommand, CodePurpose, Codes, NewCode};
use crate::user::event::{PasswordSet, Registered, SystemRole, SystemRoleChanged, UserEvent};
use crate::user::factors::{self, FactorCommand, Factors};
use crate::user::identity::{self, Identities, IdentityCommand, Vouched};
use crate::user::login_epochs::Through;
use crate::user::preferences::Preferences;
use crate::user::presence::PresenceChoice;
use crate::user::privacy::{Privacy, PrivacyDraft};
use crate::user::profile::{Profile, ProfileDraft};
use crate::user::refused::Refused;
use crate::user::standing::{Suspend, Suspension};
use crate::values::{DisplayName, Email, Handle};

/// Decides for streams `user-{id}`. The rules of one concern each are in the files of this folder.
#[derive(Clone, Copy, Debug)]
pub struct User;

impl User {
    /// The most users that one may have blocked.
    pub const BLOCKS_MAX: usize = 5_000;
}

pub(super) type Decision = Result<Vec<UserEvent>, Refused>;

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
    /// Begin the account of somebody for whom an issuer vouches. That handle, address and identity are
    /// the user's is known when this is asked.
    RegisterVouched {
        /// Whose account.
        user: UserId,
        /// The address, where there is one that nobody else has.
        email: Option<Email>,
        /// The unique name.
        handle: Handle,
        /// What to be called.
        display_name: DisplayName,
        /// The way in.
        vouched: Vouched,
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
    /// Begin the account of a bot, to which nobody logs in.
    RegisterBot(NewBot),
    /// Change what the user says of themselves.
    ChangeProfile {
        /// Whose account.
        user: UserId,
        /// What becomes different.
        profile: Box<ProfileDraft>,
        /// When that is asked.
        now: DateTime<Utc>,
    },
    /// Have another picture, or none. That it is one, and the user's, is known.
    ChangeAvatar {
        /// The picture.
        avatar: Option<AttachmentId>,
    },
    /// Change by which issuers' word the user comes in.
    Identity {
        /// Whose account.
        user: UserId,
        /// What about it.
        command: IdentityCommand,
    },
    /// Put these preferences in place of those before.
    ChangePreferences {
        /// Whose account.
        user: UserId,
        /// All of them.
        preferences: Preferences,
    },
    /// Let others learn something else.
    ChangePrivacy(PrivacyDraft),
    /// Be shown as something else.
    ChoosePresence {
        /// As what, and until when.
        choice: PresenceChoice,
        /// When that is asked.
        now: DateTime<Utc>,
    },
    /// Have nothing to do with `user` any more. That they have an account is known.
    Block {
        /// Who asks, whose account it is.
        by: UserId,
        /// Whom.
        user: UserId,
    },
    /// Mind them no more.
    Unblock {
        /// Whom.
        user: UserId,
    },
    /// Let the user in no more, for now. That the asker may is known when this is asked.
    Suspend(Suspend),
    /// Let them in again, likewise.
    Reinstate {
        /// Who asks.
        by: Actor,
    },
    /// Close the account. That it is its user who asks is known.
    Deactivate,
    /// Open it again, likewise.
    Reactivate,
    /// Have another hash in place of the one that was looked at.
    ReplacePassword {
        /// Whose account.
        user: UserId,
        /// The hash that was looked at, in PHC format.
        from: String,
        /// The other, in PHC format.
        to: String,
        /// What becomes of the sessions.
        sessions: Sessions,
    },
    /// Something about codes in mails.
    Code(CodeCommand),
    /// Something about second factors.
    Factor(FactorCommand),
    /// Let the user do more.
    GrantSystemRole(SystemRole),
    /// Let the user do less.
    RevokeSystemRole(SystemRole),
    /// End all sessions that there are. Each command ends those opened until then: that one was
    /// carried out before is known by its id alone.
    LogOutEverywhere {
        /// Who asks.
        through: Through,
        /// Whether that one goes on.
        keeps: bool,
    },
}

/// What becomes of an account's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// They go on: it is the same password, hashed anew.
    GoOn,
    /// All end but the one that asks: it is another password.
    EndBut(Through),
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
    /// By which issuers' word they come in.
    pub identities: Identities,
    /// What else they say of themselves.
    pub profile: Profile,
    /// Their picture.
    pub avatar: Option<AttachmentId>,
    /// Names the preferences that are set: the same ones have the same name. The preferences
    /// themselves are not kept here, as nothing is decided by them and every check of a token
    /// carries this state.
    pub preferences: Option<Uuid>,
    /// What others learn of them.
    pub privacy: Privacy,
    /// As what they are shown while they are there.
    pub presence: PresenceChoice,
    /// Whom they block; at most [`User::BLOCKS_MAX`].
    pub blocked: BTreeSet<UserId>,
    /// Set while they are suspended, and after a suspension has ended by itself.
    pub suspension: Option<Suspension>,
    /// Whether they closed it themselves.
    pub deactivated: bool,
    /// The service that acts as this user, where it is a bot.
    pub service: Option<ServiceId>,
    /// The last address that was shown to be theirs.
    pub verified_email: Option<Email>,
    /// Those in their mail.
    pub codes: Codes,
    /// What they show besides the password.
    pub factors: Factors,
    /// How often all sessions were ended. A session is of the epoch in which what opened it was checked.
    pub login_epoch: u32,
    /// At which version of the stream all sessions were ended last; zero where they never were.
    pub login_epoch_began: Version,
    /// The session of an earlier epoch that goes on all the same.
    pub kept_session: Option<SessionId>,
}

impl Decider for User {
    type State = State;
    type Command = Command;
    type Event = UserEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "user";

    fn decide(state: &State, command: &Command) -> Decision {
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
                    return account.registered_again(handle, email);
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
            Command::RegisterVouched {
                user,
                email,
                handle,
                display_name,
                vouched,
            } => {
                if let Some(account) = &state.account {
                    return account.vouched_again(vouched);
                }
                Ok(vec![
                    UserEvent::Registered(Registered {
                        email: email.clone().map(|email| Personal::new(*user, email)),
                        display_name: Personal::new(*user, display_name.clone()),
                        handle: handle.clone(),
                        imported_from: None,
                    }),
                    identity::linked(*user, vouched),
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
            Command::RegisterBot(bot) => bot::register(state.account.as_ref(), bot),
            Command::ReplacePassword {
                user,
                from,
                to,
                sessions,
            } => state
                .account()?
                .replace_password(*user, from, to, *sessions),
            Command::Code(command) => codes::decide(state.account()?, command),
            Command::Factor(command) => Ok(factors::decide(&state.account()?.factors, command)?),
            Command::ChangeProfile { user, profile, now } => {
                state.account()?.change_profile(*user, profile, *now)
            }
            Command::ChangeAvatar { avatar } => Ok(state.account()?.change_avatar(*avatar)),
            Command::Identity { user, command } => {
                identity::decide(state.account()?, *user, command)
            }
            Command::ChangePreferences { user, preferences } => {
                Ok(state.account()?.change_preferences(*user, preferences))
            }
            Command::ChangePrivacy(draft) => Ok(state.account()?.change_privacy(*draft)),
            Command::ChoosePresence { choice, now } => {
                state.account()?.choose_presence(*choice, *now)
            }
            Command::Block { by, user } => state.account()?.block(*by, *user),
            Command::Unblock { user } => Ok(state.account()?.unblock(*user)),
            Command::Suspend(suspend) => state.account()?.suspend(suspend),
            Command::Reinstate { by } => Ok(state.account()?.reinstate(*by)),
            Command::Deactivate => state.account()?.deactivate(),
            Command::Reactivate => Ok(state.account()?.reactivate()),
            Command::GrantSystemRole(role) => state.account()?.grant(*role),
            Command::RevokeSystemRole(role) => Ok(state.account()?.revoke(*role)),
            Command::LogOutEverywhere { through, keeps } => {
                let account = state.account()?;
                let session = account.goes_on(through)?;
                Ok(vec![account.log_out_everywhere(keeps.then_some(session))])
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    fn evolve(mut state: State, version: Version, event: &UserEvent) -> State {
        match event {
            UserEvent::Registered(registered) => {
                state.account.get_or_insert_with(|| Account {
                    handle: registered.handle.clone(),
                    email: registered.email.as_ref().map(|email| email.value.clone()),
                    display_name: registered.display_name.value.clone(),
                    password_hash: None,
                    system_roles: BTreeSet::new(),
                    identities: BTreeMap::new(),
                    profile: Profile::default(),
                    avatar: None,
                    preferences: None,
                    privacy: Privacy::default(),
                    presence: PresenceChoice::default(),
                    blocked: BTreeSet::new(),
                    suspension: None,
                    deactivated: false,
                    service: None,
                    verified_email: None,
                    codes: Codes::default(),
                    factors: Factors::default(),
                    login_epoch: 0,
                    login_epoch_began: Version::ZERO,
                    kept_session: None,
                });
            }
            UserEvent::ProfileChanged(changed) => {
                state.change(|account| account.profile_changed(changed));
            }
            UserEvent::AvatarChanged(changed) => {
                state.change(|account| account.avatar = changed.avatar);
            }
            UserEvent::PasswordSet(set) => {
                state.change(|account| account.password_hash = Some(set.hash.value.clone()));
            }
            UserEvent::CodeIssued(issued) => state.change(|account| account.codes.issued(issued)),
            UserEvent::CodeRefused(done) => state.change(|account| account.codes.refused(done)),
            UserEvent::CodeUsed(done) => state.change(|account| account.codes.used(done)),
            UserEvent::EmailVerified(verified) => {
                state.change(|account| account.verified_email = Some(verified.email.value.clone()));
            }
            UserEvent::SystemRoleGranted(changed) => state.change(|account| {
                account.system_roles.insert(changed.role);
            }),
            UserEvent::SystemRoleRevoked(changed) => state.change(|account| {
                account.system_roles.remove(&changed.role);
            }),
            UserEvent::ExternalIdentityLinked(event) => {
                state.change(|account| account.link(version, event));
            }
            UserEvent::ExternalIdentityUpdated(event) => {
                state.change(|account| account.update(event));
            }
            UserEvent::ExternalIdentityUnlinked(event) => {
                state.change(|account| account.unlink(event));
            }
            UserEvent::PreferencesChanged(changed) => state.change(|account| {
                account.preferences = Some(changed.preferences.value.mark());
            }),
            UserEvent::PrivacyChanged(changed) => {
                state.change(|account| account.privacy.changed(changed));
            }
            UserEvent::PresenceChosen(chosen) => {
                state.change(|account| account.presence = chosen.clone().into());
            }
            UserEvent::Blocked(changed) => state.change(|account| {
                account.blocked.insert(changed.user);
            }),
            UserEvent::Unblocked(changed) => state.change(|account| {
                account.blocked.remove(&changed.user);
            }),
            UserEvent::Suspended(suspended) => state.change(|account| {
                let until = suspended.until;
                account.suspension = Some(Suspension { until });
            }),
            UserEvent::Reinstated(_) => state.change(|account| account.suspension = None),
            UserEvent::Deactivated(_) => state.change(|account| account.deactivated = true),
            UserEvent::Reactivated(_) => state.change(|account| account.deactivated = false),
            UserEvent::ServiceAttached(attached) => {
                state.change(|account| account.service = Some(attached.service));
            }
            UserEvent::LoggedOutEverywhere(out) => state.change(|account| {
                account.login_epoch = out.epoch;
                account.login_epoch_began = version;
                account.kept_session = out.kept;
            }),
            UserEvent::TotpBegun(begun) => state.change(|it| it.factors.totp_begun(begun)),
            UserEvent::TotpEnrolled(enrolled) => {
                state.change(|it| it.factors.totp_enrolled(enrolled));
            }
            UserEvent::TotpUsed(used) => state.change(|it| it.factors.totp_used(used)),
            UserEvent::TotpRemoved(_) => state.change(|it| it.factors.totp_removed()),
            UserEvent::RecoveryCodesMade(made) => {
                state.change(|it| it.factors.recovery_codes_made(made));
            }
            UserEvent::RecoveryCodeUsed(used) => {
                state.change(|it| it.factors.recovery_code_used(used));
            }
            UserEvent::PasskeyAdded(added) => state.change(|it| it.factors.passkey_added(added)),
            UserEvent::PasskeyRenamed(renamed) => {
                state.change(|it| it.factors.passkey_renamed(renamed));
            }
            UserEvent::PasskeyUsed(used) => state.change(|it| it.factors.passkey_used(used)),
            UserEvent::PasskeySuspected(used) => {
                state.change(|it| it.factors.passkey_suspected(used));
            }
            UserEvent::PasskeyRemoved(removed) => {
                state.change(|it| it.factors.passkey_removed(removed));
            }
            UserEvent::SecondFactorRefused(refused) => {
                state.change(|it| it.factors.refused(refused));
            }
            UserEvent::SecondFactorsRemoved(removed) => {
                state.change(|it| it.factors.all_removed(removed));
            }
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
    /// A role for who can come in. What a bot may do is in the scopes of its service.
    fn grant(&self, role: SystemRole) -> Decision {
        if self.system_roles.contains(&role) {
            return Ok(vec![]);
        }
        if self.service.is_some() {
            return Err(Refused::IsService);
        }
        if role == SystemRole::Owner && (self.suspension.is_some() || self.deactivated) {
            return Err(Refused::NotActive);
        }
        Ok(vec![UserEvent::SystemRoleGranted(SystemRoleChanged {
            role,
        })])
    }

    fn revoke(&self, role: SystemRole) -> Vec<UserEvent> {
        if self.system_roles.contains(&role) {
            vec![UserEvent::SystemRoleRevoked(SystemRoleChanged { role })]
        } else {
            vec![]
        }
    }

    /// Whether the address was shown to be theirs.
    pub fn is_email_verified(&self) -> bool {
        self.email.is_some() && self.email == self.verified_email
    }

    fn replace_password(&self, user: UserId, from: &str, to: &str, sessions: Sessions) -> Decision {
        match self.password_hash.as_deref() {
            Some(current) if current == to => return Ok(vec![]),
            Some(current) if current == from => {}
            Some(_) | None => return Err(Refused::PasswordChanged),
        }
        let set = password_set(user, to);
        Ok(match sessions {
            Sessions::GoOn => vec![set],
            Sessions::EndBut(through) => {
                let session = self.goes_on(&through)?;
                vec![set, self.log_out_everywhere(Some(session))]
            }
        })
    }

    /// What a registration is told that finds the account there: the same that it is done, any other that
    /// it is too late. Hashes of one password differ, so that it is not compared.
    fn registered_again(&self, handle: &Handle, email: &Email) -> Decision {
        let same = self.handle == *handle && self.email.as_ref() == Some(email);
        if same && self.password_hash.is_some() {
            Ok(vec![])
        } else {
            Err(Refused::AlreadyRegistered)
        }
    }
}

impl Account {
    /// What a registration on an issuer's word is told that finds the account there: the same that it is
    /// done, any other that it is too late.
    fn vouched_again(&self, vouched: &Vouched) -> Result<Vec<UserEvent>, Refused> {
        if self.is_linked(&vouched.issuer, &vouched.subject) {
            Ok(vec![])
        } else {
            Err(Refused::AlreadyRegistered)
        }
    }
}

impl State {
    fn account(&self) -> Result<&Account, Refused> {
        self.account.as_ref().ok_or(Refused::NotFound)
    }

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
    use crate::testing::{ALICE, Given, moment, user};
    use crate::user::codes::CodeHash;
    use crate::user::event::{Deactivated, LoggedOutEverywhere, ProfileChanged, Suspended};

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
            asked_by: None,
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
            sessions: Sessions::GoOn,
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
            profile: Box::new(ProfileDraft {
                display_name: Some(name(to)),
                ..ProfileDraft::default()
            }),
            now: moment(0),
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
            display_name: Some(Personal::new(ALICE, name(to))),
            ..ProfileChanged::default()
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
    fn an_account_is_registered_once() {
        given([registered(), password("$1"), renamed("Ally")])
            .when(register("alice", "$2"))
            .then([]);
        given([registered(), password("$1")])
            .when(register("alicia", "$1"))
            .then_refused(Refused::AlreadyRegistered);
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
    fn another_password_ends_all_sessions_but_the_one_that_asks() {
        let phone = SessionId(uuid::Uuid::from_u128(1));
        let through = Through {
            session: phone,
            login_epoch: 0,
        };
        let choose = |to: &str| Command::ReplacePassword {
            user: ALICE,
            from: "$1".to_owned(),
            to: to.to_owned(),
            sessions: Sessions::EndBut(through),
        };
        given([registered(), password("$1"), out(1, None)])
            .when(choose("$2"))
            .then_refused(Refused::SessionEnded);
        given([registered(), password("$1")])
            .when(choose("$2"))
            .then([password("$2"), out(1, Some(phone))]);
        given([registered(), password("$1")])
            .when(choose("$1"))
            .then([]);
    }

    #[test]
    fn nobody_who_cannot_come_in_becomes_an_owner() {
        let suspended = UserEvent::Suspended(Suspended {
            by: Actor::Operator,
            until: None,
            why: None,
        });
        for away in [suspended, UserEvent::Deactivated(Deactivated {})] {
            given([registered(), away.clone()])
                .when(Command::GrantSystemRole(SystemRole::Owner))
                .then_refused(Refused::NotActive);
            given([registered(), away])
                .when(Command::GrantSystemRole(SystemRole::Analyst))
                .then([granted(SystemRole::Analyst)]);
        }
    }

    #[test]
    fn who_has_no_account_changes_nothing_of_it() {
        for command in [
            rename("Ally"),
            replace("$1", "$2"),
            Command::GrantSystemRole(SystemRole::Admin),
            Command::RevokeSystemRole(SystemRole::Admin),
            Command::Unblock { user: ALICE },
            Command::Deactivate,
            Command::Reactivate,
            Command::LogOutEverywhere {
                through: Through {
                    session: SessionId(uuid::Uuid::nil()),
                    login_epoch: 0,
                },
                keeps: false,
            },
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
            (0..3_u128).prop_map(|number| Command::Block {
                by: ALICE,
                user: user(number)
            }),
            (0..3_u128).prop_map(|number| Command::Unblock { user: user(number) }),
            Just(Command::Reinstate {
                by: Actor::Operator
            }),
            Just(Command::Deactivate),
            Just(Command::Reactivate),
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
