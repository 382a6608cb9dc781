//! The rules of identities that issuers vouch for: an account of another service that is also a way
//! into an account here. An account has at most one of each issuer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{UserId, Version};
use crate::personal::Personal;
use crate::user::decide::Account;
use crate::user::event::{
    ExternalIdentityLinked, ExternalIdentityUnlinked, ExternalIdentityUpdated, UnlinkedBecause,
    UserEvent,
};
use crate::user::refused::Refused;
use crate::values::{DisplayName, Email, IssuerName, Subject};

/// Somebody for whom an issuer vouches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who vouches.
    pub issuer: IssuerName,
    /// For whom.
    pub subject: Subject,
    /// The address, where the issuer says that it is theirs.
    pub email: Option<Email>,
    /// Of when the issuer's record is, where that is known.
    pub as_of: Option<DateTime<Utc>>,
}

/// What may be asked of an account's identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityCommand {
    /// Let the identity be a way in. That it is the user's, and held by no other account, is known
    /// when this is asked.
    Link(Vouched),
    /// Take over what the issuer's record says now.
    Update {
        /// Whose record.
        issuer: IssuerName,
        /// Of when it is. What is not younger than the last changes nothing.
        as_of: DateTime<Utc>,
        /// What to be called, where the record says it.
        display_name: Option<DisplayName>,
        /// The address, where the issuer says that it is theirs. That no other account holds it is
        /// known when this is asked. It becomes the account's only where that follows the issuer.
        email: Option<Email>,
    },
    /// Let it be a way in no longer, because the user wants that.
    Unlink {
        /// Of which issuer.
        issuer: IssuerName,
    },
    /// Let it be a way in no longer, because the issuer does not know it any more.
    Delete {
        /// Of which issuer.
        issuer: IssuerName,
        /// Since when. Where the record is known to be younger, nothing changes.
        as_of: DateTime<Utc>,
    },
}

/// An identity of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Identity {
    /// It is a way in.
    Linked {
        /// For whom the issuer vouches.
        subject: Subject,
        /// The address, where the issuer says that it is theirs.
        email: Option<Email>,
        /// Of when the issuer's record is, where that is known.
        as_of: Option<DateTime<Utc>>,
        /// Where in the user's stream it was linked: tells it from one that was linked before.
        since: Version,
    },
    /// The issuer deleted it. It stays with the account: what the issuer said before must not make
    /// another.
    Deleted {
        /// For whom the issuer vouched.
        subject: Subject,
        /// Since when.
        as_of: Option<DateTime<Utc>>,
    },
}

/// The events that `command` makes of the account of `user`.
pub(super) fn decide(
    account: &Account,
    user: UserId,
    command: &IdentityCommand,
) -> Result<Vec<UserEvent>, Refused> {
    match command {
        IdentityCommand::Link(vouched) => link(account, user, vouched),
        IdentityCommand::Update {
            issuer,
            as_of,
            display_name,
            email,
        } => {
            let Some(Identity::Linked { as_of: last, .. }) = account.identities.get(issuer) else {
                return Ok(vec![]);
            };
            if last.is_some_and(|last| *as_of <= last) {
                return Ok(vec![]);
            }
            let display_name = display_name
                .as_ref()
                .filter(|name| account.display_name != **name);
            let email = email
                .as_ref()
                .filter(|email| account.email.as_ref() != Some(email))
                .filter(|_| account.address_follows(issuer));
            // Also where nothing else changed: the next one must be younger than this.
            Ok(vec![UserEvent::ExternalIdentityUpdated(
                ExternalIdentityUpdated {
                    issuer: issuer.clone(),
                    as_of: *as_of,
                    display_name: display_name.map(|name| Personal::new(user, name.clone())),
                    email: email.map(|email| Personal::new(user, email.clone())),
                },
            )])
        }
        IdentityCommand::Unlink { issuer } => match account.identities.get(issuer) {
            Some(Identity::Linked { subject, .. }) if account.has_way_in_besides(issuer) => Ok(
                unlinked(user, issuer, subject, UnlinkedBecause::Asked, None),
            ),
            Some(Identity::Linked { .. }) => Err(Refused::LastWayIn),
            Some(Identity::Deleted { .. }) | None => Ok(vec![]),
        },
        IdentityCommand::Delete { issuer, as_of } => match account.identities.get(issuer) {
            Some(Identity::Linked {
                subject,
                as_of: last,
                ..
            }) if last.is_none_or(|last| last <= *as_of) => {
                let because = UnlinkedBecause::DeletedByIssuer;
                Ok(unlinked(user, issuer, subject, because, Some(*as_of)))
            }
            Some(Identity::Linked { .. } | Identity::Deleted { .. }) | None => Ok(vec![]),
        },
    }
}

