//! Ending all sessions of an account at once: it begins another login epoch, and sessions of earlier ones
//! are let in no more.

use crate::ids::SessionId;
use crate::session::{Login, VouchedBy};
use crate::user::decide::Account;
use crate::user::event::{LoggedOutEverywhere, UserEvent};
use crate::user::refused::Refused;

/// The session through which a user asks for something that ends sessions. One that has ended since it was
/// let in ends nothing, and above all does not outlive what ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Through {
    /// Which.
    pub session: SessionId,
    /// The login epoch it is of.
    pub login_epoch: u32,
}

impl Account {
    /// All sessions end but `kept`.
    pub(super) fn log_out_everywhere(&self, kept: Option<SessionId>) -> UserEvent {
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
            epoch: self.login_epoch.saturating_add(1),
            kept,
        })
    }

    /// Whether `session`, which is `login`, was not ended together with all others, and the identity on
    /// whose word it was opened is still a way in.
    pub fn lets_in(&self, session: SessionId, login: &Login) -> bool {
        let through = Through {
            session,
            login_epoch: login.login_epoch,
        };
        let still_vouches = |word: &VouchedBy| self.linked_since(&word.issuer) == Some(word.since);
        self.goes_on(&through).is_ok() && login.vouched_by.as_ref().is_none_or(still_vouches)
    }

    /// The session, where it was not ended together with all others.
    pub(super) fn goes_on(&self, through: &Through) -> Result<SessionId, Refused> {
        let Through {
            session,
            login_epoch,
        } = *through;
        if login_epoch >= self.login_epoch || self.kept_session == Some(session) {
            Ok(session)
        } else {
            Err(Refused::SessionEnded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given, moment};
    use crate::user::testing::registered;
    use crate::user::{Command, User};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(history)
    }

    fn out(epoch: u32, kept: Option<SessionId>) -> UserEvent {
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere { epoch, kept })
    }

    fn of_epoch(login_epoch: u32) -> Login {
        Login {
            user: ALICE,
            expires_at: moment(60),
            vouched_by: None,
            login_epoch,
            refresh: None,
        }
    }

    #[test]
    fn logging_out_everywhere_ends_what_was_opened_until_then_and_keeps_one_at_most() {
        let [phone, laptop] = [1, 2].map(|id| SessionId(uuid::Uuid::from_u128(id)));
        let kept = Some(phone);
        let out_from = |session, login_epoch, keeps| Command::LogOutEverywhere {
            through: Through {
                session,
                login_epoch,
            },
            keeps,
        };
        let account = given([registered(ALICE)])
            .when(out_from(phone, 0, true))
            .then([out(1, kept)])
            .account
            .expect("there is an account");
        assert!(
            account.lets_in(phone, &of_epoch(0)),
            "it is the one that is kept"
        );
        assert!(!account.lets_in(laptop, &of_epoch(0)));
        assert!(account.lets_in(laptop, &of_epoch(1)), "it was opened after");

        let account = given([registered(ALICE), out(1, kept)])
            .when(out_from(phone, 0, false))
            .then([out(2, None)])
            .account
            .expect("there is an account");
        for epoch in [0, 1] {
            for session in [phone, laptop] {
                assert!(!account.lets_in(session, &of_epoch(epoch)));
            }
        }
        assert!(account.lets_in(laptop, &of_epoch(2)));

        // Who has ended does not come back by ending the others.
        for keeps in [false, true] {
            given([registered(ALICE), out(1, kept)])
                .when(out_from(laptop, 0, keeps))
                .then_refused(Refused::SessionEnded);
        }
    }
}
