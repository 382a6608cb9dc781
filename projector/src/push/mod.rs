//! Pushing: follows the log for messages and tells those who are not looking, through the push services of
//! their browsers. A message waits for a few seconds, and nobody is told who has seen it by then. How far
//! it is stands in the log, in the stream `pushes-sent`: whoever goes on tells nobody twice, whatever
//! becomes of the read models.
//!
//! A part of a message's people is in doubt when a process ends while it tells them, or another led
//! meanwhile: they are told again. Both pushes have the same topic, so that one that still waits at the
//! push service is replaced.

mod audience;
mod digest;
mod payload;
mod progress;
mod quiet;
mod retries;
mod send;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::ConversationEvent;
use domain::{Event, UserId};
use infra::auth::Guard;
use infra::clock::Clock;
use infra::database::Database;
use infra::event_store::{
    AppendError, EventStore, RecordedEvent, SubscriptionItem, position_at, subscribe_all,
};
use infra::failure::Failure;
use infra::push::{Pusher, TargetSeal};
use infra::read_models::notifications::with_browsers;
use infra::read_models::{ReadError, Snapshot, WAIT_MAX, wait_for};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::generation::Retry;
use crate::missed::MODELS;
use crate::push::audience::{Chunk, Told, chunk};
use crate::push::progress::Recorder;
use crate::push::retries::Retries;

/// Older messages are told to nobody who was not told of them in time.
const AGE_MAX: TimeDelta = TimeDelta::hours(1);

/// Messages that wait to be told; while there are as many the log is not read on.
const WAITING_MAX: usize = 1_000;

/// Messages of which it is looked together whether anybody can be told.
const TOGETHER_MAX: usize = 200;

/// How often is looked whose quiet hours have ended, and who wants a digest.
const TICK: Duration = Duration::from_secs(1);

/// How often it is recorded how far it is where nobody was told.
const RECORD_EVERY: TimeDelta = TimeDelta::minutes(1);

/// What a [`Pushing`] is made of.
pub struct PushingParts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The read models.
    pub database: Database,
    /// What takes pushes.
    pub pusher: Arc<dyn Pusher>,
    /// Opens where they go.
    pub targets: TargetSeal,
    /// Knows which logins go on.
    pub guard: Arc<Guard>,
    /// The time.
    pub clock: Clock,
    /// How long a message waits to be seen.
    pub delay: TimeDelta,
}

/// Tells people what they miss.
pub struct Pushing(PushingParts);

/// What one who pushes keeps in mind.
struct Mind {
    recorder: Recorder,
    retries: Retries,
    queue: VecDeque<Told>,
    /// Whose digests are looked at next: those after this user.
    digests_after: UserId,
    /// Whether the read models were complete once; before that there is nothing to look at.
    is_ready: bool,
}

impl Pushing {
    /// Nothing happens before [`Pushing::run`].
    pub const fn new(parts: PushingParts) -> Self {
        Self(parts)
    }

    /// Tells people what they miss until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = Retry::new("push");
        while !stop.is_cancelled() {
            let Err(failure) = self.follow(&stop, &mut retry).await else {
                return;
            };
            let wait = retry.failed(&failure);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Goes on where the log says that it is.
    async fn follow(&self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Failure> {
        let parts = &self.0;
        let now = parts.clock.now();
        let store = &*parts.store;
        let recorder = Recorder::load(store, now).await?;
        let oldest = position_at(store, now - AGE_MAX).await?;
        let after = recorder.progress().up_to.max(oldest);
        let retries = Retries::load(store).await?;
        let mut mind = Mind {
            recorder,
            retries,
            queue: VecDeque::new(),
            digests_after: UserId(Uuid::nil()),
            is_ready: false,
        };
        let mut subscription = subscribe_all(Arc::clone(&parts.store), after);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = parts.clock.now();
            let due = mind.queue.front().map(|told| told.due - now);
            let until_due = due.map(|wait| wait.to_std().unwrap_or_default());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(until_due.unwrap_or_default()), if until_due.is_some() => {
                    self.tell_due(&mut mind, stop).await?;
                    retry.succeeded();
                }
                _ = ticks.tick() => self.tick(&mut mind, stop).await?,
                item = subscription.next(), if mind.queue.len() < WAITING_MAX => {
                    if let SubscriptionItem::Events(events) = item? {
                        mind.queue.extend(events.iter().filter_map(|event| self.told(event)));
                    }
                    if mind.queue.is_empty() {
                        mind.recorder.reached(subscription.position());
                    }
                }
            }
        }
        self.record(&mut mind, stop).await
    }

