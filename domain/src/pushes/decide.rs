//! The rules of pushing: it only goes forward, and few pushes wait.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::Version;
use crate::pushes::event::{Progress, PushesEvent, RetriesChanged, Settled, Waiting};

/// Decides for the streams `pushes-sent` and `pushes-waiting`.
#[derive(Clone, Copy, Debug)]
pub struct Pushes;

impl Pushes {
    /// The most browsers for which a push is to be tried again.
    pub const WAITING_MAX: usize = 500;
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Record how far it is.
    Settle(Settled),
    /// Record what is to be tried again.
    ChangeRetries(Vec<Waiting>),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is further already.
    #[error("pushing is further already")]
    Behind,
    /// They are too many.
    #[error("at most 500 pushes wait")]
    TooMany,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Behind => "pushes_behind",
            Self::TooMany => "too_many_push_retries",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Behind | Self::TooMany => RefusalKind::Conflict,
        }
    }
}

/// What the last event of a stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// How far pushing is.
    pub progress: Option<Progress>,
    /// What is to be tried again; at most 500.
    pub waiting: Vec<Waiting>,
}

impl Decider for Pushes {
    type State = State;
    type Command = Command;
    type Event = PushesEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "pushes";

    fn decide(state: &State, command: &Command) -> Result<Vec<PushesEvent>, Refused> {
        match command {
            Command::Settle(settled) => {
                let is_behind = |there: Progress| {
                    let (up_to, quiet) = (settled.progress.up_to, settled.progress.quiet_until);
                    up_to < there.up_to || quiet < there.quiet_until
                };
                if state.progress.is_some_and(is_behind) {
                    return Err(Refused::Behind);
                }
                if state.progress == Some(settled.progress) {
                    return Ok(vec![]);
                }
                Ok(vec![PushesEvent::Settled(settled.clone())])
            }
            Command::ChangeRetries(waiting) => {
                if waiting.len() > Self::WAITING_MAX {
                    return Err(Refused::TooMany);
                }
                if state.waiting == *waiting {
                    return Ok(vec![]);
                }
                let waiting = waiting.clone();
                Ok(vec![PushesEvent::RetriesChanged(RetriesChanged {
                    waiting,
                })])
            }
        }
    }

    fn evolve(mut state: State, _version: Version, event: &PushesEvent) -> State {
        match event {
            PushesEvent::Settled(settled) => state.progress = Some(settled.progress),
            PushesEvent::RetriesChanged(changed) => state.waiting.clone_from(&changed.waiting),
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{Position, PushSubscriptionId};
    use crate::testing::{ALICE, Given, moment};

    fn settled(up_to: u64, quiet_s: i64) -> Settled {
        let progress = Progress {
            up_to: Position(up_to),
            part: None,
            quiet_until: moment(quiet_s),
            quiet_part: None,
        };
        Settled { progress, sent: 1 }
    }

    fn waiting(number: u128) -> Waiting {
        Waiting {
            user: ALICE,
            subscription: PushSubscriptionId(Uuid::from_u128(number)),
            failing_since: moment(0),
            untold: None,
        }
    }

    #[test]
    fn pushing_goes_forward() {
        let given = || Given::<Pushes>::history([PushesEvent::Settled(settled(5, 5))]);
        for (up_to, quiet) in [(6, 5), (5, 6)] {
            let further = settled(up_to, quiet);
            given()
                .when(Command::Settle(further.clone()))
                .then([PushesEvent::Settled(further)]);
        }
        given().when(Command::Settle(settled(5, 5))).then([]);
        for (up_to, quiet) in [(4, 9), (9, 4)] {
            given()
                .when(Command::Settle(settled(up_to, quiet)))
                .then_refused(Refused::Behind);
        }
    }

    #[test]
    fn few_pushes_wait() {
        let given = || Given::<Pushes>::history([]);
        given().when(Command::ChangeRetries(vec![])).then([]);
        let one = vec![waiting(1)];
        given()
            .when(Command::ChangeRetries(one.clone()))
            .then([PushesEvent::RetriesChanged(RetriesChanged { waiting: one })]);
        let many = (0..=Pushes::WAITING_MAX as u128).map(waiting).collect();
        given()
            .when(Command::ChangeRetries(many))
            .then_refused(Refused::TooMany);
    }
}
