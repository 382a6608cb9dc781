//! The rules of what only one may hold.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::reservation::event::{Held, ReservationEvent};

/// Decides for streams `handle-{hmac}` and `email-{hmac}`.
#[derive(Clone, Copy, Debug)]
pub struct Reservation;

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold it. Who holds it already, holds it.
    Claim {
        /// For whom.
        user: UserId,
    },
    /// Take it from somebody whose registration never came to an end. That it did not, and will
    /// not, is known when this is asked.
    TakeOver {
        /// Who holds it without having an account.
        from: UserId,
        /// Who gets it.
        user: UserId,
    },
    /// Let it go. What somebody else holds stays with them.
    Release {
        /// Who lets go.
        user: UserId,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else holds it.
    #[error("this is taken")]
    Taken {
        /// Who. Never shown to others.
        by: UserId,
    },
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Taken { .. } => RefusalKind::Conflict,
        }
    }
}

/// Who holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// The holder; `None` while it is free.
    pub holder: Option<UserId>,
}

impl Decider for Reservation {
    type State = State;
    type Command = Command;
    type Event = ReservationEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "reservation";

    fn decide(state: &State, command: &Command) -> Result<Vec<ReservationEvent>, Refused> {
        match (state.holder, *command) {
            (None, Command::Claim { user }) => Ok(vec![claimed(user)]),
            (Some(holder), Command::Claim { user } | Command::TakeOver { user, .. })
                if holder == user =>
            {
                Ok(vec![])
            }
            (Some(holder), Command::Claim { .. }) => Err(Refused::Taken { by: holder }),
            (Some(holder), Command::TakeOver { from, user }) if holder == from => {
                Ok(vec![released(from), claimed(user)])
            }
            (Some(holder), Command::TakeOver { .. }) => Err(Refused::Taken { by: holder }),
            (None, Command::TakeOver { user, .. }) => Ok(vec![claimed(user)]),
            (Some(holder), Command::Release { user }) if holder == user => Ok(vec![released(user)]),
            (_, Command::Release { .. }) => Ok(vec![]),
        }
    }

    fn evolve(_state: State, _version: Version, event: &ReservationEvent) -> State {
        match event {
            ReservationEvent::Claimed(held) => State {
                holder: Some(held.user),
            },
            ReservationEvent::Released(_) => State { holder: None },
        }
    }
}

fn claimed(user: UserId) -> ReservationEvent {
    ReservationEvent::Claimed(Held { user })
}

fn released(user: UserId) -> ReservationEvent {
    ReservationEvent::Released(Held { user })
}
