//! The rules of refresh tokens: each is exchanged once for the next, and who comes with one that was
//! exchanged before ends the session.
//!
//! A client may lose the answer and ask again with the token it has. So for a while the last token is
//! taken once more, as long as the one after it was not used, and gets the same answer. A thief gains
//! nothing by that: whichever of the two comes second with a token of then, ends the session.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::personal::Personal;
use crate::session::decide::Refused;
use crate::session::event::{Refreshed, Revoked, RevokedBecause, SessionEvent};

/// How long the last token is taken once more, for a client that did not get the answer.
pub const RETRIED_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// Refreshes that are stored of one session within [`REFRESHES_STORED_WITHIN`]: enough for access tokens
/// of one minute that are exchanged at half their life. Who refreshes more often is let in all the same,
/// but keeps the refresh token they have, and nothing is stored.
pub const REFRESHES_STORED_MAX: u32 = 30;

/// See [`REFRESHES_STORED_MAX`].
pub const REFRESHES_STORED_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// Somebody came with a refresh token of this session. That we made it is known when this is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Number of the token.
    pub generation: u32,
    /// Its SHA-256, in hex.
    pub refresh_hash: String,
    /// The same of the token of the next number.
    pub next_hash: String,
    /// When it came.
    pub at: DateTime<Utc>,
    /// What the client calls its device, where it said so.
    pub device: Option<Personal<String>>,
    /// Where the client is.
    pub address: Option<Personal<String>>,
}

/// What is known of a session's refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefreshState {
    /// Number of the newest.
    pub generation: u32,
    /// Its SHA-256, in hex.
    refresh_hash: String,
    /// What was exchanged for it; none for that of the login.
    exchanged: Option<Exchanged>,
}

/// The token before the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct Exchanged {
    refresh_hash: String,
    /// When.
    at: DateTime<Utc>,
    /// Since when refreshes are counted.
    counted_since: DateTime<Utc>,
    /// How many were stored since then.
    count: u32,
}

impl RefreshState {
    /// After a login whose first token has the hash `refresh_hash`.
    pub(super) fn opened(refresh_hash: &str) -> Self {
        Self {
            generation: 0,
            refresh_hash: refresh_hash.to_owned(),
            exchanged: None,
        }
    }

    /// After `refreshed`.
    pub(super) fn refreshed(self, refreshed: &Refreshed) -> Self {
        let at = refreshed.at;
        let (counted_since, count) = match self.exchanged {
            Some(last) if at - last.counted_since < REFRESHES_STORED_WITHIN => {
                (last.counted_since, last.count + 1)
            }
            Some(_) | None => (at, 1),
        };
        Self {
            generation: refreshed.generation,
            refresh_hash: refreshed.refresh_hash.clone(),
            exchanged: Some(Exchanged {
                refresh_hash: self.refresh_hash,
                at,
                counted_since,
                count,
            }),
        }
    }

    /// What comes of `refresh`.
    pub(super) fn decide(&self, refresh: &Refresh) -> Result<Vec<SessionEvent>, Refused> {
        match refresh.generation.cmp(&self.generation) {
            Ordering::Equal if refresh.refresh_hash == self.refresh_hash => {
                Ok(self.exchange(refresh))
            }
            // A number that was not given out yet is of a log that is no longer there.
            Ordering::Equal | Ordering::Greater => Err(Refused::RefreshInvalid),
            Ordering::Less if self.is_retry(refresh) => Ok(vec![]),
            Ordering::Less => {
                let because = RevokedBecause::RefreshReused;
                Ok(vec![SessionEvent::Revoked(Revoked { because })])
            }
        }
    }

    /// Gives the next token out, unless that happens too often.
    fn exchange(&self, refresh: &Refresh) -> Vec<SessionEvent> {
        if self.is_often(refresh.at) {
            return vec![];
        }
        vec![SessionEvent::Refreshed(Refreshed {
            generation: self.generation.saturating_add(1),
            refresh_hash: refresh.next_hash.clone(),
            at: refresh.at,
            device: refresh.device.clone(),
            address: refresh.address.clone(),
        })]
    }

    /// Whether as many refreshes as may be were stored a short while before `at`.
    fn is_often(&self, at: DateTime<Utc>) -> bool {
        self.exchanged.as_ref().is_some_and(|last| {
            last.count >= REFRESHES_STORED_MAX && at - last.counted_since < REFRESHES_STORED_WITHIN
        })
    }

