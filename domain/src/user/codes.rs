//! The rules of codes that are mailed to an account's address: whoever has one reads its mail.
//!
//! The code itself is neither asked for nor stored here. What is compared is its hash, under a key of
//! the server's, so that the log does not help to guess it.
//!
//! A code has [`CODE_DIGITS`] digits. With [`ISSUED_MAX`] codes in [`ISSUED_WITHIN`] and [`TRIES_MAX`]
//! tries of each somebody who asks for codes all day has 2,160 tries: one chance in 46,000. With six
//! digits it would be one in 463.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::decide::Account;
use crate::user::event::{CodeDone, CodeIssued, EmailVerified, PasswordSet, UserEvent};
use crate::user::refused::Refused;
use crate::values::Email;

/// Digits of a code.
pub const CODE_DIGITS: u32 = 8;

/// How long a code is good.
pub const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// How often a code may be tried; after as many wrong tries it is worth nothing.
pub const TRIES_MAX: u8 = 5;

/// Codes of one account within [`ISSUED_WITHIN`], whatever they are for.
pub const ISSUED_MAX: usize = 3;

/// See [`ISSUED_MAX`].
pub const ISSUED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// What a code lets its holder do. A code for one thing is worth nothing for another.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CodePurpose {
    /// Show that the address is theirs.
    VerifyEmail,
    /// Log in without the password.
    LogIn,
    /// Choose another password.
    ResetPassword,
}

/// The hash of a code under the server's key, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct CodeHash(String);

impl CodeHash {
    /// The hash `hex`.
    pub const fn new(hex: String) -> Self {
        Self(hex)
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in a time that says nothing about the hashes but their length.
    fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// A code that is to be mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// Of the code.
    pub hash: CodeHash,
    /// Now; it is good for [`CODE_LIFETIME`].
    pub at: DateTime<Utc>,
}

/// A code that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Of the code.
    pub hash: CodeHash,
    /// Now.
    pub at: DateTime<Utc>,
}

/// What may be asked about codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCommand {
    /// Have a code mailed, in place of one for the same purpose.
    Issue {
        /// Whose account.
        user: UserId,
        /// What for.
        purpose: CodePurpose,
        /// The code.
        code: NewCode,
    },
    /// Show that the address is theirs. A wrong code is an event, not a refusal.
    VerifyEmail {
        /// Whose account.
        user: UserId,
        /// What they sent.
        offer: Offer,
    },
    /// Log in, which shows the same. A wrong code is an event, not a refusal.
    LogIn {
        /// Whose account.
        user: UserId,
        /// What they sent.
        offer: Offer,
    },
    /// Choose another password, which shows the same and ends all sessions. A wrong code is an event, not
    /// a refusal.
    ResetPassword {
        /// Whose account.
        user: UserId,
        /// What they sent.
        offer: Offer,
        /// Of the other password, in PHC format.
        password_hash: String,
    },
}

/// The codes of an account. Bounded: one for each purpose, and when the last were issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Codes {
    /// Those that may still be used, unless their time is over.
    live: BTreeMap<CodePurpose, LiveCode>,
    /// When the last [`ISSUED_MAX`] were issued, oldest first.
    issued_at: Vec<DateTime<Utc>>,
}

/// A code that was mailed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct LiveCode {
    hash: CodeHash,
    /// Where it was mailed to.
    email: Email,
    expires_at: DateTime<Utc>,
    /// Wrong tries so far.
    refused: u8,
}

impl LiveCode {
    fn may_be_tried(&self, at: DateTime<Utc>) -> bool {
        at < self.expires_at && self.refused < TRIES_MAX
    }
}

/// Decides `command` on `account`.
pub(super) fn decide(account: &Account, command: &CodeCommand) -> Result<Vec<UserEvent>, Refused> {
    match command {
        CodeCommand::Issue {
            user,
            purpose,
            code,
        } => account.issue(*user, *purpose, code),
        CodeCommand::VerifyEmail { user, offer } => {
            if account.is_email_verified() {
                return Ok(vec![]);
            }
            account.offered(*user, CodePurpose::VerifyEmail, offer)
        }
        CodeCommand::LogIn { user, offer } => account.offered(*user, CodePurpose::LogIn, offer),
        CodeCommand::ResetPassword {
            user,
            offer,
            password_hash,
        } => {
            let purpose = CodePurpose::ResetPassword;
            let mut events = account.offered(*user, purpose, offer)?;
            if matches!(events.first(), Some(UserEvent::CodeUsed(_))) {
                events.push(UserEvent::PasswordSet(PasswordSet {
                    hash: Personal::new(*user, password_hash.clone()),
                }));
                events.push(account.log_out_everywhere(None));
            }
            Ok(events)
        }
    }
}

/// The event of a code that is mailed to `email`.
pub(super) fn issued(
    user: UserId,
    purpose: CodePurpose,
    email: Email,
    code: &NewCode,
) -> UserEvent {
    UserEvent::CodeIssued(CodeIssued {
        purpose,
        email: Personal::new(user, email),
        hash: code.hash.clone(),
        issued_at: code.at,
        expires_at: code.at + CODE_LIFETIME,
    })
}

