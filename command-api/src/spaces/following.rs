//! Following the log for changes of spaces, so that channels come in step also where the process that
//! changed the space ended before they did. The log is the queue; how far it was read is kept where
//! snapshots are, and may be lost: what is read again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::space::SpaceEvent;
use domain::{CommandId, ConversationId, Event, Position, SpaceId, StreamName, UserId, Version};
use infra::event_store::{RecordedEvent, SubscriptionItem, subscribe_all};
use infra::failure::Failure;
use infra::problem::Problem;
use infra::snapshots::Snapshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::step::Change;
use crate::CommandApi;

/// Under which name the place in the log is kept; no stream is called so.
const PLACE: &str = "$spaces-followed";

/// The shape of what is kept: nothing but the place.
const SHAPE: &str = "place";

/// How often the place is kept, at most.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The first wait after a failure; it doubles with each.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// No wait is longer.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);

/// Keeps channels in step with their spaces. Several at a time do no harm.
pub struct Following {
    api: CommandApi,
}

/// What a page of the log says about one space.
struct Changed {
    change: Change,
    gone: Vec<ConversationId>,
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

    /// Follows until something fails.
    async fn follow(&self, wait: &mut Duration) -> Result<(), Problem> {
        let mut kept = self.place().await?;
        let mut subscription = subscribe_all(self.api.store_port(), kept);
        let mut kept_at = Instant::now();
        loop {
            if let SubscriptionItem::Events(events) = subscription.next().await? {
                for changed in changed(&events) {
                    self.api.keep_in_step(changed.change, &changed.gone).await?;
                }
            }
            *wait = AGAIN_AFTER;
            let position = subscription.position();
            if position > kept && kept_at.elapsed() >= KEEP_EVERY {
                self.keep(position).await?;
                (kept, kept_at) = (position, Instant::now());
            }
        }
    }

    /// How far the log was read; from its beginning where that is not known.
    async fn place(&self) -> Result<Position, Failure> {
        let kept = self.api.snapshots().read(&name()?).await?;
        let head = *self.api.store().head().borrow();
        let place = kept.filter(|it| it.shape == SHAPE && it.position <= head);
        Ok(place.map_or(Position::ZERO, |it| it.position))
    }

    async fn keep(&self, position: Position) -> Result<(), Failure> {
        let snapshot = Snapshot {
            shape: SHAPE.to_owned(),
            version: Version::ZERO,
            position,
            body: Bytes::new(),
        };
        self.api.snapshots().write(&name()?, snapshot).await
    }
}

fn name() -> Result<StreamName, Failure> {
    StreamName::parse(PLACE).map_err(|error| Failure::internal("name a place in the log", error))
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
        let cause: CommandId = metadata.command_id;
        let by = metadata.actor.user().unwrap_or(UserId(space.0));
        let changed = spaces.entry(space).or_insert_with(|| Changed {
            change: Change {
                space,
                since: recorded.version,
                by,
                cause: (cause, metadata.correlation_id.unwrap_or(cause)),
            },
            gone: Vec::new(),
        });
        if let SpaceEvent::ChannelRemoved(removed) = event {
            changed.gone.push(removed.channel);
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
    use domain::Position;
    use infra::event_store::EventStore as _;

    use super::Following;
    use crate::testing::World;

    #[tokio::test]
    async fn the_place_is_kept_and_one_beyond_the_log_is_of_another() {
        let world = World::with(&["alice"]).await;
        let following = Following::new(world.api.clone());
        let place = async || following.place().await.unwrap();
        assert_eq!(place().await, Position::ZERO);
        let head = *world.store.head().borrow();
        following.keep(head).await.unwrap();
        assert_eq!(place().await, head);
        following.keep(Position(head.0 + 1)).await.unwrap();
        assert_eq!(place().await, Position::ZERO);
    }
}
