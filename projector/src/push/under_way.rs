//! Pushes under way: many at a time, of several messages. They end in any order; what is settled is said
//! in the order in which it was begun, so that one mark is enough.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use domain::{Position, UserId};
use tokio::task::{JoinError, JoinSet};

use super::audience::Sending;
use super::retries::{Trial, Tried};
use super::send::Outcome;

/// Pushes that are under way at the same time, beside those that are tried again. Those of one user more
/// may be begun while there are fewer.
const AT_ONCE_MAX: usize = 512;

/// Of one user so many at the same time: browsers that are slow keep no place that others need.
const OF_USER_MAX: usize = 32;

/// Steps that are begun and not settled.
const STEPS_MAX: usize = 1_024;

/// What is settled when all before it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything in the log up to here.
    Log(Position),
    /// Of this message, users up to this one.
    Part(Position, UserId),
    /// Quiet hours that ended up to this moment.
    Quiet(DateTime<Utc>),
    /// Of those, users up to this one.
    QuietPart(DateTime<Utc>, UserId),
}

/// Pushes that are settled together.
struct Step {
    goal: Goal,
    /// How many of them are under way.
    left: usize,
    /// Whether it goes on record at once.
    is_mark: bool,
}

/// What ended.
pub(super) enum Done {
    /// A push of a step.
    Sent {
        step: u64,
        sending: Box<Sending>,
        outcome: Outcome,
    },
    /// Another try for a browser.
    Tried { trial: Trial, tried: Tried },
}

/// What is under way.
#[derive(Default)]
pub(super) struct UnderWay {
    tasks: JoinSet<Done>,
    /// How many of `tasks` are tries for browsers that failed.
    trials: usize,
    of_users: BTreeMap<UserId, usize>,
    steps: VecDeque<Step>,
    /// How many steps were settled.
    settled: u64,
}

impl UnderWay {
    /// Whether a step more may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.tasks.len().saturating_sub(self.trials) < AT_ONCE_MAX && self.steps.len() < STEPS_MAX
    }

    /// Whether a push more to `user` may be.
    pub(super) fn has_room_for(&self, user: UserId) -> bool {
        self.of_users.get(&user).is_none_or(|it| *it < OF_USER_MAX)
    }

    /// Begins a step, for which pushes are sent until the next is begun; gives its name.
    pub(super) fn begin(&mut self, goal: Goal, is_mark: bool) -> u64 {
        match (self.steps.back_mut(), goal) {
            // Most messages are told to nobody.
            (Some(last), Goal::Log(_))
                if matches!(last.goal, Goal::Log(_)) && last.left == 0 && !is_mark =>
            {
                last.goal = goal;
            }
            (Some(_) | None, _) => self.steps.push_back(Step {
                goal,
                left: 0,
                is_mark,
            }),
        }
        self.settled + self.steps.len() as u64 - 1
    }

    /// Sends a push of `step`, which is the last.
    pub(super) fn send(&mut self, user: UserId, sent: impl Future<Output = Done> + Send + 'static) {
        if let Some(step) = self.steps.back_mut() {
            step.left += 1;
        }
        *self.of_users.entry(user).or_default() += 1;
        self.tasks.spawn(sent);
    }

    /// Tries a browser again.
    pub(super) fn retry(&mut self, tried: impl Future<Output = Done> + Send + 'static) {
        self.trials += 1;
        self.tasks.spawn(tried);
    }

    /// What ends next; `None` where nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Done, JoinError>> {
        self.tasks.join_next().await
    }

    /// Whether anything is.
    pub(super) fn is_any(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// A push of `step` to `user` ended.
    pub(super) fn sent(&mut self, step: u64, user: UserId) {
        let at = step.checked_sub(self.settled);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(step) = at.and_then(|at| self.steps.get_mut(at)) {
            step.left = step.left.saturating_sub(1);
        }
        if let Some(count) = self.of_users.get_mut(&user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_users.remove(&user);
            }
        }
    }

    /// A try ended.
    pub(super) const fn tried(&mut self) {
        self.trials = self.trials.saturating_sub(1);
    }

    /// The next goal that is reached, and whether it goes on record at once.
    pub(super) fn reached(&mut self) -> Option<(Goal, bool)> {
        let step = self.steps.pop_front_if(|step| step.left == 0)?;
        self.settled += 1;
        Some((step.goal, step.is_mark))
    }
}

#[cfg(test)]
mod tests {
    use domain::PushSubscriptionId;
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    /// Something that ends at once.
    fn ends() -> std::future::Ready<Done> {
        std::future::ready(Done::Tried {
            trial: Trial::of(user(1), PushSubscriptionId(Uuid::nil()), Position(1)),
            tried: Tried::Nothing,
        })
    }

    #[tokio::test]
    async fn what_ends_later_holds_back_what_was_begun_after_it() {
        let mut under_way = UnderWay::default();
        let slow = under_way.begin(Goal::Part(Position(1), user(1)), false);
        under_way.send(user(1), ends());
        let mark = under_way.begin(Goal::Log(Position(1)), true);
        let quick = under_way.begin(Goal::Part(Position(2), user(2)), false);
        under_way.send(user(2), ends());
        for position in 2..9 {
            under_way.begin(Goal::Log(Position(position)), false);
        }
        assert_eq!((slow, mark, quick), (0, 1, 2));
        under_way.sent(quick, user(2));
        assert_eq!(under_way.reached(), None);
        under_way.sent(slow, user(1));
        let reached: Vec<_> = std::iter::from_fn(|| under_way.reached()).collect();
        let expected = [
            (Goal::Part(Position(1), user(1)), false),
            (Goal::Log(Position(1)), true),
            (Goal::Part(Position(2), user(2)), false),
            (Goal::Log(Position(8)), false),
        ];
        assert_eq!(reached, expected);
        assert_eq!(under_way.begin(Goal::Log(Position(9)), false), 4);
    }

    #[tokio::test]
    async fn one_user_does_not_take_all_places() {
        let mut under_way = UnderWay::default();
        let step = under_way.begin(Goal::Log(Position(1)), false);
        for _ in 0..OF_USER_MAX {
            assert!(under_way.has_room_for(user(1)));
            under_way.send(user(1), ends());
        }
        assert!(!under_way.has_room_for(user(1)));
        assert!(under_way.has_room() && under_way.has_room_for(user(2)));
        under_way.sent(step, user(1));
        assert!(under_way.has_room_for(user(1)));
    }
}
