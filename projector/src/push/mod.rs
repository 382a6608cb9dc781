//! Pushing: follows the log for messages and tells those who are not looking, through the push services of
//! their browsers. A message waits for a few seconds, and nobody is told who has seen it by then. How far
//! it is stands in the log, in the stream `pushes-sent`: whoever goes on tells nobody twice, whatever
//! becomes of the read models.
//!
//! Many pushes are under way at once. Those that were begun after the oldest that has not ended are in doubt
//! when a process is killed: they are sent again. Both pushes have the same topic, so that one that still
//! waits at the push service is replaced.

mod audience;
mod digest;
mod payload;
mod progress;
mod quiet;
mod retries;
mod send;
mod under_way;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::ConversationEvent;
use domain::{Event, Position, UserId};
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
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::generation::Retry;
use crate::missed::MODELS;
use crate::push::audience::{AGE_MAX, Chunk, Sending, Told, chunk};
use crate::push::progress::Recorder;
use crate::push::retries::Retries;
use crate::push::send::Outcome;
use crate::push::under_way::{Done, Goal, UnderWay};

/// Messages that wait to be told; while there are as many the log is not read on.
const WAITING_MAX: usize = 1_000;

/// Messages of which it is looked together whether anybody can be told.
const TOGETHER_MAX: usize = 200;

/// How often is looked whose quiet hours have ended, and who wants a digest.
const TICK: Duration = Duration::from_secs(1);

/// How long it rests when it has told all that is due: what becomes due meanwhile is looked up together.
const REST: Duration = Duration::from_millis(100);

/// How often it is recorded how far it is where nobody was told.
const RECORD_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How long is waited for what is under way when no more is begun.
const END_MAX: Duration = Duration::from_secs(10);

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
pub struct Pushing(Arc<PushingParts>);

/// What one who pushes keeps in mind.
struct Mind {
    recorder: Recorder,
    retries: Retries,
    queue: VecDeque<Told>,
    under_way: UnderWay,
    /// Up to where in the log it is decided who is told.
    decided: Position,
    /// Ends of quiet hours up to this moment are begun.
    ends_begun: DateTime<Utc>,
    /// Whose digests are looked at next: those after this user.
    digests_after: UserId,
    /// Whether anything else than a step is to go on record.
    is_record_due: bool,
    /// Whether the read models were complete once; before that there is nothing to look at.
    is_ready: bool,
}

impl Mind {
    /// Says what is settled; gives whether anything goes on record at once.
    fn reach(&mut self) -> bool {
        let mut is_mark = std::mem::take(&mut self.is_record_due);
        while let Some((goal, marks)) = self.under_way.reached() {
            self.recorder.reached(goal);
            is_mark |= marks;
        }
        is_mark
    }
}

impl Pushing {
    /// Nothing happens before [`Pushing::run`].
    pub fn new(parts: PushingParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Tells people what they miss until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = Retry::new("push");
        while !stop.is_cancelled() {
            let Err(failure) = self.follow(&stop, &mut retry).await else {
                return;
            };
            retry.pause_after(&failure, &stop).await;
        }
    }

    /// Goes on where the log says that it is. What is under way at the end is waited for.
    async fn follow(&self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Failure> {
        let parts = &self.0;
        let now = parts.clock.now();
        let store = &*parts.store;
        let recorder = Recorder::load(store, now).await?;
        let oldest = position_at(store, now - AGE_MAX).await?;
        let progress = recorder.progress();
        let after = progress.up_to.max(oldest);
        let mut mind = Mind {
            decided: progress.up_to,
            ends_begun: progress.quiet_until,
            recorder,
            retries: Retries::load(store).await?,
            queue: VecDeque::new(),
            under_way: UnderWay::default(),
            digests_after: UserId(Uuid::nil()),
            is_record_due: false,
            is_ready: false,
        };
        let worked = self.work(&mut mind, after, stop, retry).await;
        self.end(&mut mind).await;
        let on_record = self.record(&mut mind, stop).await;
        worked.and(on_record)
    }

    /// Tells what comes after `after`, until `stop` is cancelled.
    async fn work(
        &self,
        mind: &mut Mind,
        after: Position,
        stop: &CancellationToken,
        retry: &mut Retry,
    ) -> Result<(), Failure> {
        let mut subscription = subscribe_all(Arc::clone(&self.0.store), after);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rests_until = Instant::now();
        loop {
            let now = self.0.clock.now();
            let due = mind.queue.front().map(|told| told.due - now);
            let rest = rests_until.saturating_duration_since(Instant::now());
            let until_due = due.map(|wait| wait.to_std().unwrap_or_default().max(rest));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = mind.under_way.next(), if mind.under_way.is_any() => {
                    self.take(mind, done)?;
                    self.settle(mind, stop).await?;
                }
                _ = ticks.tick() => self.tick(mind, stop).await?,
                () = tokio::time::sleep(until_due.unwrap_or_default()), if until_due.is_some() => {
                    self.tell_due(mind, stop).await?;
                    retry.succeeded();
                    if mind.queue.front().is_none_or(|told| told.due > now) {
                        rests_until = Instant::now() + REST;
                    }
                }
                item = subscription.next(), if mind.queue.len() < WAITING_MAX => {
                    if let SubscriptionItem::Events(events) = item? {
                        mind.queue.extend(events.iter().filter_map(|event| self.told(event)));
                    }
                    if mind.queue.is_empty() {
                        mind.decided = mind.decided.max(subscription.position());
                        mind.under_way.begin(Goal::Log(mind.decided), false);
                        self.settle(mind, stop).await?;
                    }
                }
            }
        }
    }