    /// The message that `recorded` is, if people may be told of it.
    fn told(&self, recorded: &Arc<RecordedEvent>) -> Option<Told> {
        if &*recorded.event_type != "message-sent" || recorded.is_foreign() {
            return None;
        }
        let conversation = recorded.stream.conversation_id()?;
        // What cannot be read is parked by the projections, and told to the operator there.
        let (Ok(event), Ok(metadata)) = (recorded.event(), recorded.metadata()) else {
            return None;
        };
        let Event::Conversation(ConversationEvent::MessageSent(sent)) = event else {
            return None;
        };
        // What was imported was said elsewhere, long ago.
        metadata.occurred_at.is_none().then(|| Told {
            position: recorded.position,
            name: recorded.id.to_string(),
            conversation,
            seq: recorded.version,
            sent,
            at: recorded.recorded_at,
            due: recorded.recorded_at + self.0.delay,
        })
    }

    /// Tells of the messages that are due. Most are in conversations in which nobody can be told: these
    /// are found together.
    async fn tell_due(&self, mind: &mut Mind, stop: &CancellationToken) -> Result<(), Failure> {
        let database = &self.0.database;
        let now = self.0.clock.now();
        let count = mind.queue.iter().take_while(|told| told.due <= now).count();
        let due: Vec<Told> = mind.queue.drain(..count.min(TOGETHER_MAX)).collect();
        let Some(last) = due.last() else {
            return Ok(());
        };
        wait_for(database, &MODELS, last.position, WAIT_MAX)
            .await
            .map_err(unread)?;
        let mut snapshot = Snapshot::of(database, &MODELS).await.map_err(unread)?;
        let conversations = due.iter().map(|told| told.conversation).collect();
        let reached = with_browsers(&mut snapshot, &conversations)
            .await
            .map_err(unread)?;
        drop(snapshot);
        mind.recorder.worked();
        for told in &due {
            if stop.is_cancelled() {
                return Ok(());
            }
            if reached.contains(&told.conversation) {
                self.tell(mind, told, stop).await?;
            } else {
                mind.recorder.reached(told.position);
            }
        }
        Ok(())
    }

    /// Tells everybody of a message, part by part.
    async fn tell(
        &self,
        mind: &mut Mind,
        told: &Told,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let parts = &self.0;
        let now = parts.clock.now();
        if told.at + AGE_MAX < now {
            metrics::counter!("verbatim_pushes_too_late_total").increment(1);
            mind.recorder.reached(told.position);
            return Ok(());
        }
        let mut after = mind.recorder.settled_of(told.position);
        while !stop.is_cancelled() {
            let Chunk { sendings, up_to } = chunk(&parts.database, told, after, now)
                .await
                .map_err(unread)?;
            let worked = self.send_all(mind, sendings, stop).await?;
            match up_to {
                Some(user) => {
                    mind.recorder.reached_part(told.position, user);
                    after = user;
                }
                None => mind.recorder.reached(told.position),
            }
            if worked {
                self.record(mind, stop).await?;
            }
            if up_to.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is to be done from time to time.
    async fn tick(&self, mind: &mut Mind, stop: &CancellationToken) -> Result<(), Failure> {
        if !mind.is_ready {
            match Snapshot::of(&self.0.database, &MODELS).await {
                Ok(_) => mind.is_ready = true,
                // They are being built.
                Err(ReadError::Behind(_)) => return Ok(()),
                Err(error @ ReadError::Database(_)) => return Err(unread(error)),
            }
        }
        self.end_quiet_hours(mind, stop).await?;
        self.try_again(mind, stop).await?;
        self.issue_digests(mind).await?;
        if mind.recorder.is_stale(self.0.clock.now(), RECORD_EVERY) {
            self.record(mind, stop).await?;
        }
        Ok(())
    }

    /// Puts on record how far it is, and tries again where the log is away: what was told is not told
    /// again because of that. Only another process that records the same, or the end, makes it fail.
    async fn record(&self, mind: &mut Mind, stop: &CancellationToken) -> Result<(), Failure> {
        const WHAT: &str = "record how far pushing is";
        let mut retry = Retry::new("push");
        loop {
            let failure = match self.try_to_record(mind).await {
                Ok(()) => return Ok(()),
                Err(AppendError::Failure(failure)) => failure,
                Err(error @ AppendError::Conflict { .. }) => {
                    return Err(Failure::unavailable(WHAT, error));
                }
                Err(error @ AppendError::Invalid(_)) => return Err(Failure::internal(WHAT, error)),
            };
            if stop.is_cancelled() {
                return Err(failure);
            }
            let wait = retry.failed(&failure);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What is to be tried again comes first: what stands in neither would be lost.
    async fn try_to_record(&self, mind: &mut Mind) -> Result<(), AppendError> {
        let store = &*self.0.store;
        mind.retries.record(store).await?;
        mind.recorder.record(store).await?;
        mind.recorder.recorded_at(self.0.clock.now());
        Ok(())
    }
}

/// What failed because the read models could not be read.
fn unread(error: ReadError) -> Failure {
    Failure::unavailable("push", error)
}

/// A moment in seconds, as part of a name.
fn moment(at: DateTime<Utc>) -> i64 {
    at.timestamp()
}
