//! The second factors of an account: what its user shows besides the password, or instead of it.
//!
//! No secret is here. Whether a code or a signature is right is found out with keys that only the server
//! has; the rules here say whether what was right is good now: once, in its order, and after few enough
//! wrong tries.

mod decide;
mod event;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Refusal, RefusalKind};
use crate::event::Actor;
use crate::ids::{CommandId, PasskeyId, UserId};
use crate::session::Factor;
use crate::values::DisplayName;

pub(super) use decide::decide;
pub use event::*;

/// How long somebody may take between the secret of an authenticator app and its first code.
pub const ENROLMENT_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// How long a login waits for its second factor.
pub const TICKET_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// Wrong second factors that one login takes.
pub const TRIES_MAX: u8 = 5;

/// Recovery codes of a set.
pub const RECOVERY_CODES: u8 = 10;

/// Passkeys of one account.
pub const PASSKEYS_MAX: usize = 20;

/// Logins whose tries are remembered until they expire; of more, the one that expires first is forgotten.
/// It opens no second session all the same, as its session is there.
pub const TICKETS_MAX: usize = 50;

/// A login that waits for its second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Names it: the command that logs in.
    pub login: CommandId,
    /// From this moment on it is worth nothing.
    pub expires_at: DateTime<Utc>,
}

/// A second factor as it was sent, looked at with the server's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The code of a step.
    Totp {
        /// Of whose secret.
        enrolment: CommandId,
        /// 30 seconds since 1970.
        step: u64,
    },
    /// A recovery code.
    RecoveryCode {
        /// Of which set.
        set: CommandId,
        /// Which of them, from 0.
        number: u8,
    },
    /// An answer that this passkey signed.
    Passkey {
        /// Which.
        passkey: PasskeyId,
        /// How often it was used, by its own count.
        sign_count: u32,
        /// When the challenge was made.
        challenged_at: DateTime<Utc>,
    },
    /// Something that is not right, whatever the account says of it.
    Wrong(Factor),
}

/// Somebody shows a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What they sent.
    pub offer: Offer,
    /// The login that waits for it; `None` for anything else, and a passkey alone.
    pub ticket: Option<Ticket>,
    /// Now.
    pub at: DateTime<Utc>,
}

/// A passkey whose first answer was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPasskey {
    /// Names it.
    pub passkey: PasskeyId,
    /// What its user calls it.
    pub name: DisplayName,
    /// By which authenticators name it.
    pub credential_id: String,
    /// As in [`PasskeyAdded`].
    pub credential: String,
    /// How often it was used, by its own count.
    pub sign_count: u32,
    /// When the challenge was made.
    pub challenged_at: DateTime<Utc>,
}

/// What may be changed about the second factors of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorChange {
    /// Give an authenticator app a secret.
    BeginTotp {
        /// Names the enrolment.
        enrolment: CommandId,
    },
    /// Let the app's codes count from now on.
    EnrolTotp {
        /// Which enrolment.
        enrolment: CommandId,
        /// The step whose code was sent; `None` where it was of none.
        step: Option<u64>,
        /// Names the recovery codes, which come with the first second factor.
        set: CommandId,
    },
    /// Let them count no more.
    RemoveTotp,
    /// Have other recovery codes.
    MakeRecoveryCodes {
        /// Names them.
        set: CommandId,
    },
    /// Let a passkey count from now on.
    AddPasskey {
        /// It.
        passkey: Box<NewPasskey>,
        /// Names the recovery codes, which come with the first second factor.
        set: CommandId,
    },
    /// Call a passkey something else.
    RenamePasskey {
        /// Which.
        passkey: PasskeyId,
        /// What.
        name: DisplayName,
    },
    /// Let it count no more.
    RemovePasskey {
        /// Which.
        passkey: PasskeyId,
    },
}

/// What may be asked about second factors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorCommand {
    /// See whether a second factor is right, and use it up. One that is wrong is an event, not a refusal.
    Show(Shown),
    /// Change them. That it is their user is known, or shown by `shown`; where that is wrong, it is the
    /// one event that happens.
    Change {
        /// Whose account.
        user: UserId,
        /// What shows that it is their user, where that is a second factor.
        shown: Option<Shown>,
        /// What becomes different.
        change: FactorChange,
        /// Now.
        at: DateTime<Utc>,
    },
    /// Remove all of them, for a user who lost them. That the asker may is known.
    RemoveAll {
        /// Who asks.
        by: Actor,
        /// Now.
        at: DateTime<Utc>,
    },
}

