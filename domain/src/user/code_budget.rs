//! How often codes are issued, so that nobody drowns in mails and nobody guesses at many codes, and a
//! stranger who asks for codes does not keep a user from asking for theirs.
//!
//! For each purpose one network gets [`ISSUED_MAX`] codes in [`ISSUED_WITHIN`]. In [`COUNTED_WITHIN`] all
//! networks together get [`COUNTED_MAX`], and one alone [`STRANGER_MAX`] of them. But the [`KNOWN_MAX`] networks
//! from which a code was asked for last that came back have [`COUNTED_MAX`] each for themselves, so that
//! strangers cannot use them up.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::user::codes::CodePurpose;
use crate::user::event::CodeIssued;

/// Codes for one purpose that are asked for from one network within [`ISSUED_WITHIN`].
pub const ISSUED_MAX: usize = 3;

/// See [`ISSUED_MAX`].
pub const ISSUED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// Codes for one purpose within [`COUNTED_WITHIN`]: of each known network, and of all others together.
pub const COUNTED_MAX: usize = 10;

/// How many of those one network gets that is not known, so that it takes several to use all of them up.
pub const STRANGER_MAX: usize = 5;

/// See [`COUNTED_MAX`].
pub const COUNTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// Networks that are remembered as known; of more, the one from which the longest no code came back is
/// a stranger's again.
pub const KNOWN_MAX: usize = 3;

/// The hash of the network of whoever asks, under the server's key and with the account, in lower-case
/// hex: the same network has another one at another account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct NetworkHash(String);

impl NetworkHash {
    /// The hash `hex`.
    pub const fn new(hex: String) -> Self {
        Self(hex)
    }
}

/// Which codes count. Bounded by what may be issued within [`COUNTED_WITHIN`], and by [`KNOWN_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Budget {
    /// Oldest first.
    issued: Vec<Issue>,
    /// The one that a code came back to last is last.
    known: Vec<NetworkHash>,
}

/// A code that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct Issue {
    purpose: CodePurpose,
    /// `None` where the user asked for it.
    asked_from: Option<NetworkHash>,
    at: DateTime<Utc>,
}

impl Budget {
    /// Whether one more code may be issued.
    pub(super) fn allows(
        &self,
        purpose: CodePurpose,
        asked_from: Option<&NetworkHash>,
        at: DateTime<Utc>,
    ) -> bool {
        let count = |within: TimeDelta, counts: &dyn Fn(Option<&NetworkHash>) -> bool| {
            let issued = self.issued.iter();
            let issued = issued.filter(|issue| issue.purpose == purpose && at - issue.at < within);
            issued
                .filter(|issue| counts(issue.asked_from.as_ref()))
                .count()
        };
        let from_there = |other: Option<&NetworkHash>| other == asked_from;
        let lately = count(ISSUED_WITHIN, &from_there);
        let counted = count(COUNTED_WITHIN, &from_there);
        let in_bounds = if self.is_known(asked_from) {
            counted < COUNTED_MAX
        } else {
            let strangers = count(COUNTED_WITHIN, &|other| !self.is_known(other));
            counted < STRANGER_MAX && strangers < COUNTED_MAX
        };
        in_bounds && lately < ISSUED_MAX
    }

    fn is_known(&self, network: Option<&NetworkHash>) -> bool {
        network.is_some_and(|network| self.known.contains(network))
    }

    pub(super) fn issued(&mut self, issued: &CodeIssued) {
        let at = issued.issued_at;
        self.issued.retain(|issue| at - issue.at < COUNTED_WITHIN);
        self.issued.push(Issue {
            purpose: issued.purpose,
            asked_from: issued.asked_from.clone(),
            at,
        });
    }

