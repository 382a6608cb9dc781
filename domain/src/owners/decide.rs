//! The rule of the owners: the last one stays.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::owners::event::{OwnerChanged, OwnersEvent};

/// Decides for the stream `owners`.
#[derive(Clone, Copy, Debug)]
pub struct Owners;

impl Owners {
    /// The most owners a server may have.
    pub const MAX: usize = 100;
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Count somebody in, after they got the role.
    Add {
        /// Whom.
        user: UserId,
    },
    /// Count somebody out, before they lose the role.
    Remove {
        /// Whom.
        user: UserId,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody would be left.
    #[error("this is the last owner; make another user an owner first")]
    LastOwner,
    /// There are as many as may be.
    #[error("a server has at most {} owners", Owners::MAX)]
    TooMany,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::LastOwner => "last_owner",
            Self::TooMany => "too_many_owners",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::LastOwner | Self::TooMany => RefusalKind::Conflict,
        }
    }
}

/// Who is an owner. Of a log that is older than this stream, those who became one since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// At most 100.
    pub owners: BTreeSet<UserId>,
}

impl Decider for Owners {
    type State = State;
    type Command = Command;
    type Event = OwnersEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "owners";

    fn decide(state: &State, command: &Command) -> Result<Vec<OwnersEvent>, Refused> {
        match *command {
            Command::Add { user } if state.owners.contains(&user) => Ok(vec![]),
            Command::Add { .. } if state.owners.len() >= Self::MAX => Err(Refused::TooMany),
            Command::Add { user } => Ok(vec![OwnersEvent::Added(OwnerChanged { user })]),
            Command::Remove { user } => {
                if state.owners.iter().all(|owner| *owner == user) {
                    return Err(Refused::LastOwner);
                }
                if !state.owners.contains(&user) {
                    return Ok(vec![]);
                }
                Ok(vec![OwnersEvent::Removed(OwnerChanged { user })])
            }
        }
    }

    fn evolve(mut state: State, _version: Version, event: &OwnersEvent) -> State {
        match event {
            OwnersEvent::Added(added) => {
                state.owners.insert(added.user);
            }
            OwnersEvent::Removed(removed) => {
                state.owners.remove(&removed.user);
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given, user};

    fn given(history: impl IntoIterator<Item = OwnersEvent>) -> Given<Owners> {
        Given::history(history)
    }

    fn added(user: UserId) -> OwnersEvent {
        OwnersEvent::Added(OwnerChanged { user })
    }

    fn removed(user: UserId) -> OwnersEvent {
        OwnersEvent::Removed(OwnerChanged { user })
    }

    #[test]
    fn owners_are_counted_once() {
        given([])
            .when(Command::Add { user: ALICE })
            .then([added(ALICE)]);
        given([added(ALICE)])
            .when(Command::Add { user: ALICE })
            .then([]);
    }

    #[test]
    fn the_last_owner_stays() {
        let leave = |user| Command::Remove { user };
        given([added(ALICE)])
            .when(leave(ALICE))
            .then_refused(Refused::LastOwner);
        given([added(ALICE), added(BOB)])
            .when(leave(ALICE))
            .then([removed(ALICE)]);
        given([added(ALICE), added(BOB), removed(ALICE)])
            .when(leave(ALICE))
            .then([]);
        given([added(ALICE), added(BOB), removed(ALICE)])
            .when(leave(BOB))
            .then_refused(Refused::LastOwner);
    }

    #[test]
    fn where_no_owner_is_known_nobody_loses_the_role() {
        given([])
            .when(Command::Remove { user: ALICE })
            .then_refused(Refused::LastOwner);
    }

    #[test]
    fn there_are_not_too_many() {
        let all = (0..Owners::MAX as u128).map(|number| added(user(number)));
        given(all)
            .when(Command::Add { user: ALICE })
            .then_refused(Refused::TooMany);
    }
}
