//! Following the log: catch up, say so once, go on live. Pull-based, so that a slow follower slows
//! nobody and holds at most one page.

use std::sync::Arc;

use domain::Position;
use tokio::sync::watch;

use crate::event_store::{EventStore, RecordedEvent};
use crate::failure::Failure;

/// Events read at once.
const PAGE: usize = 2_000;

/// A place in the log that moves forward.
pub struct Subscription {
    store: Arc<dyn EventStore>,
    head: watch::Receiver<Position>,
    after: Position,
    caught_up: bool,
}

/// What a [`Subscription`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionItem {
    /// The next events, at least one, in order.
    Events(Vec<Arc<RecordedEvent>>),
    /// All that was there when the subscription began has been yielded. Comes once.
    CaughtUp,
}

impl Subscription {
    pub(super) fn new(store: Arc<dyn EventStore>, after: Position) -> Self {
        let head = store.head();
        Self {
            store,
            head,
            after,
            caught_up: false,
        }
    }

    /// The next item; waits for one. Safe to cancel: nothing is lost. After a failure the same call
    /// may be made again and goes on where it was.
    pub async fn next(&mut self) -> Result<SubscriptionItem, Failure> {
        loop {
            let head = *self.head.borrow_and_update();
            if head > self.after {
                let events = self.store.read_all(self.after, PAGE).await?;
                if let Some(last) = events.last() {
                    self.after = last.position;
                    return Ok(SubscriptionItem::Events(events));
                }
            }
            if !self.caught_up {
                self.caught_up = true;
                return Ok(SubscriptionItem::CaughtUp);
            }
            if self.head.changed().await.is_err() {
                return Err(Failure::unavailable(
                    "follow the log",
                    "the event store was closed",
                ));
            }
        }
    }

    /// The position of the last event that was yielded.
    pub const fn position(&self) -> Position {
        self.after
    }
}