    /// Whether it is the last token again, soon enough. That the newest was not used is certain, as it
    /// would not be the newest; but for one that came too often to be stored.
    fn is_retry(&self, refresh: &Refresh) -> bool {
        self.exchanged.as_ref().is_some_and(|last| {
            refresh.generation.checked_add(1) == Some(self.generation)
                && refresh.refresh_hash == last.refresh_hash
                && refresh.at - last.at <= RETRIED_WITHIN
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::{Command, Opened, Session, State};
    use crate::testing::{ALICE, Given, moment};

    /// The session ends this long after it begins.
    const LIFETIME_S: i64 = 100_000;

    fn hash(generation: u32) -> String {
        format!("hash {generation}")
    }

    fn opened() -> SessionEvent {
        SessionEvent::Opened(Opened {
            user: ALICE,
            expires_at: moment(LIFETIME_S),
            device: None,
            address: None,
            refresh_hash: Some(hash(0)),
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        })
    }

    fn refreshed(generation: u32, at_s: i64) -> SessionEvent {
        SessionEvent::Refreshed(Refreshed {
            generation,
            refresh_hash: hash(generation),
            at: moment(at_s),
            device: None,
            address: Some(Personal::new(ALICE, "192.0.2.1".to_owned())),
        })
    }

    fn reused() -> SessionEvent {
        let because = RevokedBecause::RefreshReused;
        SessionEvent::Revoked(Revoked { because })
    }

    fn refresh(generation: u32, at_s: i64) -> Command {
        Command::Refresh(Refresh {
            generation,
            refresh_hash: hash(generation),
            next_hash: hash(generation + 1),
            at: moment(at_s),
            device: None,
            address: Some(Personal::new(ALICE, "192.0.2.1".to_owned())),
        })
    }

    fn given(history: impl IntoIterator<Item = SessionEvent>) -> Given<Session> {
        Given::history(history)
    }

    #[test]
    fn the_newest_token_is_exchanged_for_the_next() {
        given([opened()])
            .when(refresh(0, 10))
            .then([refreshed(1, 10)]);
        given([opened(), refreshed(1, 10)])
            .when(refresh(1, 20))
            .then([refreshed(2, 20)]);
    }

    #[test]
    fn who_lost_the_answer_may_ask_again_for_a_while() {
        for at_s in [10, 69, 70] {
            given([opened(), refreshed(1, 10)])
                .when(refresh(0, at_s))
                .then([]);
        }
    }

    #[test]
    fn a_token_that_was_exchanged_before_ends_the_session() {
        given([opened(), refreshed(1, 10)])
            .when(refresh(0, 71))
            .then([reused()]);
        given([opened(), refreshed(1, 10), refreshed(2, 11)])
            .when(refresh(0, 12))
            .then([reused()]);
    }

    #[test]
    fn once_the_next_was_used_there_is_no_retry() {
        let history = [opened(), refreshed(1, 10), refreshed(2, 11)];
        given(history.clone()).when(refresh(1, 12)).then([]);
        given(history).when(refresh(0, 12)).then([reused()]);
    }

    #[test]
    fn what_has_ended_is_refreshed_no_more() {
        given([opened()])
            .when(refresh(0, LIFETIME_S))
            .then_refused(Refused::Ended);
        given([opened(), reused()])
            .when(refresh(0, 10))
            .then_refused(Refused::Ended);
        given([])
            .when(refresh(0, 10))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn a_token_that_the_log_does_not_know_is_none() {
        given([opened()])
            .when(refresh(1, 10))
            .then_refused(Refused::RefreshInvalid);
        let Command::Refresh(mut forged) = refresh(0, 10) else {
            panic!("it is a refresh");
        };
        forged.refresh_hash = hash(7);
        given([opened()])
            .when(Command::Refresh(forged))
            .then_refused(Refused::RefreshInvalid);
        let SessionEvent::Opened(mut old) = opened() else {
            panic!("it is a login");
        };
        old.refresh_hash = None;
        given([SessionEvent::Opened(old)])
            .when(refresh(0, 10))
            .then_refused(Refused::RefreshInvalid);
    }

    #[test]
    fn who_refreshes_too_often_keeps_the_token() {
        let mut given = given([opened()]);
        for generation in 0..REFRESHES_STORED_MAX {
            let made = given.accept(&refresh(generation, 10));
            assert_eq!(made, Ok(vec![refreshed(generation + 1, 10)]));
        }
        let newest = REFRESHES_STORED_MAX;
        let later_s = 10 + REFRESHES_STORED_WITHIN.num_seconds();
        assert_eq!(given.accept(&refresh(newest, later_s - 1)), Ok(vec![]));
        let made = given.accept(&refresh(newest, later_s));
        assert_eq!(made, Ok(vec![refreshed(newest + 1, later_s)]));
    }

    proptest! {
        /// Whoever has a copy of a token, and whenever they use it: after a token was used, one before
        /// it never gets anything but the end of the session.
        #[test]
        fn an_older_token_than_one_that_was_used_gets_nothing(
            tries in prop::collection::vec((0..6_u32, 0..100_i64), 0..40),
        ) {
            let mut given = given([opened()]);
            let (mut used, mut now_s) = (0, 0);
            for (generation, later_s) in tries {
                now_s += later_s;
                let was_open = matches!(given.state, State::Open(_));
                let answer = given.accept(&refresh(generation, now_s));
                let is_open = matches!(given.state, State::Open(_));
                prop_assert!(was_open || !is_open);
                if answer.is_ok() && is_open {
                    prop_assert!(generation >= used, "{generation} after {used}");
                    used = generation;
                }
            }
        }
    }
}
