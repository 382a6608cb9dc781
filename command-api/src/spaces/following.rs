//! Following the log for changes of spaces, so that channels come in step also where the process that
//! changed the space ended before they did. The log is the queue; how far it was read is kept where
//! snapshots are, and may be lost: what is read again changes nothing.
//!
//! A space whose channels do not come, tried a few times, is parked and tried again every minute: it
//! keeps no other waiting.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use domain::space::SpaceEvent;
use domain::{CommandId, Event, Position, SpaceId, StreamName, Version};
use futures::stream::{self, StreamExt as _};
use infra::event_store::{Direction, RecordedEvent, SubscriptionItem, subscribe_all};
use infra::failure::Failure;
use infra::problem::Problem;
use infra::snapshots::Snapshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::step::{Change, InStep, Removal};
use crate::CommandApi;

/// Under which name the place in the log is kept; no stream is called so.
const PLACE: &str = "$spaces-followed";

/// The shape of what is kept: the place, and what is parked as JSON.
const SHAPE: &str = "place and parked";

/// How often the place is kept, at most.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The first wait after a failure; it doubles with each.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// No wait is longer.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);

/// Spaces that follow at the same time.
const SPACES_AT_ONCE_MAX: usize = 4;

/// How often a space is tried before it is parked.
const TRIES_MAX: u32 = 3;

/// How often what is parked is tried again.
const PARKED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Spaces that are parked at most. With one more there is something wrong with more than a space: the
/// place stays where it is, and what was read is tried again.
const PARKED_MAX: usize = 1_000;

/// Events of a parked space that are read at once.
const PAGE: usize = 1_000;

/// Keeps channels in step with their spaces. Several at a time do no harm.
pub struct Following {
    api: CommandApi,
}

/// Spaces whose channels did not come, each with the first of its events that is not followed.
type Parked = BTreeMap<SpaceId, Version>;

/// What a page of the log says about one space.
struct Changed {
    change: Change,
    removals: Vec<Removal>,
}

impl Following {
    /// Carries out what follows by `api`. Nothing happens before [`Following::run`].
    pub const fn new(api: CommandApi) -> Self {
        Self { api }
    }