impl Account {
    /// Whether `offer` would be taken for `purpose` as things stand. Says it without counting a try,
    /// so that only those may learn it who go on with the same offer.
    pub fn would_take(&self, purpose: CodePurpose, offer: &Offer) -> bool {
        let live = self.codes.live.get(&purpose);
        live.is_some_and(|live| live.may_be_tried(offer.at) && live.hash.is(&offer.hash))
    }

    fn issue(
        &self,
        user: UserId,
        purpose: CodePurpose,
        code: &NewCode,
    ) -> Result<Vec<UserEvent>, Refused> {
        let email = self.email.clone().ok_or(Refused::NoAddress)?;
        if purpose == CodePurpose::VerifyEmail && self.is_email_verified() {
            return Err(Refused::AlreadyVerified);
        }
        let recent = self.codes.issued_at.iter();
        let recent = recent.filter(|issued_at| code.at - **issued_at < ISSUED_WITHIN);
        if recent.count() >= ISSUED_MAX {
            return Err(Refused::TooManyCodes);
        }
        Ok(vec![issued(user, purpose, email, code)])
    }

    /// The first event says whether the code was right; where it was, the address is verified too.
    fn offered(
        &self,
        user: UserId,
        purpose: CodePurpose,
        offer: &Offer,
    ) -> Result<Vec<UserEvent>, Refused> {
        let live = self.codes.live.get(&purpose);
        let live = live.filter(|live| live.may_be_tried(offer.at));
        let live = live.ok_or(Refused::WrongCode)?;
        if !live.hash.is(&offer.hash) {
            return Ok(vec![UserEvent::CodeRefused(CodeDone { purpose })]);
        }
        let mut events = vec![UserEvent::CodeUsed(CodeDone { purpose })];
        if self.verified_email.as_ref() != Some(&live.email) {
            events.push(UserEvent::EmailVerified(EmailVerified {
                email: Personal::new(user, live.email.clone()),
            }));
        }
        Ok(events)
    }
}

impl Codes {
    pub(super) fn issued(&mut self, issued: &CodeIssued) {
        let live = LiveCode {
            hash: issued.hash.clone(),
            email: issued.email.value.clone(),
            expires_at: issued.expires_at,
            refused: 0,
        };
        self.live.insert(issued.purpose, live);
        self.issued_at.push(issued.issued_at);
        let superfluous = self.issued_at.len().saturating_sub(ISSUED_MAX);
        self.issued_at.drain(..superfluous);
    }

    pub(super) fn refused(&mut self, purpose: CodePurpose) {
        if let Some(live) = self.live.get_mut(&purpose) {
            live.refused = live.refused.saturating_add(1);
        }
    }

    pub(super) fn used(&mut self, purpose: CodePurpose) {
        self.live.remove(&purpose);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given, moment};
    use crate::user::event::{LoggedOutEverywhere, Registered};
    use crate::user::{Command, User};
    use crate::values::{DisplayName, Handle};

