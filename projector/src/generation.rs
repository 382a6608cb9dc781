//! One generation of one read model, and moving it forward: rows and checkpoint in one transaction,
//! again and again, whatever fails in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Position, StreamName};
use infra::clock::Clock;
use infra::database::{Database, DatabaseError, Dialect, Fault};
use infra::event_store::{
    EventStore, RecordedEvent, Subscription, SubscriptionItem, subscribe_all,
};
use infra::read_models::projections::{self, Checkpoint, Parked};
use tokio_util::sync::CancellationToken;

use crate::Projection;
use crate::fact::{Parking, Unfit};

/// How long a live read model rests after a batch at the least, unless somebody waits for it.
const REST_MIN: Duration = Duration::from_millis(25);

/// How long it rests at the most; it is behind by that much at most on a machine that keeps up. On a server,
/// who waits may be in a process that cannot say so: there it is always the least.
const REST_MAX: Duration = Duration::from_millis(50);

/// How many times as long as it worked on a batch it rests. What comes meanwhile goes into the next
/// batch: under load, few transactions with many events cost far less than many with few.
const REST_TIMES: u32 = 2;

/// Bytes of events in one transaction, after the first event; more go into the next.
const TRANSACTION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events that are gathered for one transaction while the log has more. A page of the log is added
/// as a whole, so that there can be as many more as a page has.
const TRANSACTION_EVENTS_MIN: usize = 10_000;

/// Wait after the first failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest wait between tries. There is no last try: the log does not go away, and a disk or a
/// server comes back.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Why a generation does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It was asked to.
    Asked,
    /// Its checkpoint is moved by somebody else too.
    OtherOwner,
    /// Its tables are gone.
    Lost,
}

/// What the generations of a process share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) database: Database,
    pub(crate) clock: Clock,
}

/// A generation that this process moves forward.
pub(crate) struct Generation {
    around: Surroundings,
    projection: &'static dyn Projection,
    number: u64,
    position: Position,
    parking: Parking,
    stop: CancellationToken,
    /// Another generation of the model answers queries, and the gauges are about that one.
    beside: bool,
}

impl Generation {
    /// Takes up a generation where it was left.
    pub(crate) async fn open(
        around: Surroundings,
        projection: &'static dyn Projection,
        checkpoint: &Checkpoint,
        stop: CancellationToken,
    ) -> Result<Self, DatabaseError> {
        let model = projection.model();
        let parked = projections::parked(&around.database, model, checkpoint.generation).await?;
        Ok(Self {
            around,
            projection,
            number: checkpoint.generation,
            position: checkpoint.position,
            parking: Parking::of(&parked),
            stop,
            beside: false,
        })
    }

    /// The same generation, beside one that answers queries: the gauges go on to tell of that one.
    pub(crate) const fn beside_live(mut self) -> Self {
        self.beside = true;
        self
    }

    /// Everything up to here is in its tables.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// Follows the log until it is stopped.
    pub(crate) async fn follow(&mut self) -> Stop {
        match self.go_on(Until::Stopped).await {
            Ok(()) => Stop::Asked,
            Err(stop) => stop,
        }
    }

