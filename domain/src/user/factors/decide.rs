//! The rules of second factors.

use chrono::{DateTime, Utc};

use crate::ids::{CommandId, PasskeyId, UserId};
use crate::personal::Personal;
use crate::session::Factor;
use crate::user::event::UserEvent;
use crate::user::factors::{
    ENROLMENT_LIFETIME, FactorChange, FactorCommand, Factors, NewPasskey, Offer, PASSKEYS_MAX,
    PasskeyAdded, PasskeyRemoved, PasskeyRenamed, PasskeyUsed, RECOVERY_CODES, RecoveryCodeUsed,
    RecoveryCodesMade, Refused, SecondFactorRefused, SecondFactorsRemoved, Shown, TRIES_MAX,
    Ticket, TotpBegun, TotpEnrolled, TotpRemoved, TotpUsed,
};
use crate::values::DisplayName;

type Decision = Result<Vec<UserEvent>, Refused>;

/// Decides `command` on `factors`.
pub(in crate::user) fn decide(factors: &Factors, command: &FactorCommand) -> Decision {
    match command {
        FactorCommand::Show(shown) => Ok(vec![factors.show(shown)?]),
        FactorCommand::Change {
            user,
            shown,
            change,
            at,
        } => {
            let changes = factors.change(*user, change, *at)?;
            let Some(shown) = shown.as_ref().filter(|_| !changes.is_empty()) else {
                return Ok(changes);
            };
            let first = factors.show(shown)?;
            let is_right = is_right(&first);
            let rest = if is_right { changes } else { vec![] };
            Ok([first].into_iter().chain(rest).collect())
        }
        FactorCommand::RemoveAll { by, at } if factors.are_on() => {
            Ok(vec![UserEvent::SecondFactorsRemoved(
                SecondFactorsRemoved { by: *by, at: *at },
            )])
        }
        FactorCommand::RemoveAll { .. } => Ok(vec![]),
    }
}

/// Whether the first event of a command that shows a second factor says that it was right.
fn is_right(event: &UserEvent) -> bool {
    !matches!(
        event,
        UserEvent::SecondFactorRefused(_) | UserEvent::PasskeySuspected(_)
    )
}

impl Factors {
    /// What comes of `shown`: one event.
    fn show(&self, shown: &Shown) -> Result<UserEvent, Refused> {
        if let Some(ticket) = &shown.ticket {
            self.check_ticket(ticket, shown.at)?;
        }
        let (at, ticket) = (shown.at, shown.ticket.clone());
        let event = match &shown.offer {
            Offer::Totp { enrolment, step } if self.takes_totp(*enrolment, *step) => {
                let step = *step;
                UserEvent::TotpUsed(TotpUsed { step, at, ticket })
            }
            Offer::RecoveryCode { set, number } if self.takes_recovery_code(*set, *number) => {
                let (set, number) = (*set, *number);
                UserEvent::RecoveryCodeUsed(RecoveryCodeUsed {
                    set,
                    number,
                    at,
                    ticket,
                })
            }
            Offer::Passkey {
                passkey,
                sign_count,
                challenged_at,
            } if self.knows_passkey(*passkey, *challenged_at) => {
                let used = PasskeyUsed {
                    passkey: *passkey,
                    sign_count: *sign_count,
                    challenged_at: *challenged_at,
                    at,
                    ticket,
                };
                if self.counts_on(*passkey, *sign_count) {
                    UserEvent::PasskeyUsed(used)
                } else {
                    UserEvent::PasskeySuspected(used)
                }
            }
            offer => UserEvent::SecondFactorRefused(SecondFactorRefused {
                factor: offer.factor(),
                at,
                ticket,
            }),
        };
        Ok(event)
    }

    fn check_ticket(&self, ticket: &Ticket, at: DateTime<Utc>) -> Result<(), Refused> {
        if at >= ticket.expires_at {
            return Err(Refused::TicketExpired);
        }
        match self.tickets.get(&ticket.login) {
            Some(tries) if tries.used => Err(Refused::TicketUsed),
            Some(tries) if tries.wrong >= TRIES_MAX => Err(Refused::TooManyTries),
            Some(_) | None => Ok(()),
        }
    }

    fn takes_totp(&self, enrolment: CommandId, step: u64) -> bool {
        let totp = self.totp.as_ref();
        totp.is_some_and(|totp| totp.enrolment == enrolment && step > totp.step)
    }

    fn takes_recovery_code(&self, set: CommandId, number: u8) -> bool {
        let codes = self.recovery.as_ref().filter(|codes| codes.set == set);
        codes.is_some_and(|codes| number < RECOVERY_CODES && !codes.used.contains(&number))
    }

