//! The rules of codes that are mailed to an account's address: whoever has one reads its mail.
//!
//! The code itself is neither asked for nor stored here. What is compared is its hash, under a key of
//! the server's, so that the log does not help to guess it.
//!
//! Who asks for a code without being logged in gets a challenge, and tries that code alone, with the
//! challenge. So several codes for the same may be good at once, each with tries of its own, and a
//! stranger uses up only what they asked for.
//!
//! A code has [`CODE_DIGITS`] digits. With the 10 codes in an hour that strangers get for each purpose
//! (`code_budget.rs`) and [`TRIES_MAX`] tries of each, those who ask all day for codes to log in and to
//! choose a password have 2,400 tries: one chance in 42,000. Who asks from a network that the user logs in
//! from by codes has as many again. With six digits it would be one in 417.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::code_budget::{Budget, NetworkHash};
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

/// The hash of a challenge under the server's key, in lower-case hex. Whoever asked for a code has the
/// challenge; it names the code, and proves nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ChallengeHash(String);

impl ChallengeHash {
    /// The hash `hex`.
    pub const fn new(hex: String) -> Self {
        Self(hex)
    }
}

/// A stranger who asks for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// What they name the code by.
    pub challenge: ChallengeHash,
    /// Where they are.
    pub network: NetworkHash,
}

/// A code that is to be mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// Of the code.
    pub hash: CodeHash,
    /// Who asks for it; `None` where it is the user, logged in or registering.
    pub asked_by: Option<Stranger>,
    /// Now; it is good for [`CODE_LIFETIME`].
    pub at: DateTime<Utc>,
}

/// A code that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which code they were to be mailed; `None` for the one that the user asked for, logged in.
    pub challenge: Option<ChallengeHash>,
    /// Of the code.
    pub hash: CodeHash,
    /// Now.
    pub at: DateTime<Utc>,
}

/// The password that somebody chose in place of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Its hash, in PHC format.
    Hashed(String),
    /// Easy to guess for who knows the account.
    Weak,
}

/// What may be asked about codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCommand {
    /// Have a code mailed, in place of one for the same purpose with the same challenge, or without one.
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
    /// a refusal; that the password is weak is said only where the code is right, which goes on then.
    ResetPassword {
        /// Whose account.
        user: UserId,
        /// What they sent.
        offer: Offer,
        /// The other password.
        password: Chosen,
    },
}

/// The codes of an account. Bounded: no more are good at once than may be issued in their time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Codes {
    /// Those that may still be used, unless their time is over; oldest first. One for each purpose and
    /// challenge.
    live: Vec<LiveCode>,
    /// How many may still be issued.
    budget: Budget,
}

/// A code that was mailed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct LiveCode {
    purpose: CodePurpose,
    challenge: Option<ChallengeHash>,
    asked_from: Option<NetworkHash>,
    hash: CodeHash,
    /// Where it was mailed to.
    email: Email,
    expires_at: DateTime<Utc>,
    /// Wrong tries so far.
    refused: u8,
}

impl LiveCode {
    fn is(&self, purpose: CodePurpose, challenge: Option<&ChallengeHash>) -> bool {
        self.purpose == purpose && self.challenge.as_ref() == challenge
    }

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
            password,
        } => account.reset_password(*user, offer, password),
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
        challenge: code.asked_by.as_ref().map(|by| by.challenge.clone()),
        asked_from: code.asked_by.as_ref().map(|by| by.network.clone()),
        issued_at: code.at,
        expires_at: code.at + CODE_LIFETIME,
    })
}

