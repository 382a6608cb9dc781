//! The rules of a login.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::session::event::{Opened, Revoked, RevokedBecause, SessionEvent};

/// Decides for streams `session-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Session;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open it. That the user is who they say is known when this is asked.
    Open(Opened),
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
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "session_not_found",
            Self::AlreadyOpen => "session_already_open",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyOpen => RefusalKind::Conflict,
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
    Open {
        /// Whose.
        user: UserId,
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// Its tokens are worth nothing.
    Revoked {
        /// Whose it was.
        user: UserId,
    },
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
            (State::Open { .. } | State::Revoked { .. }, Command::Open(_)) => {
                Err(Refused::AlreadyOpen)
            }
            (State::Open { user, .. }, Command::Revoke { by, because }) if user == by => {
                Ok(vec![SessionEvent::Revoked(Revoked { because: *because })])
            }
            (State::Revoked { user }, Command::Revoke { by, .. }) if user == by => Ok(vec![]),
            (_, Command::Revoke { .. }) => Err(Refused::NotFound),
        }
    }

    fn evolve(state: State, _version: Version, event: &SessionEvent) -> State {
        match (event, state) {
            (SessionEvent::Opened(opened), _) => State::Open {
                user: opened.user,
                expires_at: opened.expires_at,
            },
            (SessionEvent::Revoked(_), State::Open { user, .. } | State::Revoked { user }) => {
                State::Revoked { user }
            }
            (SessionEvent::Revoked(_), State::Absent) => State::Absent,
        }
    }
}