    /// Whether it may be used, to answer a challenge that is newer than the last it answered.
    fn knows_passkey(&self, passkey: PasskeyId, challenged_at: DateTime<Utc>) -> bool {
        let passkey = self.passkeys.get(&passkey);
        passkey.is_some_and(|it| !it.suspected && challenged_at > it.challenged_at)
    }

    /// Whether its own count is higher than before, or it does not count.
    fn counts_on(&self, passkey: PasskeyId, sign_count: u32) -> bool {
        let before = self.passkeys.get(&passkey).map_or(0, |it| it.sign_count);
        sign_count > before || (sign_count, before) == (0, 0)
    }

    fn change(&self, user: UserId, change: &FactorChange, at: DateTime<Utc>) -> Decision {
        match change {
            FactorChange::BeginTotp { enrolment } => {
                if self.totp.is_some() {
                    return Err(Refused::TotpEnrolled);
                }
                Ok(vec![UserEvent::TotpBegun(TotpBegun {
                    enrolment: *enrolment,
                    expires_at: at + ENROLMENT_LIFETIME,
                })])
            }
            FactorChange::EnrolTotp {
                enrolment,
                step,
                set,
            } => {
                if self.begun(at) != Some(*enrolment) {
                    return Err(Refused::NothingBegun);
                }
                let enrolled = UserEvent::TotpEnrolled(TotpEnrolled {
                    enrolment: *enrolment,
                    step: step.ok_or(Refused::WrongTotp)?,
                });
                Ok(self.with_recovery_codes(enrolled, *set))
            }
            FactorChange::RemoveTotp if self.totp.is_some() => {
                Ok(vec![UserEvent::TotpRemoved(TotpRemoved {})])
            }
            FactorChange::RemoveTotp => Ok(vec![]),
            FactorChange::MakeRecoveryCodes { set } => {
                if !self.are_on() {
                    return Err(Refused::NoSecondFactor);
                }
                let made = RecoveryCodesMade { set: *set };
                Ok(vec![UserEvent::RecoveryCodesMade(made)])
            }
            FactorChange::AddPasskey { passkey, set } => {
                let added = self.add_passkey(user, passkey, at)?;
                Ok(self.with_recovery_codes(added, *set))
            }
            FactorChange::RenamePasskey { passkey, name } => {
                self.rename_passkey(user, *passkey, name)
            }
            FactorChange::RemovePasskey { passkey } if self.passkeys.contains_key(passkey) => {
                let passkey = *passkey;
                let removed = PasskeyRemoved { passkey, at };
                Ok(vec![UserEvent::PasskeyRemoved(removed)])
            }
            FactorChange::RemovePasskey { .. } => Err(Refused::PasskeyNotFound),
        }
    }

    /// The first second factor comes with recovery codes.
    fn with_recovery_codes(&self, factor: UserEvent, set: CommandId) -> Vec<UserEvent> {
        let made = UserEvent::RecoveryCodesMade(RecoveryCodesMade { set });
        let made = (!self.are_on()).then_some(made);
        [factor].into_iter().chain(made).collect()
    }

    fn add_passkey(
        &self,
        user: UserId,
        new: &NewPasskey,
        at: DateTime<Utc>,
    ) -> Result<UserEvent, Refused> {
        let settled_at = self.passkeys_settled_at;
        if self.passkey(&new.credential_id).is_some() {
            return Err(Refused::PasskeyKnown);
        }
        if settled_at.is_some_and(|settled_at| new.challenged_at <= settled_at) {
            return Err(Refused::ChallengeUsed);
        }
        if self.passkeys.len() >= PASSKEYS_MAX {
            return Err(Refused::TooManyPasskeys);
        }
        Ok(UserEvent::PasskeyAdded(PasskeyAdded {
            passkey: new.passkey,
            name: Personal::new(user, new.name.clone()),
            credential_id: Personal::new(user, new.credential_id.clone()),
            credential: Personal::new(user, new.credential.clone()),
            sign_count: new.sign_count,
            challenged_at: new.challenged_at,
            at,
        }))
    }

    fn rename_passkey(&self, user: UserId, passkey: PasskeyId, name: &DisplayName) -> Decision {
        let known = self.passkeys.get(&passkey);
        if known.ok_or(Refused::PasskeyNotFound)?.name == *name {
            return Ok(vec![]);
        }
        let name = Personal::new(user, name.clone());
        let renamed = PasskeyRenamed { passkey, name };
        Ok(vec![UserEvent::PasskeyRenamed(renamed)])
    }
}

impl Offer {
    /// What it was said to be.
    const fn factor(&self) -> Factor {
        match self {
            Self::Totp { .. } => Factor::Totp,
            Self::RecoveryCode { .. } => Factor::RecoveryCode,
            Self::Passkey { .. } => Factor::Passkey,
            Self::Wrong(factor) => *factor,
        }
    }
}