    /// A code came back that was asked for from `network`.
    pub(super) fn came_back(&mut self, network: NetworkHash) {
        self.known.retain(|known| *known != network);
        self.known.push(network);
        let superfluous = self.known.len().saturating_sub(KNOWN_MAX);
        self.known.drain(..superfluous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::Personal;
    use crate::testing::{ALICE, moment};
    use crate::user::codes::CodeHash;
    use crate::values::Email;

    const LOG_IN: CodePurpose = CodePurpose::LogIn;

    fn network(name: &str) -> NetworkHash {
        NetworkHash::new(format!("hash of {name}"))
    }

    /// Those of so many codes, asked for from the networks in turn and every `every_s` seconds, that are
    /// issued.
    fn issued(budget: &mut Budget, count: usize, networks: &[&str], every_s: i64) -> usize {
        let turns = networks.iter().cycle().take(count);
        let times = (0..).map(|turn| moment(turn * every_s));
        let asked = turns.zip(times);
        asked
            .filter(|(name, at)| issue(budget, LOG_IN, &network(name), *at))
            .count()
    }

    fn issue(
        budget: &mut Budget,
        purpose: CodePurpose,
        from: &NetworkHash,
        at: DateTime<Utc>,
    ) -> bool {
        let allowed = budget.allows(purpose, Some(from), at);
        if allowed {
            let email = Email::parse("alice@example.org").expect("a good address");
            budget.issued(&CodeIssued {
                purpose,
                email: Personal::new(ALICE, email),
                hash: CodeHash::new("00ff".to_owned()),
                challenge: None,
                asked_from: Some(from.clone()),
                issued_at: at,
                expires_at: at,
            });
        }
        allowed
    }

    #[test]
    fn a_network_gets_a_few_for_each_purpose_and_later_more() {
        let mut budget = Budget::default();
        assert_eq!(issued(&mut budget, 5, &["a"], 1), ISSUED_MAX);
        assert!(!budget.allows(LOG_IN, Some(&network("a")), moment(599)));
        assert!(budget.allows(LOG_IN, Some(&network("a")), moment(600)));
        assert!(budget.allows(LOG_IN, Some(&network("b")), moment(5)));
        let purpose = CodePurpose::ResetPassword;
        assert!(budget.allows(purpose, Some(&network("a")), moment(5)));
        let slowly = issued(&mut Budget::default(), 12, &["a"], 299);
        assert_eq!(slowly, STRANGER_MAX);
    }

    #[test]
    fn all_strangers_share_one_budget() {
        let mut budget = Budget::default();
        let strangers = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(issued(&mut budget, 28, &strangers, 1), COUNTED_MAX);
        assert!(!budget.allows(LOG_IN, Some(&network("h")), moment(3_599)));
        assert!(budget.allows(LOG_IN, Some(&network("h")), moment(3_600)));
    }

    #[test]
    fn strangers_use_up_nothing_of_a_network_that_codes_came_back_to() {
        let mut budget = Budget::default();
        budget.came_back(network("home"));
        let strangers = ["a", "b", "c", "d"];
        assert_eq!(issued(&mut budget, 20, &strangers, 1), COUNTED_MAX);
        for _ in 0..ISSUED_MAX {
            assert!(issue(&mut budget, LOG_IN, &network("home"), moment(20)));
        }
        assert!(!issue(&mut budget, LOG_IN, &network("home"), moment(20)));
        let mut budget = Budget::default();
        budget.came_back(network("home"));
        assert_eq!(issued(&mut budget, 12, &["home"], 299), COUNTED_MAX);
        assert!(budget.allows(LOG_IN, Some(&network("a")), moment(3_300)));
    }

    #[test]
    fn the_networks_of_last_are_known_and_what_is_past_is_forgotten() {
        let mut budget = Budget::default();
        for name in ["a", "b", "a", "c", "d"] {
            budget.came_back(network(name));
        }
        assert_eq!(budget.known, ["a", "c", "d"].map(network));
        assert_eq!(issued(&mut budget, 100, &["a", "e"], 600), 100);
        assert_eq!(budget.issued.len(), 6);
    }
}
