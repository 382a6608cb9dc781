//! Browsers whose push service did not take a push. They are told nothing until it takes one again, and
//! then what was missed.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::notifications::RemovedBecause;
use domain::pushes::{Command, Pushes, Waiting};
use domain::{PushSubscriptionId, StreamName};
use infra::event_store::{AppendError, EventStore};
use infra::failure::Failure;
use infra::read_models::Snapshot;
use infra::read_models::notifications::{PushSubscription, UserSettings, settings, subscriptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audience::Sending;
use super::payload::Payload;
use super::send::Outcome;
use super::{Mind, Pushing, unread};
use crate::missed::{MODELS, Of, missed};
use crate::record::Loaded;

/// Whose push service took nothing for so long gets no more pushes.
const FAILING_MAX: chrono::TimeDelta = chrono::TimeDelta::days(3);

/// The wait before the first retry; it doubles with each.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// No wait is longer, whatever the push service says.
const AGAIN_AFTER_MAX: Duration = Duration::from_hours(1);

/// Browsers that are tried again in one round.
const ROUND_MAX: usize = 32;

/// What is to be tried again, in mind and on record.
pub(super) struct Retries {
    recorded: Loaded<Pushes>,
    failing: BTreeMap<PushSubscriptionId, Failing>,
}

struct Failing {
    waiting: Waiting,
    failures: u32,
    due: Instant,
}

impl Retries {
    /// As they are on record; all are due.
    pub(super) async fn load(store: &dyn EventStore) -> Result<Self, Failure> {
        let recorded = Loaded::<Pushes>::last(store, &StreamName::pushes_waiting()).await?;
        let due = Instant::now();
        let waiting = recorded.state.waiting.iter();
        let failing = waiting.map(|waiting| {
            let failing = Failing {
                waiting: *waiting,
                failures: 0,
                due,
            };
            (waiting.subscription, failing)
        });
        Ok(Self {
            failing: failing.collect(),
            recorded,
        })
    }

    /// Whether the browser is told nothing for now.
    pub(super) fn has(&self, subscription: PushSubscriptionId) -> bool {
        self.failing.contains_key(&subscription)
    }

    /// A push was not taken. Where too many wait it is not tried again.
    pub(super) fn failed(
        &mut self,
        subscription: &PushSubscription,
        after: Option<Duration>,
        now: DateTime<Utc>,
    ) {
        let is_full = self.failing.len() >= Pushes::WAITING_MAX;
        if is_full && !self.has(subscription.id) {
            metrics::counter!("verbatim_pushes_dropped_total").increment(1);
            return;
        }
        let failing = self.failing.entry(subscription.id).or_insert(Failing {
            waiting: Waiting {
                user: subscription.user_id,
                subscription: subscription.id,
                since: now,
            },
            failures: 0,
            due: Instant::now(),
        });
        let doubled = AGAIN_AFTER.saturating_mul(1 << failing.failures.min(16));
        let wait = doubled.max(after.unwrap_or_default());
        failing.failures = failing.failures.saturating_add(1);
        failing.due = Instant::now() + wait.min(AGAIN_AFTER_MAX);
    }

    fn done(&mut self, subscription: PushSubscriptionId) {
        self.failing.remove(&subscription);
    }

    /// Some of those that are due.
    fn due(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let due = self.failing.values().filter(|it| it.due <= now);
        due.map(|it| it.waiting).take(ROUND_MAX).collect()
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
    /// Tries those again that are due.
    pub(super) async fn try_again(
        &self,
        mind: &mut Mind,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let due = mind.retries.due();
        if due.is_empty() {
            return Ok(());
        }
        for waiting in due {
            self.try_one(mind, waiting).await?;
        }
        self.record(mind, stop).await
    }

    async fn try_one(&self, mind: &mut Mind, waiting: Waiting) -> Result<(), Failure> {
        let now = self.0.clock.now();
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS)
            .await
            .map_err(unread)?;
        let found = subscriptions(&mut snapshot, &[waiting.user])
            .await
            .map_err(unread)?;
        let found = found.into_iter().find(|it| it.id == waiting.subscription);
        let Some(subscription) = found else {
            mind.retries.done(waiting.subscription);
            return Ok(());
        };
        if waiting.since + FAILING_MAX <= now {
            drop(snapshot);
            mind.retries.done(waiting.subscription);
            return self.remove(&subscription, RemovedBecause::Failing).await;
        }
        let set = settings(&mut snapshot, &[waiting.user])
            .await
            .map_err(unread)?;
        let set = set.get(&waiting.user).map(UserSettings::settings);
        let set = set.unwrap_or_default();
        // In quiet hours it waits, too: their end tells all.
        if set
            .quiet_hours
            .as_ref()
            .and_then(|it| it.end_at(now))
            .is_some()
        {
            mind.retries.done(waiting.subscription);
            return Ok(());
        }
        let missed = missed(
            &mut snapshot,
            waiting.user,
            &set,
            waiting.since,
            now,
            Of::Rules,
        );
        let missed = missed.await.map_err(unread)?;
        drop(snapshot);
        if missed.messages() == 0 {
            mind.retries.done(waiting.subscription);
            return Ok(());
        }
        let sending = Sending {
            name: format!("missed {}", super::moment(waiting.since)),
            payload: Payload::Missed {
                messages: missed.messages(),
                conversations: missed.conversations.len(),
            },
            subscription,
        };
        match self.send(&sending).await? {
            Outcome::Taken => {
                mind.recorder.sent();
                mind.retries.done(waiting.subscription);
            }
            Outcome::Over => mind.retries.done(waiting.subscription),
            Outcome::Later { after } => mind.retries.failed(&sending.subscription, after, now),
        }
        Ok(())
    }
}
