//! Whether a user may come in: suspended by those who run the server, deactivated by themselves.
//! The two are independent, and each is ended by whom it was begun.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Actor;
use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::decide::{Account, Decision};
use crate::user::event::{Deactivated, Reactivated, Reinstated, Suspended, SystemRole, UserEvent};
use crate::user::refused::Refused;
use crate::values::Reason;

/// A suspension to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// Whom.
    pub user: UserId,
    /// Who asks.
    pub by: Actor,
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
    /// Why.
    pub why: Option<Reason>,
}

/// A suspension as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suspension {
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
}

/// Whether somebody may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Active,
    /// Those who run the server do not want them in for now.
    Suspended {
        /// When it ends by itself.
        until: Option<DateTime<Utc>>,
    },
    /// They closed the account, and may open it again.
    Deactivated,
}

impl Account {
    /// How the account stands at the moment `now`. Who is both suspended and deactivated is
    /// suspended.
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        match self.suspension {
            Some(Suspension { until }) if until.is_none_or(|until| now < until) => {
                Standing::Suspended { until }
            }
            Some(_) | None if self.deactivated => Standing::Deactivated,
            Some(_) | None => Standing::Active,
        }
    }

    pub(super) fn suspend(&self, suspend: &Suspend) -> Decision {
        let Suspend {
            user,
            by,
            until,
            why,
        } = suspend;
        if by.user() == Some(*user) {
            return Err(Refused::SuspendsOneself);
        }
        if self.system_roles.contains(&SystemRole::Owner) {
            return Err(Refused::IsOwner);
        }
        if self.suspension == Some(Suspension { until: *until }) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::Suspended(Suspended {
            by: *by,
            until: *until,
            why: why.clone().map(|why| Personal::new(*user, why)),
        })])
    }

    pub(super) fn reinstate(&self, by: Actor) -> Vec<UserEvent> {
        if self.suspension.is_none() {
            return vec![];
        }
        vec![UserEvent::Reinstated(Reinstated { by })]
    }

    pub(super) fn deactivate(&self) -> Decision {
        if self.deactivated {
            return Ok(vec![]);
        }
        if self.system_roles.contains(&SystemRole::Owner) {
            return Err(Refused::IsOwner);
        }
        Ok(vec![UserEvent::Deactivated(Deactivated {})])
    }

    pub(super) fn reactivate(&self) -> Vec<UserEvent> {
        if self.deactivated {
            vec![UserEvent::Reactivated(Reactivated {})]
        } else {
            vec![]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given, moment};
    use crate::user::testing::registered;
    use crate::user::{Command, SystemRoleChanged, User};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(std::iter::once(registered(ALICE)).chain(history))
    }

    fn suspend(by: Actor, until: Option<DateTime<Utc>>) -> Command {
        Command::Suspend(Suspend {
            user: ALICE,
            by,
            until,
            why: Reason::parse("spam").ok(),
        })
    }

    fn suspended(until: Option<DateTime<Utc>>) -> UserEvent {
        UserEvent::Suspended(Suspended {
            by: Actor::User(BOB),
            until,
            why: Reason::parse("spam")
                .ok()
                .map(|why| Personal::new(ALICE, why)),
        })
    }

    fn reinstated() -> UserEvent {
        UserEvent::Reinstated(Reinstated {
            by: Actor::User(BOB),
        })
    }

    fn owner() -> UserEvent {
        UserEvent::SystemRoleGranted(SystemRoleChanged {
            role: SystemRole::Owner,
        })
    }

    fn standing(history: impl IntoIterator<Item = UserEvent>, seconds: i64) -> Standing {
        let account = given(history).state.account.expect("an account");
        account.standing(moment(seconds))
    }

    #[test]
    fn a_suspension_lasts_until_it_ends_or_is_ended() {
        let by = Actor::User(BOB);
        given([]).when(suspend(by, None)).then([suspended(None)]);
        given([suspended(None)]).when(suspend(by, None)).then([]);
        let until = Some(moment(60));
        given([suspended(None)])
            .when(suspend(by, until))
            .then([suspended(until)]);
        assert_eq!(
            standing([suspended(until)], 59),
            Standing::Suspended { until }
        );
        assert_eq!(standing([suspended(until)], 60), Standing::Active);
        let never = Standing::Suspended { until: None };
        assert_eq!(standing([suspended(None)], i64::from(u32::MAX)), never);
        assert_eq!(
            standing([suspended(None), reinstated()], 0),
            Standing::Active
        );
        let reinstate = Command::Reinstate { by };
        given([suspended(None)])
            .when(reinstate.clone())
            .then([reinstated()]);
        given([]).when(reinstate).then([]);
    }

    #[test]
    fn nobody_suspends_themselves_or_an_owner() {
        given([])
            .when(suspend(Actor::User(ALICE), None))
            .then_refused(Refused::SuspendsOneself);
        for by in [Actor::User(BOB), Actor::Operator] {
            given([owner()])
                .when(suspend(by, None))
                .then_refused(Refused::IsOwner);
        }
    }

    #[test]
    fn who_deactivates_may_come_back_but_an_owner_stays() {
        let gone = || UserEvent::Deactivated(Deactivated {});
        let back = || UserEvent::Reactivated(Reactivated {});
        given([]).when(Command::Deactivate).then([gone()]);
        given([gone()]).when(Command::Deactivate).then([]);
        given([gone()]).when(Command::Reactivate).then([back()]);
        given([]).when(Command::Reactivate).then([]);
        given([owner()])
            .when(Command::Deactivate)
            .then_refused(Refused::IsOwner);
        assert_eq!(standing([gone()], 0), Standing::Deactivated);
        assert_eq!(standing([gone(), back()], 0), Standing::Active);
    }

    #[test]
    fn coming_back_ends_no_suspension() {
        let gone = UserEvent::Deactivated(Deactivated {});
        let back = UserEvent::Reactivated(Reactivated {});
        let until = Some(moment(60));
        let suspension = Standing::Suspended { until };
        assert_eq!(standing([gone.clone(), suspended(until)], 0), suspension);
        assert_eq!(
            standing([gone.clone(), suspended(until)], 60),
            Standing::Deactivated
        );
        assert_eq!(standing([gone, suspended(until), back], 0), suspension);
    }
}
