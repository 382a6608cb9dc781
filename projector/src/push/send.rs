//! Sending one push: tried a few times where its push service says no at once, and never for long.

use std::time::Duration;

use domain::StreamName;
use domain::notifications::{Command, Notifications, RemovedBecause};
use infra::auth::LoginStanding;
use infra::failure::Failure;
use infra::push::PushError;
use infra::read_models::notifications::PushSubscription;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PushingParts;
use super::audience::Sending;
use crate::record;

/// The waits between tries. Where all fail the browser is tried again later.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// After so long there is no further try: a push service that is slow is not asked twice.
const TRYING_MAX: Duration = Duration::from_secs(3);

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl PushingParts {
    /// Sends one. Where our own data cannot be read it is tried later, as what a push service does not
    /// take; so it is where `stop` is cancelled meanwhile.
    pub(super) async fn send(&self, sending: &Sending, stop: &CancellationToken) -> Outcome {
        match self.try_to_send(sending, stop).await {
            Ok(outcome) => outcome,
            Err(failure) => {
                tracing::warn!(%failure, "a push waits, as our own data cannot be read");
                Outcome::Later { after: None }
            }
        }
    }

    async fn try_to_send(
        &self,
        sending: &Sending,
        stop: &CancellationToken,
    ) -> Result<Outcome, Failure> {
        let subscription = &sending.subscription;
        let (user, session) = (subscription.user_id, subscription.session);
        match self.guard.login_standing(user, session).await? {
            LoginStanding::Open => {}
            LoginStanding::Suspended => return Ok(Outcome::Over),
            LoginStanding::Ended => {
                self.remove(subscription, RemovedBecause::SessionEnded)
                    .await?;
                return Ok(Outcome::Over);
            }
        }
        let Some(target) = self.targets.open(&subscription.target) else {
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
        let begun = Instant::now();
        let mut waits = WAITS.into_iter();
        loop {
            let (failure, after) = match self.pusher.push(&target, &push).await {
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
                Err(PushError::Later { failure, after }) => (failure, after),
            };
            tracing::debug!(%failure, subscription = %subscription.id, "a push is not taken");
            metrics::counter!("verbatim_push_failures_total").increment(1);
            let is_soon = |wait: &Duration| {
                after.is_none_or(|after| after <= *wait) && begun.elapsed() + *wait <= TRYING_MAX
            };
            let Some(wait) = waits.next().filter(is_soon) else {
                return Ok(Outcome::Later { after });
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(Outcome::Later { after }),
                () = tokio::time::sleep(wait) => {}
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
        record::ask::<Notifications>(&*self.store, &stream, &command).await?;
        metrics::counter!("verbatim_push_subscriptions_removed_total").increment(1);
        Ok(())
    }
}