impl Account {
    /// Whether `offer` would be taken for `purpose` as things stand. Says it without counting a try,
    /// so that only those may learn it who go on with the same offer.
    pub fn would_take(&self, purpose: CodePurpose, offer: &Offer) -> bool {
        let live = self.codes.to_try(purpose, offer);
        live.is_some_and(|live| live.hash.is(&offer.hash))
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
        let network = code.asked_by.as_ref().map(|by| &by.network);
        if !self.codes.budget.allows(purpose, network, code.at) {
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
        let live = self.codes.to_try(purpose, offer);
        let live = live.ok_or(Refused::WrongCode)?;
        let done = CodeDone {
            purpose,
            challenge: live.challenge.clone(),
        };
        if !live.hash.is(&offer.hash) {
            return Ok(vec![UserEvent::CodeRefused(done)]);
        }
        let mut events = vec![UserEvent::CodeUsed(done)];
        if self.verified_email.as_ref() != Some(&live.email) {
            events.push(UserEvent::EmailVerified(EmailVerified {
                email: Personal::new(user, live.email.clone()),
            }));
        }
        Ok(events)
    }

    fn reset_password(
        &self,
        user: UserId,
        offer: &Offer,
        password: &Chosen,
    ) -> Result<Vec<UserEvent>, Refused> {
        let mut events = self.offered(user, CodePurpose::ResetPassword, offer)?;
        if matches!(events.first(), Some(UserEvent::CodeUsed(_))) {
            let Chosen::Hashed(hash) = password else {
                return Err(Refused::WeakPassword);
            };
            events.push(UserEvent::PasswordSet(PasswordSet {
                hash: Personal::new(user, hash.clone()),
            }));
            events.push(self.log_out_everywhere(None));
        }
        Ok(events)
    }
}

impl Codes {
    /// The code that `offer` is a try of, if there is one that may be tried.
    fn to_try(&self, purpose: CodePurpose, offer: &Offer) -> Option<&LiveCode> {
        let mut live = self.live.iter();
        live.find(|live| live.is(purpose, offer.challenge.as_ref()) && live.may_be_tried(offer.at))
    }

    pub(super) fn issued(&mut self, issued: &CodeIssued) {
        let live = LiveCode {
            purpose: issued.purpose,
            challenge: issued.challenge.clone(),
            asked_from: issued.asked_from.clone(),
            hash: issued.hash.clone(),
            email: issued.email.value.clone(),
            expires_at: issued.expires_at,
            refused: 0,
        };
        self.live.retain(|other| {
            let replaced = other.is(issued.purpose, issued.challenge.as_ref());
            issued.issued_at < other.expires_at && !replaced
        });
        self.live.push(live);
        self.budget.issued(issued);
    }

    pub(super) fn refused(&mut self, done: &CodeDone) {
        let mut live = self.live.iter_mut();
        let live = live.find(|live| live.is(done.purpose, done.challenge.as_ref()));
        if let Some(live) = live {
            live.refused = live.refused.saturating_add(1);
        }
    }

    pub(super) fn used(&mut self, done: &CodeDone) {
        let mut live = self.live.iter();
        let place = live.position(|live| live.is(done.purpose, done.challenge.as_ref()));
        if let Some(network) = place.and_then(|place| self.live.remove(place).asked_from) {
            self.budget.came_back(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given, moment};
    use crate::user::code_budget::{COUNTED_MAX, ISSUED_MAX};
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

    fn challenge(name: &str) -> ChallengeHash {
        ChallengeHash::new(format!("hash of challenge {name}"))
    }

    fn network(name: &str) -> NetworkHash {
        NetworkHash::new(format!("hash of network {name}"))
    }

    /// A stranger in the network "there" who names the code as it is, in capitals.
    fn stranger(code: &str) -> Stranger {
        Stranger {
            challenge: challenge(&code.to_uppercase()),
            network: network("there"),
        }
    }

    fn issue(purpose: CodePurpose, code: &str, asked_by: Option<Stranger>, at_s: i64) -> Command {
        Command::Code(CodeCommand::Issue {
            user: ALICE,
            purpose,
            code: NewCode {
                hash: hash(code),
                asked_by,
                at: moment(at_s),
            },
        })
    }

    fn ask(purpose: CodePurpose, code: &str, at_s: i64) -> Command {
        issue(purpose, code, Some(stranger(code)), at_s)
    }

    fn issued(
        purpose: CodePurpose,
        code: &str,
        asked_by: Option<Stranger>,
        at_s: i64,
    ) -> UserEvent {
        let code = NewCode {
            hash: hash(code),
            asked_by,
            at: moment(at_s),
        };
        super::issued(ALICE, purpose, email(), &code)
    }

    fn mailed(purpose: CodePurpose, code: &str, at_s: i64) -> UserEvent {
        issued(purpose, code, Some(stranger(code)), at_s)
    }

    fn mailed_to_verify(code: &str, at_s: i64) -> UserEvent {
        issued(CodePurpose::VerifyEmail, code, None, at_s)
    }

    fn all_out() -> UserEvent {
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
            epoch: 1,
            kept: None,
        })
    }