    const LIFETIME_S: i64 = CODE_LIFETIME.num_seconds();

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(history)
    }

    fn email() -> Email {
        Email::parse("alice@example.org").expect("a good address")
    }

    fn registered(email: Option<Email>) -> UserEvent {
        UserEvent::Registered(Registered {
            email: email.map(|email| Personal::new(ALICE, email)),
            display_name: Personal::new(ALICE, DisplayName::parse("Alice").expect("a good name")),
            handle: Handle::parse("alice").expect("a good handle"),
            imported_from: None,
        })
    }

    fn hash(code: &str) -> CodeHash {
        CodeHash::new(format!("hash of {code}"))
    }

    fn ask(purpose: CodePurpose, code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::Issue {
            user: ALICE,
            purpose,
            code: NewCode {
                hash: hash(code),
                at: moment(at_s),
            },
        })
    }

    fn mailed(purpose: CodePurpose, code: &str, at_s: i64) -> UserEvent {
        UserEvent::CodeIssued(CodeIssued {
            purpose,
            email: Personal::new(ALICE, email()),
            hash: hash(code),
            issued_at: moment(at_s),
            expires_at: moment(at_s + LIFETIME_S),
        })
    }

    fn all_out() -> UserEvent {
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
            epoch: 1,
            kept: None,
        })
    }

    fn offer(code: &str, at_s: i64) -> Offer {
        Offer {
            hash: hash(code),
            at: moment(at_s),
        }
    }

    fn verify(code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::VerifyEmail {
            user: ALICE,
            offer: offer(code, at_s),
        })
    }

    fn log_in(code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::LogIn {
            user: ALICE,
            offer: offer(code, at_s),
        })
    }

    fn reset(code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::ResetPassword {
            user: ALICE,
            offer: offer(code, at_s),
            password_hash: "$2".to_owned(),
        })
    }

    fn used(purpose: CodePurpose) -> UserEvent {
        UserEvent::CodeUsed(CodeDone { purpose })
    }

    fn refused(purpose: CodePurpose) -> UserEvent {
        UserEvent::CodeRefused(CodeDone { purpose })
    }

    fn verified() -> UserEvent {
        UserEvent::EmailVerified(EmailVerified {
            email: Personal::new(ALICE, email()),
        })
    }

    /// Alice, with a code for each purpose.
    fn with_codes() -> Vec<UserEvent> {
        vec![
            registered(Some(email())),
            mailed(CodePurpose::VerifyEmail, "v", 0),
            mailed(CodePurpose::LogIn, "l", 0),
            mailed(CodePurpose::ResetPassword, "r", 0),
        ]
    }

    #[test]
    fn a_code_is_mailed_to_who_has_an_address() {
        given([registered(Some(email()))])
            .when(ask(CodePurpose::LogIn, "l", 5))
            .then([mailed(CodePurpose::LogIn, "l", 5)]);
        given([registered(None)])
            .when(ask(CodePurpose::LogIn, "l", 5))
            .then_refused(Refused::NoAddress);
        given([])
            .when(ask(CodePurpose::LogIn, "l", 5))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn a_few_codes_are_mailed_in_a_while_and_then_more() {
        let again = || ask(CodePurpose::LogIn, "again", LIFETIME_S - 1);
        given(with_codes())
            .when(again())
            .then_refused(Refused::TooManyCodes);
        let later = ask(CodePurpose::LogIn, "later", LIFETIME_S);
        given(with_codes()).when(later).then_some(1);
        let earlier_ones = with_codes().into_iter().take(3);
        given(earlier_ones).when(again()).then_some(1);
    }

    #[test]
    fn a_code_shows_that_the_address_is_theirs_whatever_it_was_for() {
        given(with_codes())
            .when(verify("v", 1))
            .then([used(CodePurpose::VerifyEmail), verified()]);
        given(with_codes())
            .when(log_in("l", 1))
            .then([used(CodePurpose::LogIn), verified()]);
        let password = UserEvent::PasswordSet(PasswordSet {
            hash: Personal::new(ALICE, "$2".to_owned()),
        });
        let account = given(with_codes())
            .when(reset("r", 1))
            .then([
                used(CodePurpose::ResetPassword),
                verified(),
                password,
                all_out(),
            ])
            .account
            .expect("there is an account");
        assert!(account.is_email_verified());
        assert_eq!(account.password_hash.as_deref(), Some("$2"));
    }

    #[test]
    fn who_is_verified_needs_no_further_code_for_it() {
        let mut history = with_codes();
        history.push(verified());
        given(history.clone())
            .when(log_in("l", 1))
            .then([used(CodePurpose::LogIn)]);
        given(history.clone()).when(verify("nonsense", 1)).then([]);
        given(history)
            .when(ask(CodePurpose::VerifyEmail, "v", LIFETIME_S))
            .then_refused(Refused::AlreadyVerified);
    }

    #[test]
    fn a_code_is_good_once_for_its_purpose_and_in_its_time() {
        for late in [LIFETIME_S, LIFETIME_S + 1] {
            given(with_codes())
                .when(log_in("l", late))
                .then_refused(Refused::WrongCode);
        }
        given(with_codes())
            .when(log_in("l", LIFETIME_S - 1))
            .then_some(2);
        given(with_codes())
            .when(log_in("r", 1))
            .then([refused(CodePurpose::LogIn)]);
        let mut history = with_codes();
        history.push(used(CodePurpose::LogIn));
        given(history)
            .when(log_in("l", 1))
            .then_refused(Refused::WrongCode);
    }

    #[test]
    fn a_new_code_takes_the_place_of_the_old() {
        let mut history = with_codes();
        history.push(mailed(CodePurpose::LogIn, "new", 1));
        given(history.clone())
            .when(log_in("l", 2))
            .then([refused(CodePurpose::LogIn)]);
        given(history).when(log_in("new", 2)).then_some(2);
    }

    #[test]
    fn the_fifth_try_may_still_be_right_and_the_sixth_is_not_looked_at() {
        let mut history = with_codes();
        for _ in 1..TRIES_MAX {
            history.push(refused(CodePurpose::ResetPassword));
        }
        given(history.clone()).when(reset("r", 1)).then_some(4);
        history.push(refused(CodePurpose::ResetPassword));
        for code in ["r", "wrong"] {
            given(history.clone())
                .when(reset(code, 1))
                .then_refused(Refused::WrongCode);
        }
        // Those for something else are not touched by it.
        given(history).when(log_in("l", 1)).then_some(2);
    }

    #[test]
    fn to_look_whether_a_code_is_right_counts_no_try() {
        let account = given(with_codes()).state.account.expect("an account");
        let would = |code: &str, at_s| account.would_take(CodePurpose::LogIn, &offer(code, at_s));
        assert!(would("l", 1));
        assert!(!would("r", 1));
        assert!(!would("l", LIFETIME_S));
    }
}
