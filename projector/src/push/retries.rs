//! Browsers whose push service did not take a push. They are told nothing until it takes one again, and
//! then what was missed. Those that took nothing for days are removed, whatever there was to tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::notifications::RemovedBecause;
use domain::pushes::{Command, Pushes, Untold, Waiting};
use domain::{Position, PushSubscriptionId, StreamName, UserId};
use infra::event_store::{AppendError, EventStore};
use infra::failure::Failure;
use infra::read_models::messages::unseen::Window;
use infra::read_models::notifications::{UserSettings, settings, subscriptions};
use infra::read_models::{ReadError, Snapshot, WAIT_MAX, wait_for};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audience::Sending;
use super::payload::Payload;
use super::send::Outcome;
use super::under_way::Done;
use super::{Mind, Pushing, PushingParts};
use crate::missed::{MODELS, Of, missed};
use crate::record::Loaded;

/// Whose push service took nothing for so long gets no more pushes.
const FAILING_MAX: chrono::TimeDelta = chrono::TimeDelta::days(3);

/// The wait before the first retry; it doubles with each.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// No wait is longer, whatever the push service says.
const AGAIN_AFTER_MAX: Duration = Duration::from_hours(1);

/// Browsers that are tried again at the same time.
const AT_ONCE_MAX: usize = 64;

/// Of one user so many.
const OF_USER_AT_ONCE_MAX: usize = 4;

/// Browsers of one user that are kept to be tried again.
const OF_USER_MAX: usize = 5;

/// What is to be tried again, in mind and on record.
pub(super) struct Retries {
    recorded: Loaded<Pushes>,
    failing: BTreeMap<PushSubscriptionId, Failing>,
}

struct Failing {
    waiting: Waiting,
    failures: u32,
    due: Instant,
    is_under_way: bool,
    /// The last of what it was not told because it waits.
    skipped: Position,
}

impl Failing {
    fn of(waiting: Waiting) -> Self {
        Self {
            waiting,
            failures: 0,
            due: Instant::now(),
            is_under_way: false,
            skipped: Position::ZERO,
        }
    }

    /// Waits longer than before.
    fn put_off(&mut self, after: Option<Duration>) {
        let doubled = AGAIN_AFTER.saturating_mul(1 << self.failures.min(16));
        let wait = doubled.max(after.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.due = Instant::now() + wait.min(AGAIN_AFTER_MAX);
    }

    /// Its push service takes pushes.
    fn works(&mut self, now: DateTime<Utc>) {
        self.waiting.failing_since = now;
        self.failures = 0;
        self.due = Instant::now();
    }
}

/// A try for a browser.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    user: UserId,
    subscription: PushSubscriptionId,
    failing_since: DateTime<Utc>,
    untold: Untold,
    /// Up to where it says what was missed.
    up_to: Position,
}

