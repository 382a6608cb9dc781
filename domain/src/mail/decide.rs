//! The rules of a mail: it is settled once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::Version;
use crate::mail::event::{GivenUp, GivenUpBecause, MailEvent, Sent};

/// Decides for streams `mail-{event id}`.
#[derive(Clone, Copy, Debug)]
pub struct Mail;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Record that it was taken.
    RecordSent(Sent),
    /// Record that nobody tries any more.
    GiveUp(GivenUp),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It came out otherwise before.
    #[error("what became of this mail is settled")]
    Settled,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Settled => "mail_settled",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Settled => RefusalKind::Conflict,
        }
    }
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum State {
    /// It is still to be sent.
    #[default]
    Pending,
    /// It was taken.
    Sent,
    /// Nobody tries any more.
    GivenUp(GivenUpBecause),
}

impl Decider for Mail {
    type State = State;
    type Command = Command;
    type Event = MailEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "mail";

    fn decide(state: &State, command: &Command) -> Result<Vec<MailEvent>, Refused> {
        match (state, command) {
            (State::Pending, Command::RecordSent(sent)) => Ok(vec![MailEvent::Sent(sent.clone())]),
            (State::Pending, Command::GiveUp(given_up)) => {
                Ok(vec![MailEvent::GivenUp(given_up.clone())])
            }
            (State::Sent, Command::RecordSent(_)) => Ok(vec![]),
            (State::GivenUp(why), Command::GiveUp(given_up)) if *why == given_up.why => Ok(vec![]),
            (State::Sent | State::GivenUp(_), Command::RecordSent(_) | Command::GiveUp(_)) => {
                Err(Refused::Settled)
            }
        }
    }

    fn evolve(state: State, _version: Version, event: &MailEvent) -> State {
        match (state, event) {
            (State::Pending, MailEvent::Sent(_)) => State::Sent,
            (State::Pending, MailEvent::GivenUp(given_up)) => State::GivenUp(given_up.why),
            (State::Sent | State::GivenUp(_), MailEvent::Sent(_) | MailEvent::GivenUp(_)) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given};

    fn sent() -> Sent {
        Sent {
            user: ALICE,
            message_id: "1@example.org".to_owned(),
        }
    }

    fn given_up(why: GivenUpBecause) -> GivenUp {
        GivenUp { user: ALICE, why }
    }

    fn given(history: impl IntoIterator<Item = MailEvent>) -> Given<Mail> {
        Given::history(history)
    }

    #[test]
    fn a_mail_is_sent_or_given_up() {
        given([])
            .when(Command::RecordSent(sent()))
            .then([MailEvent::Sent(sent())]);
        let expired = given_up(GivenUpBecause::Expired);
        given([])
            .when(Command::GiveUp(expired.clone()))
            .then([MailEvent::GivenUp(expired)]);
    }

    #[test]
    fn the_same_outcome_again_changes_nothing_and_another_is_refused() {
        let expired = given_up(GivenUpBecause::Expired);
        let was_sent = || given([MailEvent::Sent(sent())]);
        let was_given_up = || given([MailEvent::GivenUp(expired.clone())]);
        was_sent().when(Command::RecordSent(sent())).then([]);
        was_given_up()
            .when(Command::GiveUp(expired.clone()))
            .then([]);
        was_sent()
            .when(Command::GiveUp(expired.clone()))
            .then_refused(Refused::Settled);
        was_given_up()
            .when(Command::RecordSent(sent()))
            .then_refused(Refused::Settled);
        was_given_up()
            .when(Command::GiveUp(given_up(GivenUpBecause::Rejected)))
            .then_refused(Refused::Settled);
    }

    #[test]
    fn the_first_outcome_stays() {
        let both = [
            MailEvent::Sent(sent()),
            MailEvent::GivenUp(given_up(GivenUpBecause::Expired)),
        ];
        assert_eq!(given(both).state, State::Sent);
    }
}