    /// Waits for what is under way, within bounds, and begins nothing more.
    async fn end(&self, mind: &mut Mind) {
        let ended = async {
            while let Some(done) = mind.under_way.next().await {
                if let Err(failure) = self.take(mind, done) {
                    tracing::error!(%failure, "a push ended in a defect");
                }
            }
        };
        if tokio::time::timeout(END_MAX, ended).await.is_err() {
            tracing::warn!("pushes are still under way; they are sent again");
        }
        mind.reach();
    }

    /// Takes note of what ended.
    fn take(&self, mind: &mut Mind, done: Result<Done, JoinError>) -> Result<(), Failure> {
        let now = self.0.clock.now();
        match done.map_err(|error| Failure::internal("push", error))? {
            Done::Sent {
                step,
                sending,
                outcome,
            } => {
                let subscription = &sending.subscription;
                mind.under_way.sent(step, subscription.user_id);
                match outcome {
                    Outcome::Taken => {
                        mind.recorder.sent();
                        mind.retries.taken(subscription.id, now);
                    }
                    Outcome::Over => {}
                    Outcome::Later { after } => mind.retries.failed(&sending, after, now),
                }
            }
            Done::Tried { trial, tried } => self.tried(mind, &trial, tried),
        }
        Ok(())
    }

    async fn settle(&self, mind: &mut Mind, stop: &CancellationToken) -> Result<(), Failure> {
        if mind.reach() {
            self.record(mind, stop).await?;
        }
        Ok(())
    }

    /// Waits until a step more may be begun; `false` where none may because `stop` is cancelled.
    async fn room(&self, mind: &mut Mind, stop: &CancellationToken) -> Result<bool, Failure> {
        self.settle(mind, stop).await?;
        while !mind.under_way.has_room() && !stop.is_cancelled() {
            let Some(done) = mind.under_way.next().await else {
                break;
            };
            self.take(mind, done)?;
            self.settle(mind, stop).await?;
        }
        Ok(!stop.is_cancelled())
    }

    /// Begins to send all of `sendings`, user by user, each of them a step towards `part`. Browsers that
    /// wait to be tried again are told later. Says whether there was anything to do; `None` where it did
    /// not come to the end because `stop` is cancelled.
    async fn send_all(
        &self,
        mind: &mut Mind,
        sendings: Vec<Sending>,
        part: impl Fn(UserId) -> Goal,
        stop: &CancellationToken,
    ) -> Result<Option<bool>, Failure> {
        let mut worked = false;
        let mut begun = (UserId(Uuid::nil()), 0);
        for sending in sendings {
            let user = sending.subscription.user_id;
            if begun.0 != user {
                if !self.room(mind, stop).await? {
                    return Ok(None);
                }
                begun = (user, mind.under_way.begin(part(user), false));
            }
            if mind.retries.skips(&sending) {
                continue;
            }
            worked = true;
            if !mind.under_way.has_room_for(user) {
                mind.retries.failed(&sending, None, self.0.clock.now());
                continue;
            }
            let (parts, token) = (Arc::clone(&self.0), stop.clone());
            mind.under_way.send(user, async move {
                let outcome = parts.send(&sending, &token).await;
                Done::Sent {
                    step: begun.1,
                    sending: Box::new(sending),
                    outcome,
                }
            });
        }
        Ok(Some(worked))
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
            if !self.room(mind, stop).await? {
                return Ok(());
            }
            let is_told = reached.contains(&told.conversation) && !told.is_too_late(now);
            if is_told && !self.tell(mind, told, stop).await? {
                return Ok(());
            }
            if !is_told {
                mind.under_way.begin(Goal::Log(told.position), false);
            }
            mind.decided = mind.decided.max(told.position);
        }
        self.settle(mind, stop).await
    }

    /// Begins to tell everybody of a message, part by part; `false` where it did not come to the end
    /// because `stop` is cancelled.
    async fn tell(
        &self,
        mind: &mut Mind,
        told: &Told,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let (position, now) = (told.position, self.0.clock.now());
        let mut after = mind.recorder.settled_of(position);
        loop {
            let Chunk { sendings, up_to } = chunk(&self.0.database, told, after, now)
                .await
                .map_err(unread)?;
            let part = |user| Goal::Part(position, user);
            let Some(worked) = self.send_all(mind, sendings, part, stop).await? else {
                return Ok(false);
            };
            let goal = up_to.map_or(Goal::Log(position), part);
            mind.under_way.begin(goal, worked);
            let Some(user) = up_to else {
                return Ok(true);
            };
            after = user;
        }
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
        self.try_again(mind, stop);
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
            retry.pause_after(&failure, stop).await;
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