    fn offer(named: Option<&str>, code: &str, at_s: i64) -> Offer {
        Offer {
            challenge: named.map(challenge),
            hash: hash(code),
            at: moment(at_s),
        }
    }

    fn verify(code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::VerifyEmail {
            user: ALICE,
            offer: offer(None, code, at_s),
        })
    }

    fn log_in(named: &str, code: &str, at_s: i64) -> Command {
        Command::Code(CodeCommand::LogIn {
            user: ALICE,
            offer: offer(Some(named), code, at_s),
        })
    }

    fn reset_to(password: Chosen, code: &str) -> Command {
        Command::Code(CodeCommand::ResetPassword {
            user: ALICE,
            offer: offer(Some("R"), code, 1),
            password,
        })
    }

    fn reset(code: &str) -> Command {
        reset_to(Chosen::Hashed("$2".to_owned()), code)
    }

    fn done(purpose: CodePurpose) -> CodeDone {
        let named = match purpose {
            CodePurpose::VerifyEmail => None,
            CodePurpose::LogIn => Some("L"),
            CodePurpose::ResetPassword => Some("R"),
        };
        CodeDone {
            purpose,
            challenge: named.map(challenge),
        }
    }

    fn used(purpose: CodePurpose) -> UserEvent {
        UserEvent::CodeUsed(done(purpose))
    }

    fn refused(purpose: CodePurpose) -> UserEvent {
        UserEvent::CodeRefused(done(purpose))
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
            mailed_to_verify("v", 0),
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
    fn a_few_codes_are_mailed_in_a_while_and_those_for_something_else_do_not_count() {
        let mut history = with_codes();
        for code in ["m", "n"] {
            history.push(mailed(CodePurpose::LogIn, code, 0));
        }
        let again = |at_s| ask(CodePurpose::LogIn, "again", at_s);
        given(history.clone())
            .when(again(LIFETIME_S - 1))
            .then_refused(Refused::TooManyCodes);
        given(history.clone()).when(again(LIFETIME_S)).then_some(1);
        for purpose in [CodePurpose::ResetPassword, CodePurpose::VerifyEmail] {
            let other = ask(purpose, "other", 1);
            given(history.clone()).when(other).then_some(1);
        }
    }

    #[test]
    fn strangers_do_not_keep_who_came_in_by_codes_from_asking_for_one() {
        let asked_from = |place: &str, code: &str| Stranger {
            challenge: challenge(code),
            network: network(place),
        };
        let mut history = with_codes();
        history.push(used(CodePurpose::LogIn));
        for number in 0..COUNTED_MAX {
            let place = format!("place {}", number / ISSUED_MAX);
            let by = asked_from(&place, &format!("code {number}"));
            history.push(issued(CodePurpose::LogIn, "guess", Some(by), 1));
        }
        let ask = |place| issue(CodePurpose::LogIn, "x", Some(asked_from(place, "x")), 2);
        given(history.clone())
            .when(ask("elsewhere"))
            .then_refused(Refused::TooManyCodes);
        given(history).when(ask("there")).then_some(1);
    }

    #[test]
    fn a_code_shows_that_the_address_is_theirs_whatever_it_was_for() {
        given(with_codes())
            .when(verify("v", 1))
            .then([used(CodePurpose::VerifyEmail), verified()]);
        given(with_codes())
            .when(log_in("L", "l", 1))
            .then([used(CodePurpose::LogIn), verified()]);
        let password = UserEvent::PasswordSet(PasswordSet {
            hash: Personal::new(ALICE, "$2".to_owned()),
        });
        let account = given(with_codes())
            .when(reset("r"))
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
        // After the four events of the history and three of the reset.
        assert_eq!(account.login_epoch_began.0, 8);
    }

    #[test]
    fn who_is_verified_needs_no_further_code_for_it() {
        let mut history = with_codes();
        history.push(verified());
        given(history.clone())
            .when(log_in("L", "l", 1))
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
                .when(log_in("L", "l", late))
                .then_refused(Refused::WrongCode);
        }
        given(with_codes())
            .when(log_in("L", "l", LIFETIME_S - 1))
            .then_some(2);
        given(with_codes())
            .when(log_in("L", "r", 1))
            .then([refused(CodePurpose::LogIn)]);
        given(with_codes())
            .when(log_in("R", "r", 1))
            .then_refused(Refused::WrongCode);
        let mut history = with_codes();
        history.push(used(CodePurpose::LogIn));
        given(history)
            .when(log_in("L", "l", 1))
            .then_refused(Refused::WrongCode);
    }