/// Why second factors say no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The login was completed.
    #[error("this login was completed already; log in again")]
    TicketUsed,
    /// The login waited too long.
    #[error("the login took too long; log in again")]
    TicketExpired,
    /// Too many were wrong.
    #[error("{TRIES_MAX} were wrong; log in again")]
    TooManyTries,
    /// There is one.
    #[error("there is an authenticator app already; remove it first")]
    TotpEnrolled,
    /// There is nothing to be finished.
    #[error("no enrolment of an authenticator app was begun, or it took too long; begin again")]
    NothingBegun,
    /// The app has another secret, or its clock is wrong.
    #[error(
        "this is not the code that the app shows now; see that the clock of the device is right"
    )]
    WrongTotp,
    /// There is nothing that recovery codes would stand in for.
    #[error("there is no second factor that recovery codes could stand in for")]
    NoSecondFactor,
    /// There are as many as may be.
    #[error("an account has at most {PASSKEYS_MAX} passkeys")]
    TooManyPasskeys,
    /// It is there.
    #[error("this passkey was added already")]
    PasskeyKnown,
    /// There is none.
    #[error("there is no such passkey")]
    PasskeyNotFound,
    /// Another passkey was added or removed since the challenge was made.
    #[error("this challenge is no longer good; ask for another")]
    ChallengeUsed,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::TicketUsed => "ticket_used",
            Self::TicketExpired => "ticket_expired",
            Self::TooManyTries => "too_many_tries",
            Self::TotpEnrolled => "totp_enrolled",
            Self::NothingBegun => "nothing_begun",
            Self::WrongTotp => "wrong_totp",
            Self::NoSecondFactor => "no_second_factor",
            Self::TooManyPasskeys => "too_many_passkeys",
            Self::PasskeyKnown => "passkey_known",
            Self::PasskeyNotFound => "passkey_not_found",
            Self::ChallengeUsed => "challenge_used",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::TicketUsed | Self::TicketExpired | Self::TooManyTries | Self::WrongTotp => {
                RefusalKind::Forbidden
            }
            Self::TotpEnrolled
            | Self::NothingBegun
            | Self::NoSecondFactor
            | Self::TooManyPasskeys
            | Self::PasskeyKnown
            | Self::ChallengeUsed => RefusalKind::Conflict,
            Self::PasskeyNotFound => RefusalKind::NotFound,
        }
    }
}

/// The second factors of an account. Bounded by the numbers above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Factors {
    /// The authenticator app, where there is one.
    pub totp: Option<Totp>,
    /// An enrolment that is not finished.
    begun: Option<Begun>,
    /// The recovery codes, where there is a second factor.
    pub recovery: Option<RecoveryCodes>,
    /// The passkeys.
    pub passkeys: BTreeMap<PasskeyId, Passkey>,
    /// When the last challenge was made that added a passkey, or the last passkey was removed: no
    /// challenge from before adds one any more.
    passkeys_settled_at: Option<DateTime<Utc>>,
    /// Logins that did not go well, or were completed.
    tickets: BTreeMap<CommandId, TicketTries>,
}

/// An authenticator app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totp {
    /// What its secret is made of.
    pub enrolment: CommandId,
    /// The last step whose code was taken.
    step: u64,
}

/// An enrolment that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct Begun {
    enrolment: CommandId,
    expires_at: DateTime<Utc>,
}

/// Codes for those who lost their second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// What they are made of.
    pub set: CommandId,
    /// Which are worth nothing any more.
    used: BTreeSet<u8>,
}

impl RecoveryCodes {
    /// How many are still good.
    pub fn left(&self) -> usize {
        usize::from(RECOVERY_CODES).saturating_sub(self.used.len())
    }
}

/// A passkey that was added and not removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// What its user calls it.
    pub name: DisplayName,
    /// By which authenticators name it.
    pub credential_id: String,
    /// As in [`PasskeyAdded`].
    pub credential: String,
    /// When it was added.
    pub added_at: DateTime<Utc>,
    /// When it was used last.
    pub used_at: Option<DateTime<Utc>>,
    /// Whether its count once did not grow: somebody may have a copy. It is not taken any more.
    pub suspected: bool,
    sign_count: u32,
    challenged_at: DateTime<Utc>,
}

/// What came of a login that waits for its second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct TicketTries {
    expires_at: DateTime<Utc>,
    wrong: u8,
    used: bool,
}

