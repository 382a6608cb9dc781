//! How tests of deciders speak: given what happened, when something is asked, then this happens or
//! it is refused.

pub(crate) mod conversation;
pub(crate) mod space;

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::decider::Decider;
use crate::ids::{UserId, Version};

pub(crate) const ALICE: UserId = UserId(Uuid::from_u128(0xa11ce));
pub(crate) const BOB: UserId = UserId(Uuid::from_u128(0xb0b << 64));
pub(crate) const CAROL: UserId = UserId(Uuid::from_u128(0xca301 << 64));

/// One of many further users.
pub(crate) fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128((1 << 96) + number))
}

/// A moment, in seconds after some other moment.
pub(crate) fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a moment that there is")
}

/// A stream in which something has happened.
pub(crate) struct Given<D: Decider> {
    pub(crate) events: Vec<D::Event>,
    pub(crate) state: D::State,
}

impl<D: Decider> Given<D> {
    pub(crate) fn history(events: impl IntoIterator<Item = D::Event>) -> Self {
        let mut given = Self {
            events: Vec::new(),
            state: D::State::default(),
        };
        given.store(events);
        given
    }

    /// What is asked now.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "tests make the command where they ask"
    )]
    pub(crate) fn when(self, command: D::Command) -> Outcome<D> {
        Outcome {
            decided: D::decide(&self.state, &command),
            given: self,
        }
    }

    /// Asks, and stores what comes of it.
    pub(crate) fn accept(&mut self, command: &D::Command) -> Result<Vec<D::Event>, D::Refusal> {
        let events = D::decide(&self.state, command)?;
        self.store(events.clone());
        Ok(events)
    }

    fn store(&mut self, events: impl IntoIterator<Item = D::Event>) {
        for event in events {
            let version = Version::ZERO.plus(self.events.len() + 1);
            self.state = D::evolve(std::mem::take(&mut self.state), version, &event);
            self.events.push(event);
        }
    }
}

/// What came of what was asked.
#[must_use = "say what should have come of it"]
pub(crate) struct Outcome<D: Decider> {
    given: Given<D>,
    decided: Result<Vec<D::Event>, D::Refusal>,
}

impl<D: Decider<Event: PartialEq, Refusal: PartialEq + Debug>> Outcome<D> {
    /// Exactly this happens. Returns the state after it.
    #[track_caller]
    pub(crate) fn then(mut self, expected: impl IntoIterator<Item = D::Event>) -> D::State {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.decided, Ok(expected.clone()));
        self.given.store(expected);
        self.given.state
    }

    /// So many events happen.
    #[track_caller]
    pub(crate) fn then_some(self, count: usize) {
        assert_eq!(self.decided.map(|events| events.len()), Ok(count));
    }

    /// It is refused, for this reason.
    #[track_caller]
    pub(crate) fn then_refused(self, refusal: D::Refusal) {
        assert_eq!(self.decided, Err(refusal));
    }
}