    #[test]
    fn a_new_code_for_the_user_takes_the_place_of_the_old() {
        let mut history = with_codes();
        history.push(mailed_to_verify("new", 1));
        given(history.clone())
            .when(verify("v", 2))
            .then([refused(CodePurpose::VerifyEmail)]);
        given(history).when(verify("new", 2)).then_some(2);
    }

    #[test]
    fn codes_with_challenges_are_good_side_by_side_and_each_with_its_own_alone() {
        let mut history = with_codes();
        history.push(mailed(CodePurpose::LogIn, "m", 1));
        for (named, code) in [("L", "l"), ("M", "m")] {
            let right = log_in(named, code, 2);
            given(history.clone()).when(right).then_some(2);
        }
        given(history.clone())
            .when(log_in("L", "m", 2))
            .then([refused(CodePurpose::LogIn)]);
        for named in [None, Some("Another")] {
            let offer = offer(named, "l", 2);
            let log_in = Command::Code(CodeCommand::LogIn { user: ALICE, offer });
            given(history.clone())
                .when(log_in)
                .then_refused(Refused::WrongCode);
        }
        // One that is used or used up leaves the other as it is.
        history.push(used(CodePurpose::LogIn));
        given(history.clone())
            .when(log_in("M", "m", 2))
            .then_some(2);
        given(history)
            .when(log_in("L", "l", 2))
            .then_refused(Refused::WrongCode);
    }

    #[test]
    fn the_fifth_try_may_still_be_right_and_the_sixth_is_not_looked_at() {
        let mut history = with_codes();
        history.push(mailed(CodePurpose::ResetPassword, "s", 0));
        for _ in 1..TRIES_MAX {
            history.push(refused(CodePurpose::ResetPassword));
        }
        given(history.clone()).when(reset("r")).then_some(4);
        history.push(refused(CodePurpose::ResetPassword));
        for code in ["r", "wrong"] {
            given(history.clone())
                .when(reset(code))
                .then_refused(Refused::WrongCode);
        }
        // Those for something else are not touched by it, nor those with another challenge.
        given(history.clone())
            .when(log_in("L", "l", 1))
            .then_some(2);
        let other = Command::Code(CodeCommand::ResetPassword {
            user: ALICE,
            offer: offer(Some("S"), "s", 1),
            password: Chosen::Hashed("$2".to_owned()),
        });
        given(history).when(other).then_some(4);
    }

    #[test]
    fn a_wrong_code_counts_whatever_the_password_and_only_a_right_one_hears_that_it_is_weak() {
        given(with_codes())
            .when(reset_to(Chosen::Weak, "wrong"))
            .then([refused(CodePurpose::ResetPassword)]);
        given(with_codes())
            .when(reset_to(Chosen::Weak, "r"))
            .then_refused(Refused::WeakPassword);
        let mut history = with_codes();
        history.extend((0..TRIES_MAX).map(|_| refused(CodePurpose::ResetPassword)));
        given(history)
            .when(reset_to(Chosen::Weak, "r"))
            .then_refused(Refused::WrongCode);
    }

    #[test]
    fn codes_of_the_past_are_not_kept() {
        let mut history = with_codes();
        history.push(mailed(CodePurpose::LogIn, "m", LIFETIME_S));
        let account = given(history).state.account.expect("an account");
        assert_eq!(account.codes.live.len(), 1);
    }

    #[test]
    fn to_look_whether_a_code_is_right_counts_no_try() {
        let account = given(with_codes()).state.account.expect("an account");
        let would = |code: &str, at_s| {
            account.would_take(CodePurpose::VerifyEmail, &offer(None, code, at_s))
        };
        assert!(would("v", 1));
        assert!(!would("l", 1));
        assert!(!would("v", LIFETIME_S));
    }
}