impl Factors {
    /// Whether a login needs a second factor.
    pub fn are_on(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    /// What would do as a second factor now.
    pub fn ways(&self) -> BTreeSet<Factor> {
        let mut ways = BTreeSet::new();
        if self.totp.is_some() {
            ways.insert(Factor::Totp);
        }
        if self.passkeys.values().any(|passkey| !passkey.suspected) {
            ways.insert(Factor::Passkey);
        }
        if self.recovery.as_ref().is_some_and(|codes| codes.left() > 0) {
            ways.insert(Factor::RecoveryCode);
        }
        ways
    }

    /// The enrolment that waits for its first code at `at`.
    pub fn begun(&self, at: DateTime<Utc>) -> Option<CommandId> {
        let begun = self.begun.as_ref().filter(|begun| at < begun.expires_at);
        begun.map(|begun| begun.enrolment)
    }

    /// The passkey that authenticators name by `credential_id`.
    pub fn passkey(&self, credential_id: &str) -> Option<(PasskeyId, &Passkey)> {
        let mut passkeys = self.passkeys.iter();
        let found = passkeys.find(|(_, passkey)| passkey.credential_id == credential_id);
        found.map(|(id, passkey)| (*id, passkey))
    }

    pub(super) fn totp_begun(&mut self, begun: &TotpBegun) {
        self.begun = Some(Begun {
            enrolment: begun.enrolment,
            expires_at: begun.expires_at,
        });
    }

    pub(super) fn totp_enrolled(&mut self, enrolled: &TotpEnrolled) {
        self.begun = None;
        self.totp = Some(Totp {
            enrolment: enrolled.enrolment,
            step: enrolled.step,
        });
    }

    pub(super) fn totp_used(&mut self, used: &TotpUsed) {
        if let Some(totp) = &mut self.totp {
            totp.step = totp.step.max(used.step);
        }
        self.ticket_used(used.ticket.as_ref(), used.at);
    }

    pub(super) fn totp_removed(&mut self) {
        self.totp = None;
        self.forget_recovery();
    }

    pub(super) fn recovery_codes_made(&mut self, made: &RecoveryCodesMade) {
        self.recovery = Some(RecoveryCodes {
            set: made.set,
            used: BTreeSet::new(),
        });
    }

    pub(super) fn recovery_code_used(&mut self, used: &RecoveryCodeUsed) {
        if let Some(codes) = self.recovery.as_mut().filter(|it| it.set == used.set) {
            codes.used.insert(used.number);
        }
        self.ticket_used(used.ticket.as_ref(), used.at);
    }

    pub(super) fn passkey_added(&mut self, added: &PasskeyAdded) {
        let passkey = Passkey {
            name: added.name.value.clone(),
            credential_id: added.credential_id.value.clone(),
            credential: added.credential.value.clone(),
            added_at: added.at,
            used_at: None,
            suspected: false,
            sign_count: added.sign_count,
            challenged_at: added.challenged_at,
        };
        self.passkeys.insert(added.passkey, passkey);
        self.passkeys_settled_at = Some(added.challenged_at);
    }

    pub(super) fn passkey_renamed(&mut self, renamed: &PasskeyRenamed) {
        if let Some(passkey) = self.passkeys.get_mut(&renamed.passkey) {
            passkey.name = renamed.name.value.clone();
        }
    }

    pub(super) fn passkey_used(&mut self, used: &PasskeyUsed) {
        if let Some(passkey) = self.passkeys.get_mut(&used.passkey) {
            passkey.sign_count = used.sign_count;
            passkey.challenged_at = used.challenged_at;
            passkey.used_at = Some(used.at);
        }
        self.ticket_used(used.ticket.as_ref(), used.at);
    }

    pub(super) fn passkey_suspected(&mut self, used: &PasskeyUsed) {
        if let Some(passkey) = self.passkeys.get_mut(&used.passkey) {
            passkey.suspected = true;
        }
        self.ticket_refused(used.ticket.as_ref(), used.at);
    }

    pub(super) fn passkey_removed(&mut self, removed: &PasskeyRemoved) {
        self.passkeys.remove(&removed.passkey);
        self.passkeys_settled_at = Some(removed.at);
        self.forget_recovery();
    }

    pub(super) fn refused(&mut self, refused: &SecondFactorRefused) {
        self.ticket_refused(refused.ticket.as_ref(), refused.at);
    }

    pub(super) fn all_removed(&mut self, removed: &SecondFactorsRemoved) {
        *self = Self {
            passkeys_settled_at: Some(removed.at),
            ..Self::default()
        };
    }

    /// Recovery codes stand in for what is there.
    fn forget_recovery(&mut self) {
        if !self.are_on() {
            self.recovery = None;
        }
    }

    fn ticket_used(&mut self, ticket: Option<&Ticket>, at: DateTime<Utc>) {
        if let Some(ticket) = ticket {
            self.tries(ticket, at).used = true;
        }
    }

    fn ticket_refused(&mut self, ticket: Option<&Ticket>, at: DateTime<Utc>) {
        if let Some(ticket) = ticket {
            let tries = self.tries(ticket, at);
            tries.wrong = tries.wrong.saturating_add(1);
        }
    }

    /// What is remembered of `ticket`, in place of what expired before `at`.
    fn tries(&mut self, ticket: &Ticket, at: DateTime<Utc>) -> &mut TicketTries {
        self.tickets.retain(|_, tries| at < tries.expires_at);
        if self.tickets.len() >= TICKETS_MAX && !self.tickets.contains_key(&ticket.login) {
            let first = self.tickets.iter().min_by_key(|(_, it)| it.expires_at);
            if let Some(login) = first.map(|(login, _)| *login) {
                self.tickets.remove(&login);
            }
        }
        self.tickets.entry(ticket.login).or_insert(TicketTries {
            expires_at: ticket.expires_at,
            wrong: 0,
            used: false,
        })
    }
}
