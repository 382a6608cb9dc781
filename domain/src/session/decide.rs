//! The rules of a login.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::session::event::{Opened, Revoked, RevokedBecause, SessionEvent, VouchedBy};
use crate::session::refresh::{Refresh, RefreshState};

/// Decides for streams `session-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Session;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open it. That the user is who they say is known when this is asked.
    Open(Opened),
    /// Go on with it. A repeat changes nothing, as [`Refresh`]'s rules say.
    Refresh(Refresh),
    /// End it. Ending it again changes nothing.
    Revoke {
        /// Who asks: only its user may.
        by: UserId,
        /// Why.
        because: RevokedBecause,
    },
}

/// Why a session says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or it is another user's.
    #[error("there is no such session")]
    NotFound,
    /// There is one already.
    #[error("this session was opened already")]
    AlreadyOpen,
    /// It was revoked, or its time is over.
    #[error("the session has ended; log in again")]
    Ended,
    /// The refresh token is not of this session.
    #[error("the refresh token is not valid; log in again")]
    RefreshInvalid,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "session_not_found",
            Self::AlreadyOpen => "session_already_open",
            Self::Ended => "session_ended",
            Self::RefreshInvalid => "refresh_invalid",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyOpen | Self::Ended => RefusalKind::Conflict,
            Self::RefreshInvalid => RefusalKind::Invalid,
        }
    }
}

/// The state of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum State {
    /// Never opened.
    #[default]
    Absent,
    /// Its tokens are good until they expire.
    Open(Login),
    /// Its tokens are worth nothing.
    Revoked {
        /// Whose it was.
        user: UserId,
        /// Why.
        because: RevokedBecause,
    },
}

/// A session that was opened and not revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Login {
    /// Whose.
    pub user: UserId,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// On whose word it was opened; `None` for one by means of our own.
    pub vouched_by: Option<VouchedBy>,
    /// The account's login epoch when what opened it was checked.
    pub login_epoch: u32,
    /// Its refresh tokens; none where it was opened before there were any.
    pub refresh: Option<RefreshState>,
}

impl Decider for Session {
    type State = State;
    type Command = Command;
    type Event = SessionEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "session";

    fn decide(state: &State, command: &Command) -> Result<Vec<SessionEvent>, Refused> {
        match (state, command) {
            (State::Absent, Command::Open(opened)) => {
                Ok(vec![SessionEvent::Opened(opened.clone())])
            }
            (State::Open(login), Command::Open(opened))
                if (login.user, login.expires_at, &login.vouched_by)
                    == (opened.user, opened.expires_at, &opened.vouched_by) =>
            {
                Ok(vec![])
            }
            (State::Open(_) | State::Revoked { .. }, Command::Open(_)) => Err(Refused::AlreadyOpen),
            (State::Open(login), Command::Refresh(refresh)) => login.refresh(refresh),
            (State::Revoked { .. }, Command::Refresh(_)) => Err(Refused::Ended),
            (State::Open(login), Command::Revoke { by, because }) if login.user == *by => {
                Ok(vec![SessionEvent::Revoked(Revoked { because: *because })])
            }
            (State::Revoked { user, .. }, Command::Revoke { by, .. }) if user == by => Ok(vec![]),
            (State::Absent, Command::Refresh(_))
            | (State::Absent | State::Open(_) | State::Revoked { .. }, Command::Revoke { .. }) => {
                Err(Refused::NotFound)
            }
        }
    }

    fn evolve(state: State, _version: Version, event: &SessionEvent) -> State {
        match (event, state) {
            (SessionEvent::Opened(opened), State::Absent) => State::Open(Login {
                user: opened.user,
                expires_at: opened.expires_at,
                vouched_by: opened.vouched_by.clone(),
                login_epoch: opened.login_epoch,
                refresh: opened.refresh_hash.as_deref().map(RefreshState::opened),
            }),
            (SessionEvent::Refreshed(refreshed), State::Open(login)) => State::Open(Login {
                refresh: login.refresh.map(|state| state.refreshed(refreshed)),
                ..login
            }),
            (SessionEvent::Revoked(revoked), State::Open(login)) => State::Revoked {
                user: login.user,
                because: revoked.because,
            },
            (
                SessionEvent::Opened(_) | SessionEvent::Refreshed(_) | SessionEvent::Revoked(_),
                state,
            ) => state,
        }
    }
}

impl Login {
    fn refresh(&self, refresh: &Refresh) -> Result<Vec<SessionEvent>, Refused> {
        if self.expires_at <= refresh.at {
            return Err(Refused::Ended);
        }
        let state = self.refresh.as_ref().ok_or(Refused::RefreshInvalid)?;
        state.decide(refresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given, moment};
    use crate::values::IssuerName;

    fn given(history: impl IntoIterator<Item = SessionEvent>) -> Given<Session> {
        Given::history(history)
    }

    fn login(user: UserId, expires_in_s: i64) -> Opened {
        Opened {
            user,
            expires_at: moment(expires_in_s),
            device: None,
            address: None,
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        }
    }

    fn opened() -> SessionEvent {
        SessionEvent::Opened(login(ALICE, 60))
    }

    fn revoked() -> SessionEvent {
        SessionEvent::Revoked(Revoked {
            because: RevokedBecause::LoggedOut,
        })
    }

    fn log_out(by: UserId) -> Command {
        Command::Revoke {
            by,
            because: RevokedBecause::LoggedOut,
        }
    }

    #[test]
    fn a_login_opens_a_session() {
        given([])
            .when(Command::Open(login(ALICE, 60)))
            .then([opened()]);
    }

    #[test]
    fn the_same_login_again_changes_nothing() {
        given([opened()])
            .when(Command::Open(login(ALICE, 60)))
            .then([]);
    }

    #[test]
    fn a_session_is_opened_once() {
        let through_an_issuer = Opened {
            vouched_by: Some(VouchedBy {
                issuer: IssuerName::parse("google").expect("a good name"),
                since: Version(2),
            }),
            ..login(ALICE, 60)
        };
        for other in [login(BOB, 60), login(ALICE, 61), through_an_issuer] {
            given([opened()])
                .when(Command::Open(other))
                .then_refused(Refused::AlreadyOpen);
        }
        given([opened(), revoked()])
            .when(Command::Open(login(ALICE, 60)))
            .then_refused(Refused::AlreadyOpen);
    }

    #[test]
    fn its_user_ends_it_once() {
        given([opened()]).when(log_out(ALICE)).then([revoked()]);
        given([opened(), revoked()]).when(log_out(ALICE)).then([]);
    }

    #[test]
    fn nobody_else_learns_that_there_is_one() {
        for history in [vec![], vec![opened()], vec![opened(), revoked()]] {
            given(history)
                .when(log_out(BOB))
                .then_refused(Refused::NotFound);
        }
    }

    #[test]
    fn no_event_opens_again_what_was_revoked() {
        let state = given([opened(), revoked(), opened()]).state;
        let because = RevokedBecause::LoggedOut;
        assert_eq!(
            state,
            State::Revoked {
                user: ALICE,
                because
            }
        );
    }
}