fn link(account: &Account, user: UserId, vouched: &Vouched) -> Result<Vec<UserEvent>, Refused> {
    if account.service.is_some() {
        return Err(Refused::IsService);
    }
    match account.identities.get(&vouched.issuer) {
        None => Ok(vec![linked(user, vouched)]),
        Some(Identity::Linked { subject, .. }) if *subject == vouched.subject => Ok(vec![]),
        Some(Identity::Deleted { subject, as_of }) if *subject == vouched.subject => {
            // Only a record that is younger says that the issuer knows them again.
            if vouched.as_of.is_some() && vouched.as_of > *as_of {
                Ok(vec![linked(user, vouched)])
            } else {
                Err(Refused::IdentityClosed)
            }
        }
        Some(Identity::Linked { .. } | Identity::Deleted { .. }) => {
            Err(Refused::IssuerAlreadyLinked)
        }
    }
}

pub(super) fn linked(user: UserId, vouched: &Vouched) -> UserEvent {
    UserEvent::ExternalIdentityLinked(ExternalIdentityLinked {
        issuer: vouched.issuer.clone(),
        subject: Personal::new(user, vouched.subject.clone()),
        email: vouched
            .email
            .clone()
            .map(|email| Personal::new(user, email)),
        as_of: vouched.as_of,
    })
}

fn unlinked(
    user: UserId,
    issuer: &IssuerName,
    subject: &Subject,
    because: UnlinkedBecause,
    as_of: Option<DateTime<Utc>>,
) -> Vec<UserEvent> {
    vec![UserEvent::ExternalIdentityUnlinked(
        ExternalIdentityUnlinked {
            issuer: issuer.clone(),
            subject: Personal::new(user, subject.clone()),
            because,
            as_of,
        },
    )]
}

impl Account {
    /// Whether this identity is a way in.
    pub fn is_linked(&self, issuer: &IssuerName, subject: &Subject) -> bool {
        matches!(
            self.identities.get(issuer),
            Some(Identity::Linked { subject: linked, .. }) if linked == subject
        )
    }

    /// Whether this identity is the account's, also where the issuer deleted it.
    pub fn has_identity(&self, issuer: &IssuerName, subject: &Subject) -> bool {
        self.identities
            .get(issuer)
            .is_some_and(|identity| match identity {
                Identity::Linked { subject: own, .. } | Identity::Deleted { subject: own, .. } => {
                    own == subject
                }
            })
    }

    /// Since when the identity of `issuer` is a way in; `None` where there is none.
    pub fn linked_since(&self, issuer: &IssuerName) -> Option<Version> {
        match self.identities.get(issuer) {
            Some(Identity::Linked { since, .. }) => Some(*since),
            Some(Identity::Deleted { .. }) | None => None,
        }
    }

    /// The identities that are a way in, by issuer, and since when.
    pub fn linked(&self) -> impl Iterator<Item = (&IssuerName, Version)> {
        let since = |identity: &Identity| match identity {
            Identity::Linked { since, .. } => Some(*since),
            Identity::Deleted { .. } => None,
        };
        let identities = self.identities.iter();
        identities.filter_map(move |(issuer, identity)| Some((issuer, since(identity)?)))
    }

    /// Whether any identity of `issuer` is a way in.
    pub fn is_linked_to(&self, issuer: &IssuerName) -> bool {
        self.linked_since(issuer).is_some()
    }

