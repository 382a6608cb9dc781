//! As what a user chose to be shown. Whether they are there is no fact of the log: their connections
//! say so, and this says what becomes of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::user::decide::{Account, Decision};
use crate::user::event::{PresenceChosen, UserEvent};
use crate::user::refused::Refused;

/// As what a user who is there is shown.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// As their devices say.
    #[default]
    Automatic,
    /// As away, whatever their devices say.
    Away,
    /// As not there.
    Invisible,
}

/// What a user chose, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresenceChoice {
    /// As what they are shown.
    pub shown: Shown,
    /// From this moment on [`Shown::Automatic`] holds again.
    pub until: Option<DateTime<Utc>>,
}

impl PresenceChoice {
    /// What holds at the moment `now`.
    pub fn at(self, now: DateTime<Utc>) -> Shown {
        if self.until.is_some_and(|until| until <= now) {
            Shown::Automatic
        } else {
            self.shown
        }
    }
}

impl Account {
    pub(super) fn choose_presence(&self, choice: PresenceChoice, now: DateTime<Utc>) -> Decision {
        if choice.until.is_some_and(|until| until <= now) {
            return Err(Refused::EndsInThePast);
        }
        // There is nothing that it would come back to.
        let choice = match choice.shown {
            Shown::Automatic => PresenceChoice::default(),
            Shown::Away | Shown::Invisible => choice,
        };
        if self.presence == choice {
            return Ok(vec![]);
        }
        let PresenceChoice { shown, until } = choice;
        Ok(vec![UserEvent::PresenceChosen(PresenceChosen {
            shown,
            until,
        })])
    }
}

impl From<PresenceChosen> for PresenceChoice {
    fn from(chosen: PresenceChosen) -> Self {
        let PresenceChosen { shown, until } = chosen;
        Self { shown, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given, moment};
    use crate::user::testing::registered;
    use crate::user::{Command, User};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(std::iter::once(registered(ALICE)).chain(history))
    }

    fn ask(shown: Shown, until: Option<DateTime<Utc>>) -> Command {
        Command::ChoosePresence {
            choice: PresenceChoice { shown, until },
            now: moment(0),
        }
    }

    fn chosen(shown: Shown, until: Option<DateTime<Utc>>) -> UserEvent {
        UserEvent::PresenceChosen(PresenceChosen { shown, until })
    }

    #[test]
    fn what_is_chosen_holds_until_its_end() {
        let state = given([])
            .when(ask(Shown::Away, Some(moment(60))))
            .then([chosen(Shown::Away, Some(moment(60)))]);
        let choice = state.account.expect("an account").presence;
        assert_eq!(choice.at(moment(59)), Shown::Away);
        assert_eq!(choice.at(moment(60)), Shown::Automatic);
    }

    #[test]
    fn the_same_again_is_not_stored_and_automatic_has_no_end() {
        given([])
            .when(ask(Shown::Automatic, Some(moment(60))))
            .then([]);
        let invisible = || given([chosen(Shown::Invisible, None)]);
        invisible().when(ask(Shown::Invisible, None)).then([]);
        invisible()
            .when(ask(Shown::Invisible, Some(moment(60))))
            .then([chosen(Shown::Invisible, Some(moment(60)))]);
        invisible()
            .when(ask(Shown::Automatic, Some(moment(60))))
            .then([chosen(Shown::Automatic, None)]);
    }

    #[test]
    fn what_has_ended_cannot_be_chosen() {
        for shown in [Shown::Away, Shown::Automatic] {
            given([])
                .when(ask(shown, Some(moment(0))))
                .then_refused(Refused::EndsInThePast);
        }
    }
}
