//! Hearing of committed events: batch by batch in the order of the log, of which a process takes the
//! events that somebody there wants.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Position, StreamName};

use crate::event_store::{
    EventStore, RecordedEvent, Subscription, SubscriptionItem, subscribe_all,
};
use crate::failure::Failure;

/// An event as it is announced: enough to know who wants it.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// Of which stream.
    pub stream: &'a StreamName,
    /// The stored type.
    pub event_type: &'a str,
}

/// How much somebody wants an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Not at all.
    None,
    /// This one, and not those that come after it in its stream.
    Once,
    /// This one, and for now all that come in its stream.
    Lasting,
}

/// A follower of the log that gets what it wants of each batch. Batches are in the order of the log
/// and leave nothing out; a failed call may be made again and goes on where it was.
#[async_trait]
pub trait LiveEvents: Send + 'static {
    /// Everything up to here was taken.
    fn position(&self) -> Position;

    /// Waits for a batch and says up to where it goes. Safe to cancel; called again before
    /// [`LiveEvents::take`], it says the same or more.
    async fn next(&mut self) -> Result<Position, Failure>;

    /// Takes the batch: its events that are of `interest`, in order; others may be among them.
    async fn take(
        &mut self,
        interest: &(dyn for<'a> Fn(Announced<'a>) -> Interest + Send + Sync),
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure>;
}

/// [`LiveEvents`] straight from the log, where it is in the same process: everything is there anyway.
pub struct LogEvents {
    subscription: Subscription,
    at: Position,
    batch: Vec<Arc<RecordedEvent>>,
}

impl LogEvents {
    /// What is committed after `after`.
    pub fn new(store: &Arc<dyn EventStore>, after: Position) -> Self {
        Self {
            subscription: subscribe_all(Arc::clone(store), after),
            at: after,
            batch: Vec::new(),
        }
    }
}

#[async_trait]
impl LiveEvents for LogEvents {
    fn position(&self) -> Position {
        self.at
    }

    async fn next(&mut self) -> Result<Position, Failure> {
        while self.batch.is_empty() {
            if let SubscriptionItem::Events(events) = self.subscription.next().await? {
                self.batch = events;
            }
        }
        Ok(self.subscription.position())
    }

    async fn take(
        &mut self,
        _interest: &(dyn for<'a> Fn(Announced<'a>) -> Interest + Send + Sync),
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.at = self.subscription.position();
        Ok(std::mem::take(&mut self.batch))
    }
}