#[cfg(test)]
impl Trial {
    pub(super) const fn of(
        user: UserId,
        subscription: PushSubscriptionId,
        up_to: Position,
    ) -> Self {
        Self {
            user,
            subscription,
            failing_since: DateTime::UNIX_EPOCH,
            untold: Untold {
                since: DateTime::UNIX_EPOCH,
                after: Position::ZERO,
            },
            up_to,
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// All was seen meanwhile.
    Nothing,
    /// It wants to be left alone until then.
    Quiet(DateTime<Utc>),
    /// This became of the push.
    Sent(Outcome),
}

impl Retries {
    /// As they are on record; all are due.
    pub(super) async fn load(store: &dyn EventStore) -> Result<Self, Failure> {
        let recorded = Loaded::<Pushes>::last(store, &StreamName::pushes_waiting()).await?;
        let waiting = recorded.state.waiting.iter();
        let failing = waiting.map(|waiting| (waiting.subscription, Failing::of(*waiting)));
        Ok(Self {
            failing: failing.collect(),
            recorded,
        })
    }

    /// Whether the browser is told nothing for now; then it is told of this when it takes pushes again.
    pub(super) fn skips(&mut self, sending: &Sending) -> bool {
        let failing = self.failing.get_mut(&sending.subscription.id);
        let Some(failing) = failing.filter(|it| it.waiting.untold.is_some()) else {
            return false;
        };
        failing.skipped = failing.skipped.max(sending.up_to);
        true
    }

    /// A push was not taken, or is put off. Where too many wait another gives way.
    pub(super) fn failed(
        &mut self,
        sending: &Sending,
        after: Option<Duration>,
        now: DateTime<Utc>,
    ) {
        let (user, subscription) = (sending.subscription.user_id, sending.subscription.id);
        if !self.failing.contains_key(&subscription) && !self.make_room(user) {
            metrics::counter!("verbatim_pushes_dropped_total").increment(1);
            return;
        }
        let failing = self.failing.entry(subscription).or_insert_with(|| {
            Failing::of(Waiting {
                user,
                subscription,
                failing_since: now,
                untold: None,
            })
        });
        let untold = &mut failing.waiting.untold;
        *untold = Some(untold.map_or(sending.untold, |there| Untold {
            since: there.since.min(sending.untold.since),
            after: there.after.min(sending.untold.after),
        }));
        failing.skipped = failing.skipped.max(sending.up_to);
        failing.put_off(after);
    }

    /// Makes room for a browser of `user`, unless they have too many: the one gives way that has nothing
    /// to be told, or else has failed for longest.
    fn make_room(&mut self, user: UserId) -> bool {
        let theirs = self.failing.values().filter(|it| it.waiting.user == user);
        if theirs.count() >= OF_USER_MAX {
            return false;
        }
        if self.failing.len() >= Pushes::WAITING_MAX {
            let worth = |it: &&Waiting| (it.untold.is_some(), it.failing_since);
            let all = self.failing.values().map(|it| &it.waiting);
            if let Some(Waiting {
                subscription,
                untold,
                ..
            }) = all.min_by_key(worth).copied()
            {
                self.failing.remove(&subscription);
                if untold.is_some() {
                    metrics::counter!("verbatim_pushes_dropped_total").increment(1);
                }
            }
        }
        true
    }

    /// A push was taken that told of one thing.
    pub(super) fn taken(&mut self, subscription: PushSubscriptionId, now: DateTime<Utc>) {
        let Some(failing) = self.failing.get_mut(&subscription) else {
            return;
        };
        if failing.waiting.untold.is_some() {
            failing.works(now);
        } else {
            self.failing.remove(&subscription);
        }
    }

    /// Ends `trial`.
    fn tried(&mut self, trial: &Trial, tried: Tried, now: DateTime<Utc>) {
        let Some(failing) = self.failing.get_mut(&trial.subscription) else {
            return;
        };
        failing.is_under_way = false;
        let is_over = match tried {
            Tried::Sent(Outcome::Over) => true,
            Tried::Sent(Outcome::Later { after }) => {
                failing.put_off(after);
                false
            }
            Tried::Quiet(end) => {
                let wait = (end - now).to_std().unwrap_or_default();
                failing.due = Instant::now() + wait.min(AGAIN_AFTER_MAX);
                false
            }
            Tried::Nothing | Tried::Sent(Outcome::Taken) => {
                // What it was not told since is still to be told.
                let is_more = failing.skipped > trial.up_to;
                failing.waiting.untold = is_more.then_some(Untold {
                    since: trial.untold.since,
                    after: trial.up_to,
                });
                let is_taken = tried != Tried::Nothing;
                if is_taken {
                    failing.works(now);
                }
                is_taken && !is_more
            }
        };
        if is_over {
            self.failing.remove(&trial.subscription);
        }
    }

    /// Some of those that are due, the longest first, where there is something to be told up to `up_to`.
    /// They are under way from now on.
    fn due(&mut self, up_to: Position) -> Vec<Trial> {
        let now = Instant::now();
        let mut of_users: BTreeMap<UserId, usize> = BTreeMap::new();
        let mut free = AT_ONCE_MAX;
        for failing in self.failing.values().filter(|it| it.is_under_way) {
            *of_users.entry(failing.waiting.user).or_default() += 1;
            free = free.saturating_sub(1);
        }
        let mut due: Vec<(&mut Failing, Untold)> = Vec::new();
        for failing in self.failing.values_mut() {
            let untold = failing.waiting.untold;
            if let Some(untold) = untold.filter(|untold| untold.after < up_to)
                && failing.due <= now
                && !failing.is_under_way
            {
                due.push((failing, untold));
            }
        }
        due.sort_by_key(|(failing, _)| failing.due);
        let mut trials = Vec::new();
        for (failing, untold) in due {
            let Waiting {
                user,
                subscription,
                failing_since,
                ..
            } = failing.waiting;
            let of_user = of_users.entry(user).or_default();
            if trials.len() >= free || *of_user >= OF_USER_AT_ONCE_MAX {
                continue;
            }
            *of_user += 1;
            failing.is_under_way = true;
            trials.push(Trial {
                user,
                subscription,
                failing_since,
                untold,
                up_to,
            });
        }
        trials
    }

    /// Puts them on record, where they are others than before.
    pub(super) async fn record(&mut self, store: &dyn EventStore) -> Result<(), AppendError> {
        measure(self.failing.len());
        let waiting: Vec<Waiting> = self.failing.values().map(|it| it.waiting).collect();
        let stream = StreamName::pushes_waiting();
        let command = Command::ChangeRetries(waiting);
        self.recorded.ask(store, &stream, &command).await
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn measure(failing: usize) {
    metrics::gauge!("verbatim_push_subscriptions_failing").set(failing as f64);
}

impl Pushing {
    /// Begins to try those again that are due.
    pub(super) fn try_again(&self, mind: &mut Mind, stop: &CancellationToken) {
        for trial in mind.retries.due(mind.decided) {
            let (parts, stop) = (Arc::clone(&self.0), stop.clone());
            mind.under_way.retry(async move {
                let tried = parts.try_one(trial, &stop).await.unwrap_or_else(|failure| {
                    tracing::warn!(%failure, "a push waits, as our own data cannot be read");
                    Tried::Sent(Outcome::Later { after: None })
                });
                Done::Tried { trial, tried }
            });
        }
    }

    /// Ends a try.
    pub(super) fn tried(&self, mind: &mut Mind, trial: &Trial, tried: Tried) {
        mind.under_way.tried();
        if tried == Tried::Sent(Outcome::Taken) {
            mind.recorder.sent();
        }
        mind.retries.tried(trial, tried, self.0.clock.now());
        mind.is_record_due = true;
    }
}

impl PushingParts {
    async fn try_one(&self, trial: Trial, stop: &CancellationToken) -> Result<Tried, Failure> {
        let sending = match self.missed_by(trial).await.map_err(super::unread)? {
            Ok(sending) => sending,
            Err(tried) => return Ok(tried),
        };
        let outcome = self.send(&sending, stop).await;
        let is_too_long = trial.failing_since + FAILING_MAX <= self.clock.now();
        if matches!(outcome, Outcome::Later { .. }) && is_too_long && !stop.is_cancelled() {
            self.remove(&sending.subscription, RemovedBecause::Failing)
                .await?;
            return Ok(Tried::Sent(Outcome::Over));
        }
        Ok(Tried::Sent(outcome))
    }

    /// What the browser is told; else what becomes of it.
    async fn missed_by(&self, trial: Trial) -> Result<Result<Sending, Tried>, ReadError> {
        wait_for(&self.database, &MODELS, trial.up_to, WAIT_MAX).await?;
        let mut snapshot = Snapshot::of(&self.database, &MODELS).await?;
        let snapshot = &mut snapshot;
        let found = subscriptions(snapshot, &[trial.user]).await?;
        let found = found.into_iter().find(|it| it.id == trial.subscription);
        let Some(subscription) = found else {
            return Ok(Err(Tried::Sent(Outcome::Over)));
        };
        let now = self.clock.now();
        let set = settings(snapshot, &[trial.user]).await?;
        let set = set.get(&trial.user).map(UserSettings::settings);
        let set = set.unwrap_or_default();
        let quiet = set.quiet_hours.as_ref();
        if let Some(end) = quiet.and_then(|hours| hours.end_at(now)) {
            return Ok(Err(Tried::Quiet(end)));
        }
        let window = Window {
            since: trial.untold.since,
            after: trial.untold.after,
            up_to: trial.up_to,
        };
        let missed = missed(snapshot, trial.user, &set, window, now, Of::Rules).await?;
        if missed.messages() == 0 {
            return Ok(Err(Tried::Nothing));
        }
        Ok(Ok(Sending {
            name: format!("missed {}", trial.untold.after.0),
            payload: Payload::missed(&missed),
            subscription,
            untold: trial.untold,
            up_to: trial.up_to,
        }))
    }
}

#[cfg(test)]
mod tests {
    use domain::{SessionId, Version};
    use uuid::Uuid;

    use super::*;
    use infra::read_models::notifications::PushSubscription;

    fn none() -> Retries {
        Retries {
            recorded: Loaded {
                state: domain::pushes::State::default(),
                version: Version::ZERO,
            },
            failing: BTreeMap::new(),
        }
    }

    fn sending(of: u128, browser: u128, position: u64) -> Sending {
        let user_id = UserId(Uuid::from_u128(of));
        Sending {
            subscription: PushSubscription {
                user_id,
                id: PushSubscriptionId(Uuid::from_u128(browser)),
                target: String::new(),
                session: SessionId(Uuid::nil()),
                added_at: DateTime::UNIX_EPOCH,
            },
            name: String::new(),
            payload: Payload::Missed {
                messages: 1,
                conversations: 1,
            },
            untold: Untold {
                since: DateTime::UNIX_EPOCH,
                after: Position(position - 1),
            },
            up_to: Position(position),
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    const LATER: Tried = Tried::Sent(Outcome::Later { after: None });
    const TAKEN: Tried = Tried::Sent(Outcome::Taken);

    #[tokio::test(start_paused = true)]
    async fn one_push_that_failed_is_told_though_nothing_comes_after_it() {
        let mut retries = none();
        let one = sending(1, 1, 7);
        retries.failed(&one, None, now());
        assert!(retries.due(Position(7)).is_empty(), "it waits");
        tokio::time::advance(AGAIN_AFTER).await;
        assert!(retries.due(Position(6)).is_empty(), "it is not decided");
        let trials = retries.due(Position(7));
        assert_eq!(trials.len(), 1);
        assert_eq!(trials[0].untold.after, Position(6));
        assert!(retries.due(Position(7)).is_empty(), "it is under way");
        retries.tried(&trials[0], LATER, now());
        tokio::time::advance(AGAIN_AFTER_MAX).await;
        let trials = retries.due(Position(7));
        retries.tried(&trials[0], TAKEN, now());
        assert!(retries.failing.is_empty());
        assert!(!retries.skips(&sending(1, 1, 8)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_browser_is_tried_is_told_after_that() {
        let mut retries = none();
        retries.failed(&sending(1, 1, 7), None, now());
        tokio::time::advance(AGAIN_AFTER).await;
        let trials = retries.due(Position(7));
        assert!(retries.skips(&sending(1, 1, 9)));
        retries.tried(&trials[0], TAKEN, now());
        let trials = retries.due(Position(9));
        assert_eq!(trials[0].untold.after, Position(7));
        retries.tried(&trials[0], TAKEN, now());
        assert!(retries.failing.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_hours_put_a_browser_off_and_only_a_push_that_is_taken_ends_its_failing() {
        let mut retries = none();
        let hour = now() + chrono::TimeDelta::hours(1);
        retries.failed(&sending(1, 1, 7), None, now());
        tokio::time::advance(AGAIN_AFTER).await;
        let trials = retries.due(Position(7));
        retries.tried(&trials[0], Tried::Quiet(hour), now());
        assert!(retries.due(Position(7)).is_empty());
        tokio::time::advance(AGAIN_AFTER_MAX).await;
        let trials = retries.due(Position(7));
        assert_eq!(trials[0].untold.after, Position(6));
        // It was seen elsewhere.
        retries.tried(&trials[0], Tried::Nothing, hour);
        assert!(!retries.skips(&sending(1, 1, 8)), "it is told again");
        retries.failed(&sending(1, 1, 8), None, hour);
        tokio::time::advance(AGAIN_AFTER_MAX).await;
        assert_eq!(retries.due(Position(8))[0].failing_since, now());
        retries.taken(PushSubscriptionId(Uuid::from_u128(1)), hour);
        let failing = retries.failing.values().next();
        assert_eq!(failing.map(|it| it.waiting.failing_since), Some(hour));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_the_places_of_others() {
        let mut retries = none();
        for browser in 0..20 {
            retries.failed(&sending(1, browser, 7), None, now());
        }
        assert_eq!(retries.failing.len(), OF_USER_MAX);
        tokio::time::advance(AGAIN_AFTER).await;
        assert_eq!(retries.due(Position(7)).len(), OF_USER_AT_ONCE_MAX);
        let later = now() + chrono::TimeDelta::hours(1);
        for other in 0..Pushes::WAITING_MAX as u128 {
            retries.failed(&sending(other + 2, other + 100, 8), None, later);
        }
        assert_eq!(retries.failing.len(), Pushes::WAITING_MAX);
        let of_first = retries.failing.values().map(|it| it.waiting.user);
        assert!(
            of_first
                .into_iter()
                .all(|it| it != UserId(Uuid::from_u128(1)))
        );
    }
}
