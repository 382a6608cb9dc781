//! Sending pushes: several at a time, each with a few tries at once.

use std::time::Duration;

use domain::StreamName;
use domain::notifications::{Command, Notifications, RemovedBecause};
use futures::StreamExt as _;
use infra::failure::Failure;
use infra::push::PushError;
use infra::read_models::notifications::PushSubscription;
use tokio_util::sync::CancellationToken;

use super::audience::Sending;
use super::{Mind, Pushing};
use crate::generation::Retry;
use crate::record;

/// Pushes that are sent at the same time; a push service that is slow with one does not stop the others.
const AT_ONCE_MAX: usize = 32;

/// How often pushes are tried that fail because of our own log; then they are given up. With the waits
/// between, that is about half a minute.
const ROUNDS_MAX: usize = 8;

/// The waits between tries at once. Where all fail the browser is tried again later.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// What became of a push.
pub(super) enum Outcome {
    /// The push service has it.
    Taken,
    /// There is nobody who could be told, or this will never be taken.
    Over,
    /// It may be taken later.
    Later {
        /// Not before so long.
        after: Option<Duration>,
    },
}

impl Pushing {
    /// Sends all of `sendings`, except to browsers that are to be tried again. Says whether there was
    /// anything to do. What fails here is tried again at once: the others are not told again because of
    /// it.
    pub(super) async fn send_all(
        &self,
        mind: &mut Mind,
        sendings: Vec<Sending>,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let can_be_told = |sending: &Sending| !mind.retries.has(sending.subscription.id);
        let mut left: Vec<Sending> = sendings.into_iter().filter(can_be_told).collect();
        let worked = !left.is_empty();
        let now = self.0.clock.now();
        let mut retry = Retry::new("push");
        for _ in 0..ROUNDS_MAX {
            let sent = left.drain(..).map(|sending| async move {
                let outcome = self.send(&sending).await;
                (sending, outcome)
            });
            let sent: Vec<_> = sent.collect();
            let mut outcomes = futures::stream::iter(sent).buffer_unordered(AT_ONCE_MAX);
            let mut failed = None;
            while let Some((sending, outcome)) = outcomes.next().await {
                match outcome {
                    Ok(Outcome::Taken) => mind.recorder.sent(),
                    Ok(Outcome::Over) => {}
                    Ok(Outcome::Later { after }) => {
                        mind.retries.failed(&sending.subscription, after, now);
                    }
                    Err(failure) => {
                        failed = Some(failure);
                        left.push(sending);
                    }
                }
            }
            let Some(failure) = failed else {
                return Ok(worked);
            };
            let wait = retry.failed(&failure);
            tokio::select! {
                () = stop.cancelled() => return Err(failure),
                () = tokio::time::sleep(wait) => {}
            }
        }
        tracing::error!(
            pushes = left.len(),
            "pushes are given up, as our own data cannot be read"
        );
        metrics::counter!("verbatim_pushes_dropped_total").increment(left.len() as u64);
        Ok(worked)
    }

    /// Sends one. Only a failure of ours is an error.
    pub(super) async fn send(&self, sending: &Sending) -> Result<Outcome, Failure> {
        let subscription = &sending.subscription;
        let (user, session) = (subscription.user_id, subscription.session);
        if !self.0.guard.is_open(user, session).await? {
            self.remove(subscription, RemovedBecause::SessionEnded)
                .await?;
            return Ok(Outcome::Over);
        }
        let Some(target) = self.0.targets.open(&subscription.target) else {
            self.remove(subscription, RemovedBecause::Gone).await?;
            return Ok(Outcome::Over);
        };
        let push = match sending.payload.push(&sending.name, subscription.id) {
            Ok(push) => push,
            Err(failure) => {
                tracing::error!(%failure, "a push cannot be written");
                return Ok(Outcome::Over);
            }
        };
        let mut waits = WAITS.into_iter();
        loop {
            match self.0.pusher.push(&target, &push).await {
                Ok(()) => {
                    metrics::counter!("verbatim_pushes_sent_total").increment(1);
                    return Ok(Outcome::Taken);
                }
                Err(PushError::Gone) => {
                    self.remove(subscription, RemovedBecause::Gone).await?;
                    return Ok(Outcome::Over);
                }
                Err(PushError::Refused(failure)) => {
                    tracing::warn!(%failure, subscription = %subscription.id, "a push is refused for good");
                    metrics::counter!("verbatim_push_failures_total").increment(1);
                    return Ok(Outcome::Over);
                }
                Err(PushError::Later { failure, after }) => {
                    tracing::debug!(%failure, subscription = %subscription.id, "a push is not taken");
                    metrics::counter!("verbatim_push_failures_total").increment(1);
                    match waits.next() {
                        Some(wait) if after.is_none_or(|after| after <= wait) => {
                            tokio::time::sleep(wait).await;
                        }
                        Some(_) | None => return Ok(Outcome::Later { after }),
                    }
                }
            }
        }
    }

    /// The browser takes no more pushes, unless another login has added it meanwhile.
    pub(super) async fn remove(
        &self,
        subscription: &PushSubscription,
        because: RemovedBecause,
    ) -> Result<(), Failure> {
        let stream = StreamName::notifications(subscription.user_id);
        let command = Command::RemovePushSubscription {
            subscription: subscription.id,
            session: Some(subscription.session),
            because,
        };
        record::ask::<Notifications>(&*self.0.store, &stream, &command).await?;
        metrics::counter!("verbatim_push_subscriptions_removed_total").increment(1);
        Ok(())
    }
}