    /// Applies all that the log has now.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Stop> {
        self.go_on(Until::CaughtUp).await
    }

    async fn go_on(&mut self, until: Until) -> Result<(), Stop> {
        let mut subscription = subscribe_all(Arc::clone(&self.around.store), self.position);
        let mut retry = Retry::new(self.projection.model().name);
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stop::Asked),
                next = subscription.next() => next,
            };
            match next {
                Ok(SubscriptionItem::Events(mut events)) => {
                    retry.succeeded();
                    let end = self.gather(&mut subscription, &mut events).await?;
                    let begun = Instant::now();
                    self.apply(&events).await?;
                    if until == Until::Stopped {
                        self.rest(begun.elapsed(), events.len()).await?;
                    } else if end == Gathered::ToTheEnd {
                        return Ok(());
                    }
                }
                Ok(SubscriptionItem::CaughtUp) => {
                    self.measure();
                    if until == Until::CaughtUp {
                        return Ok(());
                    }
                }
                Err(failure) => self.pause(retry.failed(&failure)).await?,
            }
        }
    }

    /// Adds what the log has more: behind by many events, few large transactions are much faster
    /// than many small ones, as each page is written once.
    async fn gather(
        &self,
        subscription: &mut Subscription,
        events: &mut Vec<Arc<RecordedEvent>>,
    ) -> Result<Gathered, Stop> {
        let head = *self.around.store.head().borrow();
        while subscription.position() < head && events.len() < TRANSACTION_EVENTS_MIN {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stop::Asked),
                next = subscription.next() => next,
            };
            match next {
                Ok(SubscriptionItem::Events(more)) => events.extend(more),
                Ok(SubscriptionItem::CaughtUp) => return Ok(Gathered::ToTheEnd),
                // What there is can be applied; the next read meets the failure again.
                Err(_) => break,
            }
        }
        Ok(Gathered::Enough)
    }

    /// Makes this generation the one that answers queries.
    pub(crate) async fn swap(&self) -> Result<(), Stop> {
        let mut retry = Retry::new(self.projection.model().name);
        loop {
            match self.try_swap().await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Stop::OtherOwner),
                Err(error) => self.pause(retry.failed(&error)).await?,
            }
        }
    }

    async fn try_swap(&self) -> Result<bool, DatabaseError> {
        let model = self.projection.model();
        let mut transaction = self.around.database.write().await?;
        let now = self.around.clock.now();
        let swapped = projections::swap(&mut transaction, model, self.number, now).await?;
        if swapped {
            transaction.commit().await?;
            self.around.database.announce_progress();
        }
        Ok(swapped)
    }

    async fn apply(&mut self, events: &[Arc<RecordedEvent>]) -> Result<(), Stop> {
        let mut rest = events;
        while !rest.is_empty() {
            let (slice, later) = rest.split_at(transaction_length(rest));
            self.apply_slice(slice).await?;
            rest = later;
        }
        Ok(())
    }

    /// Applies `events`, trying again after what passes. If the database will not take what they
    /// make, ever smaller parts are tried, until the one event is found whose stream is parked.
    async fn apply_slice(&mut self, events: &[Arc<RecordedEvent>]) -> Result<(), Stop> {
        let mut retry = Retry::new(self.projection.model().name);
        let mut parts = vec![(events, None)];
        while let Some((part, unfit)) = parts.pop() {
            let Some(last) = part.last() else { continue };
            match self.try_apply(part, last.position, unfit.as_ref()).await {
                Ok(()) => retry.succeeded(),
                Err(Attempt::OtherOwner) => return Err(Stop::OtherOwner),
                Err(Attempt::Failed(error)) if error.fault() == Fault::Refused => {
                    if let [one] = part {
                        let why = Unfit(chain(&error));
                        parts.push((part, Some((one.stream.clone(), why))));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push((second, None));
                        parts.push((first, None));
                    }
                }
                Err(Attempt::Failed(error)) if error.fault() == Fault::Missing => {
                    tracing::error!(
                        projection = self.projection.model().name,
                        error = chain(&error),
                        "the tables of a read model are gone; it is built again"
                    );
                    return Err(Stop::Lost);
                }
                Err(Attempt::Failed(error)) => {
                    self.pause(retry.failed(&error)).await?;
                    parts.push((part, unfit));
                }
                Err(Attempt::Uncertain(error)) => {
                    self.pause(retry.failed(&error)).await?;
                    if self.was_committed(last.position, &mut retry).await? {
                        self.position = last.position;
                        self.reload_parking(&mut retry).await?;
                    } else {
                        parts.push((part, unfit));
                    }
                }
            }
        }
        Ok(())
    }

    /// One transaction: the rows that `events` make, what had to be parked, the checkpoint.
    async fn try_apply(
        &mut self,
        events: &[Arc<RecordedEvent>],
        to: Position,
        unfit: Option<&(StreamName, Unfit)>,
    ) -> Result<(), Attempt> {
        let model = self.projection.model();
        let mut parking = self.parking.clone();
        if let Some((stream, why)) = unfit {
            parking.park(stream, to, why);
        }
        let facts = parking.decode(model.category, events);
        let now = self.around.clock.now();
        let mut transaction = self.around.database.write().await?;
        if !facts.is_empty() {
            self.projection
                .apply(&mut transaction, self.number, &facts, &mut parking)
                .await?;
        }
        let parked = parking.take_fresh();
        for parked in &parked {
            projections::park(&mut transaction, model, self.number, parked, now).await?;
        }
        let from = self.position;
        if !projections::advance(&mut transaction, model, self.number, from, to, now).await? {
            return Err(Attempt::OtherOwner);
        }
        transaction.commit().await.map_err(Attempt::Uncertain)?;
        self.position = to;
        self.parking = parking;
        self.say_parked(&parked);
        self.measure();
        self.around.database.announce_progress();
        Ok(())
    }

    /// A commit whose answer was lost may have happened. Asks the checkpoint.
    async fn was_committed(&self, to: Position, retry: &mut Retry) -> Result<bool, Stop> {
        loop {
            match projections::checkpoints(&self.around.database).await {
                Ok(checkpoints) => {
                    let ours = checkpoints.iter().find(|checkpoint| {
                        checkpoint.name == self.projection.model().name
                            && checkpoint.generation == self.number
                    });
                    return match ours {
                        Some(ours) if ours.position == self.position => Ok(false),
                        Some(ours) if ours.position == to => Ok(true),
                        Some(_) => Err(Stop::OtherOwner),
                        None => Err(Stop::Lost),
                    };
                }
                Err(error) if error.fault() == Fault::Missing => return Err(Stop::Lost),
                Err(error) => self.pause(retry.failed(&error)).await?,
            }
        }
    }

    async fn reload_parking(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        loop {
            let model = self.projection.model();
            match projections::parked(&self.around.database, model, self.number).await {
                Ok(parked) => {
                    self.parking = Parking::of(&parked);
                    return Ok(());
                }
                Err(error) => self.pause(retry.failed(&error)).await?,
            }
        }
    }

    /// Waits before the next try. The log goes on meanwhile, and the lag with it.
    async fn pause(&self, wait: Duration) -> Result<(), Stop> {
        self.measure();
        tokio::select! {
            () = self.stop.cancelled() => Err(Stop::Asked),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Rests after a batch of `events` that took so long, unless somebody waits for this read model. After a
    /// full batch the log has more: whoever is behind does not rest.
    async fn rest(&self, took: Duration, events: usize) -> Result<(), Stop> {
        if events >= TRANSACTION_EVENTS_MIN {
            return Ok(());
        }
        let rest = match self.around.database.dialect() {
            Dialect::Postgres => REST_MIN,
            Dialect::Sqlite => (took * REST_TIMES).clamp(REST_MIN, REST_MAX),
        };
        let name = self.projection.model().name;
        tokio::select! {
            rested = self.pause(rest) => rested,
            () = self.around.database.hurried(name) => Ok(()),
        }
    }

    fn say_parked(&self, parked: &[Parked]) {
        for parked in parked {
            tracing::error!(
                projection = self.projection.model().name,
                stream = parked.stream,
                position = parked.position.0,
                reason = parked.reason,
                "an event could not be applied; its stream is left out of this read model"
            );
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats, and no log has 2^52 events"
    )]
    fn measure(&self) {
        if self.beside {
            return;
        }
        let name = self.projection.model().name;
        let head = *self.around.store.head().borrow();
        let lag = head.0.saturating_sub(self.position.0);
        metrics::gauge!("verbatim_projection_lag_events", "projection" => name).set(lag as f64);
        metrics::gauge!("verbatim_projection_position", "projection" => name)
            .set(self.position.0 as f64);
        metrics::gauge!("verbatim_projection_parked_streams", "projection" => name)
            .set(self.parking.len() as f64);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Stopped,
    CaughtUp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathered {
    /// The log may have more.
    Enough,
    /// The subscription said that it has caught up, which it says once.
    ToTheEnd,
}

enum Attempt {
    /// Nothing was committed.
    Failed(DatabaseError),
    /// The commit failed, or its answer was lost.
    Uncertain(DatabaseError),
    OtherOwner,
}

impl From<DatabaseError> for Attempt {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error)
    }
}

/// How many of `events` go into one transaction: at least one.
fn transaction_length(events: &[Arc<RecordedEvent>]) -> usize {
    let mut bytes = 0;
    for (index, event) in events.iter().enumerate() {
        bytes += event.data.len();
        if bytes > TRANSACTION_BYTES_MAX {
            return index.max(1);
        }
    }
    events.len()
}

/// An error with what caused it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Trying again for ever, ever more slowly.
pub(crate) struct Retry {
    what: &'static str,
    wait: Duration,
}

impl Retry {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self {
            what,
            wait: RETRY_MIN,
        }
    }

    pub(crate) const fn succeeded(&mut self) {
        self.wait = RETRY_MIN;
    }

    /// Logs the error; says how long to wait.
    pub(crate) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        let wait = self.wait;
        tracing::warn!(
            projection = self.what,
            error = chain(error),
            retry_in_ms = wait.as_millis(),
            "a projection cannot go on; it tries again"
        );
        self.wait = (wait * 2).min(RETRY_MAX);
        wait
    }

    /// Logs the error and waits, until `stop` is cancelled at the longest.
    pub(crate) fn pause_after<'stop>(
        &mut self,
        error: &(dyn std::error::Error + 'static),
        stop: &'stop CancellationToken,
    ) -> impl Future<Output = ()> + use<'stop> {
        let wait = self.failed(error);
        async move {
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }
}