    /// Whether `email` is the account's and known to be its user's, so that nobody else can have put it
    /// there: it was verified, or nobody could log in yet.
    pub fn has_proven_address(&self, email: &Email) -> bool {
        let nobody_could_log_in = self.password_hash.is_none() && self.identities.is_empty();
        self.email.as_ref() == Some(email) && (self.is_email_verified() || nobody_could_log_in)
    }

    /// Whether the account's address is whatever `issuer` says: it came from there, or there is none.
    pub fn address_follows(&self, issuer: &IssuerName) -> bool {
        match (&self.email, self.identities.get(issuer)) {
            (None, Some(Identity::Linked { .. })) => true,
            (Some(own), Some(Identity::Linked { email, .. })) => email.as_ref() == Some(own),
            (_, Some(Identity::Deleted { .. }) | None) => false,
        }
    }

    /// Whether the user could still log in without the identity of `issuer`: by password, by a code in
    /// the mail, or by another identity.
    fn has_way_in_besides(&self, issuer: &IssuerName) -> bool {
        self.password_hash.is_some()
            || self.is_email_verified()
            || self.linked().any(|(other, _)| other != issuer)
    }

    pub(super) fn link(&mut self, version: Version, event: &ExternalIdentityLinked) {
        let identity = Identity::Linked {
            subject: event.subject.value.clone(),
            email: event.email.as_ref().map(|email| email.value.clone()),
            as_of: event.as_of,
            since: version,
        };
        self.identities.insert(event.issuer.clone(), identity);
        let email = event.email.as_ref().map(|email| &email.value);
        if email.is_some() && email == self.email.as_ref() {
            self.verified_email = email.cloned();
        }
    }

    pub(super) fn update(&mut self, event: &ExternalIdentityUpdated) {
        let Some(Identity::Linked { email, as_of, .. }) = self.identities.get_mut(&event.issuer)
        else {
            return;
        };
        *as_of = Some(event.as_of);
        if let Some(changed) = &event.email {
            *email = Some(changed.value.clone());
            self.email = Some(changed.value.clone());
            self.verified_email = Some(changed.value.clone());
        }
        if let Some(changed) = &event.display_name {
            self.display_name = changed.value.clone();
        }
    }

    pub(super) fn unlink(&mut self, event: &ExternalIdentityUnlinked) {
        match event.because {
            UnlinkedBecause::Asked => {
                self.identities.remove(&event.issuer);
            }
            UnlinkedBecause::DeletedByIssuer => {
                let identity = Identity::Deleted {
                    subject: event.subject.value.clone(),
                    as_of: event.as_of,
                };
                self.identities.insert(event.issuer.clone(), identity);
            }
        }
    }
}