    /// Follows the log until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut wait = AGAIN_AFTER;
        loop {
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow(&mut wait) => followed,
            };
            if let Err(error) = followed {
                let retry_in_ms = wait.as_millis();
                tracing::warn!(%error, retry_in_ms, "channels do not follow their spaces; tried again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(AGAIN_AFTER_MAX);
            }
        }
    }

    /// Follows until the log cannot be read, or too much is parked.
    async fn follow(&self, wait: &mut Duration) -> Result<(), Failure> {
        let (mut kept, mut parked) = self.place().await?;
        let mut subscription = subscribe_all(self.api.store_port(), kept);
        let mut kept_at = Instant::now();
        let mut again_at = kept_at + PARKED_AGAIN_AFTER;
        loop {
            match tokio::time::timeout_at(again_at, subscription.next()).await {
                Ok(next) => {
                    if let SubscriptionItem::Events(events) = next? {
                        self.bring(changed(&events), &mut parked).await?;
                    }
                }
                Err(_elapsed) => {
                    self.try_parked(&mut parked).await;
                    again_at = Instant::now() + PARKED_AGAIN_AFTER;
                }
            }
            *wait = AGAIN_AFTER;
            tell(&parked);
            let position = subscription.position();
            if position > kept && kept_at.elapsed() >= KEEP_EVERY {
                self.keep(position, &parked).await?;
                (kept, kept_at) = (position, Instant::now());
            }
        }
    }

    /// Brings the channels of several spaces in step, and parks the spaces where that does not succeed.
    async fn bring(&self, changed: Vec<Changed>, parked: &mut Parked) -> Result<(), Failure> {
        let tried = changed.into_iter().map(|it| self.try_often(it));
        let mut tried = stream::iter(tried).buffer_unordered(SPACES_AT_ONCE_MAX);
        while let Some((change, late)) = tried.next().await {
            let Some(error) = late else { continue };
            let Change { space, since, .. } = change;
            let is_full = parked.len() >= PARKED_MAX;
            match parked.entry(space) {
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if is_full => {
                    return Err(Failure::internal("have channels follow", error.to_string()));
                }
                Entry::Vacant(place) => {
                    tracing::error!(%space, %since, %error, "the channels of a space do not follow it; it is parked");
                    place.insert(since);
                }
            }
        }
        Ok(())
    }

    /// Tries a few times. Returns why it did not succeed, if it did not.
    async fn try_often(&self, changed: Changed) -> (Change, Option<Problem>) {
        let Changed { change, removals } = changed;
        let mut wait = AGAIN_AFTER;
        for _ in 1..TRIES_MAX {
            if self
                .api
                .keep_in_step(change, &removals)
                .await
                .late
                .is_none()
            {
                return (change, None);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        (change, self.api.keep_in_step(change, &removals).await.late)
    }

    /// Tries once more what is parked.
    async fn try_parked(&self, parked: &mut Parked) {
        let tried = parked
            .clone()
            .into_iter()
            .map(|(space, since)| async move { (space, self.go_on(space, since).await) });
        let mut tried = stream::iter(tried).buffer_unordered(SPACES_AT_ONCE_MAX);
        let mut followed = Vec::new();
        while let Some((space, outcome)) = tried.next().await {
            match outcome {
                Ok(InStep { late: None, .. }) => followed.push(space),
                Ok(InStep {
                    late: Some(error), ..
                }) => {
                    tracing::warn!(%space, %error, "the channels of a parked space still do not follow it");
                }
                Err(error) => tracing::warn!(%space, %error, "a parked space still cannot be read"),
            }
        }
        for space in followed {
            tracing::info!(%space, "the channels of a parked space follow it again");
            parked.remove(&space);
        }
    }

    /// Brings the channels of a space in step with all that happened in it from `since` on.
    async fn go_on(&self, space: SpaceId, since: Version) -> Result<InStep, Failure> {
        let stream = StreamName::space(space);
        let mut from = since;
        let mut all: Option<Changed> = None;
        loop {
            let read = self
                .api
                .store()
                .read_stream(&stream, from, Direction::Forward, PAGE);
            let events = read.await?;
            let Some(last) = events.last() else { break };
            from = last.version.next();
            for page in changed(&events) {
                match &mut all {
                    Some(all) => all.removals.extend(page.removals),
                    None => all = Some(page),
                }
            }
        }
        Ok(match all {
            Some(Changed { change, removals }) => self.api.keep_in_step(change, &removals).await,
            None => InStep::default(),
        })
    }

    /// How far the log was read, and what is parked; from its beginning where that is not known.
    async fn place(&self) -> Result<(Position, Parked), Failure> {
        let kept = self.api.snapshots().read(&name()?).await?;
        let head = *self.api.store().head().borrow();
        let place = kept.filter(|it| it.shape == SHAPE && it.position <= head);
        let place = place.and_then(|it| {
            let parked: Parked = serde_json::from_slice(&it.body).ok()?;
            Some((it.position, parked))
        });
        Ok(place.unwrap_or((Position::ZERO, Parked::new())))
    }

    async fn keep(&self, position: Position, parked: &Parked) -> Result<(), Failure> {
        let body = serde_json::to_vec(parked);
        let body = body.map_err(|error| Failure::internal("keep a place in the log", error))?;
        let snapshot = Snapshot {
            shape: SHAPE.to_owned(),
            version: Version::ZERO,
            position,
            body: body.into(),
        };
        self.api.snapshots().write(&name()?, snapshot).await
    }
}

fn name() -> Result<StreamName, Failure> {
    StreamName::parse(PLACE).map_err(|error| Failure::internal("name a place in the log", error))
}

fn tell(parked: &Parked) {
    let parked = u32::try_from(parked.len()).unwrap_or(u32::MAX);
    metrics::gauge!("verbatim_spaces_parked").set(parked);
}

/// What `events` say about spaces, each once.
fn changed(events: &[Arc<RecordedEvent>]) -> Vec<Changed> {
    let mut spaces: BTreeMap<SpaceId, Changed> = BTreeMap::new();
    for recorded in events {
        if recorded.stream.category() != "space" || recorded.is_foreign() {
            continue;
        }
        let Ok(space) = recorded.stream.key().parse::<SpaceId>() else {
            continue;
        };
        let (event, metadata) = match (recorded.event(), recorded.metadata()) {
            (Ok(Event::Space(event)), Ok(metadata)) => (event, metadata),
            (Ok(_), Ok(_)) => continue,
            (Err(error), _) => {
                unreadable(recorded, &error);
                continue;
            }
            (Ok(_), Err(error)) => {
                unreadable(recorded, &error);
                continue;
            }
        };
        let by: CommandId = metadata.command_id;
        let cause = (by, metadata.correlation_id.unwrap_or(by));
        let version = recorded.version;
        let changed = spaces.entry(space).or_insert_with(|| Changed {
            change: Change {
                space,
                since: version,
                cause,
            },
            removals: Vec::new(),
        });
        if let SpaceEvent::ChannelRemoved(removed) = event {
            changed.removals.push(Removal {
                version,
                removed,
                cause,
            });
        }
    }
    spaces.into_values().collect()
}

/// The read models park the stream for the same reason.
fn unreadable(recorded: &RecordedEvent, error: &dyn std::error::Error) {
    let position = recorded.position;
    tracing::error!(%position, %error, "an event of a space cannot be read; its channels may be late");
}

#[cfg(test)]
mod tests {
    use domain::{Position, SpaceId, Version};
    use infra::clock::fresh_id;
    use infra::event_store::EventStore as _;

    use super::{Following, Parked};
    use crate::testing::World;

    #[tokio::test]
    async fn the_place_is_kept_and_one_beyond_the_log_is_of_another() {
        let world = World::with(&["alice"]).await;
        let following = Following::new(world.api.clone());
        let place = async || following.place().await.unwrap();
        let nowhere = (Position::ZERO, Parked::new());
        assert_eq!(place().await, nowhere);
        let head = *world.store.head().borrow();
        let parked = Parked::from([(SpaceId(fresh_id()), Version(7))]);
        following.keep(head, &parked).await.unwrap();
        assert_eq!(place().await, (head, parked.clone()));
        following.keep(Position(head.0 + 1), &parked).await.unwrap();
        assert_eq!(place().await, nowhere);
    }
}
