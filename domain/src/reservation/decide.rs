//! The rules of what only one may hold.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::reservation::event::{Held, ReservationEvent};

/// Decides for streams `handle-{hmac}`, `email-{hmac}` and `identity-{hmac}`.
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
            (None, Command::Claim { user } | Command::TakeOver { user, .. }) => {
                Ok(vec![claimed(user)])
            }
            (Some(holder), Command::Claim { user } | Command::TakeOver { user, .. })
                if holder == user =>
            {
                Ok(vec![])
            }
            (Some(holder), Command::TakeOver { from, user }) if holder == from => {
                Ok(vec![released(from), claimed(user)])
            }
            (Some(holder), Command::Claim { .. } | Command::TakeOver { .. }) => {
                Err(Refused::Taken { by: holder })
            }
            (Some(holder), Command::Release { user }) if holder == user => Ok(vec![released(user)]),
            (Some(_) | None, Command::Release { .. }) => Ok(vec![]),
        }
    }

    fn evolve(state: State, _version: Version, event: &ReservationEvent) -> State {
        let holder = match (event, state.holder) {
            (ReservationEvent::Claimed(held), None) => Some(held.user),
            (ReservationEvent::Released(held), Some(holder)) if held.user == holder => None,
            (ReservationEvent::Claimed(_) | ReservationEvent::Released(_), holder) => holder,
        };
        State { holder }
    }
}

fn claimed(user: UserId) -> ReservationEvent {
    ReservationEvent::Claimed(Held { user })
}

fn released(user: UserId) -> ReservationEvent {
    ReservationEvent::Released(Held { user })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ALICE, BOB, CAROL, Given, user};

    fn given(history: impl IntoIterator<Item = ReservationEvent>) -> Given<Reservation> {
        Given::history(history)
    }

    fn claim(user: UserId) -> Command {
        Command::Claim { user }
    }

    fn release(user: UserId) -> Command {
        Command::Release { user }
    }

    fn take_over(from: UserId, user: UserId) -> Command {
        Command::TakeOver { from, user }
    }

    #[test]
    fn what_is_free_is_held_by_who_claims_it() {
        given([]).when(claim(ALICE)).then([claimed(ALICE)]);
        given([claimed(BOB), released(BOB)])
            .when(claim(ALICE))
            .then([claimed(ALICE)]);
    }

    #[test]
    fn to_claim_what_one_holds_changes_nothing() {
        given([claimed(ALICE)]).when(claim(ALICE)).then([]);
    }

    #[test]
    fn only_one_holds_it() {
        given([claimed(ALICE)])
            .when(claim(BOB))
            .then_refused(Refused::Taken { by: ALICE });
    }

    #[test]
    fn only_its_holder_lets_it_go() {
        given([claimed(ALICE)])
            .when(release(ALICE))
            .then([released(ALICE)]);
        given([claimed(ALICE)]).when(release(BOB)).then([]);
        given([]).when(release(BOB)).then([]);
    }

    #[test]
    fn it_is_taken_over_from_the_holder_that_was_named() {
        given([claimed(ALICE)])
            .when(take_over(ALICE, BOB))
            .then([released(ALICE), claimed(BOB)]);
        given([claimed(ALICE), released(ALICE), claimed(BOB)])
            .when(take_over(ALICE, BOB))
            .then([]);
        given([claimed(CAROL)])
            .when(take_over(ALICE, BOB))
            .then_refused(Refused::Taken { by: CAROL });
        given([]).when(take_over(ALICE, BOB)).then([claimed(BOB)]);
    }

    #[test]
    fn redundant_events_fold_to_nothing() {
        let held = State {
            holder: Some(ALICE),
        };
        for redundant in [claimed(BOB), released(BOB), claimed(ALICE)] {
            assert_eq!(Reservation::evolve(held, Version(2), &redundant), held);
        }
    }

    fn commands() -> impl Strategy<Value = Vec<Command>> {
        let who = || (0..4_u128).prop_map(user);
        let command = prop_oneof![
            who().prop_map(claim),
            who().prop_map(release),
            (who(), who()).prop_map(|(from, user)| take_over(from, user)),
        ];
        prop::collection::vec(command, 0..40)
    }

    proptest! {
        /// Read as a plain list of events, without the fold, what is stored alternates between
        /// claimed and released by the same user.
        #[test]
        fn nobody_holds_what_somebody_else_holds(commands in commands()) {
            let mut given = given([]);
            for command in &commands {
                let before = given.state;
                if given.accept(command).is_ok() {
                    let after = given.state;
                    prop_assert!(given.accept(command).is_ok_and(|events| events.is_empty()), "{command:?}");
                    prop_assert_eq!(given.state, after);
                } else {
                    prop_assert_eq!(given.state, before);
                }
            }
            let mut holder = None;
            for event in &given.events {
                match event {
                    ReservationEvent::Claimed(held) => {
                        prop_assert_eq!(holder, None);
                        holder = Some(held.user);
                    }
                    ReservationEvent::Released(held) => {
                        prop_assert_eq!(holder, Some(held.user));
                        holder = None;
                    }
                }
            }
            prop_assert_eq!(given.state.holder, holder);
        }
    }
}