/// Of an account; by issuer. As many as there are issuers in the configuration.
pub type Identities = BTreeMap<IssuerName, Identity>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ALICE, Given, moment};
    use crate::user::{Command, PasswordSet, Registered, User};
    use crate::values::Handle;

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(history)
    }

    fn email(text: &str) -> Email {
        Email::parse(text).expect("a good address")
    }

    fn issuer(text: &str) -> IssuerName {
        IssuerName::parse(text).expect("a good name")
    }

    fn subject(text: &str) -> Subject {
        Subject::parse(text).expect("a good subject")
    }

    fn name(text: &str) -> DisplayName {
        DisplayName::parse(text).expect("a good name")
    }

    /// Of Google, as of no known time.
    fn vouched(of: &str) -> Vouched {
        Vouched {
            issuer: issuer("google"),
            subject: subject(of),
            email: Some(email("alice@example.org")),
            as_of: None,
        }
    }

    fn vouched_at(of: &str, seconds: i64) -> Vouched {
        Vouched {
            as_of: Some(moment(seconds)),
            ..vouched(of)
        }
    }

    fn ask(command: IdentityCommand) -> Command {
        Command::Identity {
            user: ALICE,
            command,
        }
    }

    fn link(vouched: Vouched) -> Command {
        ask(IdentityCommand::Link(vouched))
    }

    fn unlink(from: &str) -> Command {
        ask(IdentityCommand::Unlink {
            issuer: issuer(from),
        })
    }

    fn delete(seconds: i64) -> Command {
        ask(IdentityCommand::Delete {
            issuer: issuer("google"),
            as_of: moment(seconds),
        })
    }

    fn update(seconds: i64, called: &str, address: &str) -> Command {
        ask(IdentityCommand::Update {
            issuer: issuer("google"),
            as_of: moment(seconds),
            display_name: Some(name(called)),
            email: Some(email(address)),
        })
    }

    fn register() -> Command {
        Command::RegisterVouched {
            user: ALICE,
            email: Some(email("alice@example.org")),
            handle: Handle::parse("alice").expect("a good handle"),
            display_name: name("Alice"),
            vouched: vouched("1"),
        }
    }

    fn registered() -> UserEvent {
        UserEvent::Registered(Registered {
            email: Some(Personal::new(ALICE, email("alice@example.org"))),
            display_name: Personal::new(ALICE, name("Alice")),
            handle: Handle::parse("alice").expect("a good handle"),
            imported_from: None,
        })
    }

    fn password() -> UserEvent {
        UserEvent::PasswordSet(PasswordSet {
            hash: Personal::new(ALICE, "$1".to_owned()),
        })
    }

    fn is_linked(vouched: &Vouched) -> UserEvent {
        linked(ALICE, vouched)
    }

    fn is_unlinked(because: UnlinkedBecause, seconds: Option<i64>) -> UserEvent {
        UserEvent::ExternalIdentityUnlinked(ExternalIdentityUnlinked {
            issuer: issuer("google"),
            subject: Personal::new(ALICE, subject("1")),
            because,
            as_of: seconds.map(moment),
        })
    }

    fn is_updated(seconds: i64, called: Option<&str>, address: Option<&str>) -> UserEvent {
        UserEvent::ExternalIdentityUpdated(ExternalIdentityUpdated {
            issuer: issuer("google"),
            as_of: moment(seconds),
            display_name: called.map(|called| Personal::new(ALICE, name(called))),
            email: address.map(|address| Personal::new(ALICE, email(address))),
        })
    }

    #[test]
    fn who_is_vouched_for_registers_without_a_password() {
        let account = given([])
            .when(register())
            .then([registered(), is_linked(&vouched("1"))])
            .account
            .expect("there is an account");
        assert_eq!(account.password_hash, None);
        assert!(account.is_linked(&issuer("google"), &subject("1")));
        assert!(!account.is_linked(&issuer("google"), &subject("2")));
    }

    #[test]
    fn the_same_registration_again_changes_nothing_and_another_is_refused() {
        given([registered(), is_linked(&vouched("1"))])
            .when(register())
            .then([]);
        for history in [
            vec![registered(), password()],
            vec![registered(), is_linked(&vouched("2"))],
        ] {
            given(history)
                .when(register())
                .then_refused(Refused::AlreadyRegistered);
        }
    }

    #[test]
    fn an_identity_is_linked_once_and_one_of_each_issuer() {
        given([registered(), password()])
            .when(link(vouched("1")))
            .then([is_linked(&vouched("1"))]);
        given([registered(), is_linked(&vouched("1"))])
            .when(link(vouched("1")))
            .then([]);
        given([registered(), is_linked(&vouched("1"))])
            .when(link(vouched("2")))
            .then_refused(Refused::IssuerAlreadyLinked);
        given([])
            .when(link(vouched("1")))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn the_last_way_in_stays() {
        let without_address = Vouched {
            email: None,
            ..vouched("1")
        };
        let linked = is_linked(&without_address);
        given([registered(), linked.clone()])
            .when(unlink("google"))
            .then_refused(Refused::LastWayIn);
        given([registered(), is_linked(&vouched("1"))])
            .when(unlink("google"))
            .then([is_unlinked(UnlinkedBecause::Asked, None)]);
        let unlinked = is_unlinked(UnlinkedBecause::Asked, None);
        given([registered(), password(), linked.clone()])
            .when(unlink("google"))
            .then([unlinked.clone()]);
        let another = Vouched {
            issuer: issuer("github"),
            ..vouched("7")
        };
        given([registered(), linked.clone(), is_linked(&another)])
            .when(unlink("google"))
            .then([unlinked.clone()]);
        given([registered(), password(), linked, unlinked])
            .when(unlink("google"))
            .then([]);
    }

    #[test]
    fn an_older_record_changes_nothing() {
        let history = [registered(), is_linked(&vouched_at("1", 10))];
        for seconds in [9, 10] {
            given(history.clone())
                .when(update(seconds, "Ally", "ally@example.org"))
                .then([]);
        }
        given(history.clone())
            .when(update(11, "Ally", "ally@example.org"))
            .then([is_updated(11, Some("Ally"), Some("ally@example.org"))]);
        given(history)
            .when(update(11, "Alice", "alice@example.org"))
            .then([is_updated(11, None, None)]);
    }

    #[test]
    fn an_address_of_ones_own_does_not_follow_the_issuer() {
        let elsewhere = Vouched {
            email: Some(email("alice@work.example")),
            ..vouched("1")
        };
        let account = given([registered(), password(), is_linked(&elsewhere)])
            .when(update(1, "Alice", "new@work.example"))
            .then([is_updated(1, None, None)])
            .account
            .expect("there is an account");
        assert_eq!(account.email, Some(email("alice@example.org")));
    }

    #[test]
    fn an_address_is_proven_by_an_issuer_or_by_nobody_having_been_there() {
        let address = email("alice@example.org");
        let proven = |history: Vec<UserEvent>| {
            let account = given(history).state.account.expect("there is an account");
            account.has_proven_address(&address)
        };
        assert!(proven(vec![registered()]));
        assert!(!proven(vec![registered(), password()]));
        assert!(proven(vec![
            registered(),
            password(),
            is_linked(&vouched("1"))
        ]));
        let without = Vouched {
            email: None,
            ..vouched("1")
        };
        assert!(!proven(vec![registered(), is_linked(&without)]));
    }

    #[test]
    fn what_the_issuer_deleted_is_no_way_in_until_a_younger_record_says_so() {
        let history = [registered(), is_linked(&vouched_at("1", 10))];
        given(history.clone()).when(delete(9)).then([]);
        let deleted = is_unlinked(UnlinkedBecause::DeletedByIssuer, Some(20));
        let account = given(history.clone())
            .when(delete(20))
            .then([deleted.clone()])
            .account
            .expect("there is an account");
        assert!(!account.is_linked_to(&issuer("google")));
        let history = [history.to_vec(), vec![deleted]].concat();
        given(history.clone()).when(delete(21)).then([]);
        given(history.clone())
            .when(update(21, "Ally", "ally@example.org"))
            .then([]);
        for late in [vouched("1"), vouched_at("1", 20)] {
            given(history.clone())
                .when(link(late))
                .then_refused(Refused::IdentityClosed);
        }
        given(history)
            .when(link(vouched_at("1", 21)))
            .then([is_linked(&vouched_at("1", 21))]);
    }

    fn commands() -> impl Strategy<Value = Vec<Command>> {
        let command = prop_oneof![
            Just(register()),
            ("[12]", 0..9_i64).prop_map(|(of, at)| link(vouched_at(&of, at))),
            (0..9_i64, "[a-c]")
                .prop_map(|(at, text)| { update(at, &text, &format!("{text}@example.org")) }),
            Just(unlink("google")),
            (0..9_i64).prop_map(delete),
        ];
        prop::collection::vec(command, 0..30)
    }

    proptest! {
        /// However records are mixed, what was accepted may be repeated, and none that is older than
        /// what is known of the same identity changes anything.
        #[test]
        fn records_of_any_order_never_go_back(commands in commands()) {
            let mut given = given([registered(), password()]);
            let mut newest = None;
            for command in &commands {
                if given.accept(command).is_ok() {
                    let repeated = given.accept(command);
                    prop_assert!(repeated.is_ok_and(|events| events.is_empty()), "{command:?}");
                }
                let account = given.state.account.clone().unwrap();
                let known = account.identities.get(&issuer("google")).and_then(|identity| {
                    match identity {
                        Identity::Linked { as_of, .. } | Identity::Deleted { as_of, .. } => *as_of,
                    }
                });
                if account.identities.is_empty() {
                    newest = None;
                }
                prop_assert!(known >= newest, "{command:?}");
                newest = known;
            }
        }
    }
}
