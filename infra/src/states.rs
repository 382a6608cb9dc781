//! Reading the state of a stream without deciding on it: who a session belongs to, what a user may
//! do. Straight from the log, so that it works while read models are rebuilt.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Decider, StreamName, Version};
use moka::future::Cache;

use crate::clock::Clock;
use crate::event_store::{Direction, EventStore};
use crate::failure::Failure;

/// States of streams of one kind, kept for a while. What is returned is at most
/// [`States::AGE_MAX`] old.
pub struct States<D: Decider> {
    store: Arc<dyn EventStore>,
    clock: Clock,
    cache: Cache<StreamName, Kept<D>>,
}

struct Kept<D: Decider> {
    state: Arc<D::State>,
    version: Version,
    read_at: DateTime<Utc>,
}

impl<D: Decider> Clone for Kept<D> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            version: self.version,
            read_at: self.read_at,
        }
    }
}

/// Events read at once.
const PAGE: usize = 1_000;

/// States kept at most; the least used go first and are read again when needed.
const KEPT_MAX: u64 = 100_000;

impl<D: Decider> States<D> {
    /// How old a state may be before the log is asked whether there is more.
    pub const AGE_MAX: TimeDelta = TimeDelta::milliseconds(500);

    /// States of streams in `store`.
    pub fn new(store: Arc<dyn EventStore>, clock: Clock) -> Self {
        let cache = Cache::builder()
            .max_capacity(KEPT_MAX)
            .time_to_idle(Duration::from_mins(10))
            .build();
        Self {
            store,
            clock,
            cache,
        }
    }

    /// The state of `stream`, at most [`Self::AGE_MAX`] old.
    pub async fn recent(&self, stream: &StreamName) -> Result<Arc<D::State>, Failure> {
        match self.cache.get(stream).await {
            Some(kept) if self.clock.now() - kept.read_at < Self::AGE_MAX => Ok(kept.state),
            kept => self.read_on(stream, kept).await,
        }
    }

    /// The state of `stream` with everything that was appended before this call.
    pub async fn current(&self, stream: &StreamName) -> Result<Arc<D::State>, Failure> {
        let kept = self.cache.get(stream).await;
        self.read_on(stream, kept).await
    }

    /// Drops what is kept of `stream`, so that the next call reads the log.
    pub async fn forget(&self, stream: &StreamName) {
        self.cache.invalidate(stream).await;
    }

    async fn read_on(
        &self,
        stream: &StreamName,
        kept: Option<Kept<D>>,
    ) -> Result<Arc<D::State>, Failure> {
        let read_at = self.clock.now();
        let (mut state, mut version) = match kept {
            Some(kept) => (kept.state, kept.version),
            None => (Arc::new(D::State::default()), Version::ZERO),
        };
        loop {
            let events = self
                .store
                .read_stream(stream, version.next(), Direction::Forward, PAGE)
                .await?;
            let Some(last) = events.last() else { break };
            version = last.version;
            let mut next = Arc::unwrap_or_clone(state);
            for recorded in &events {
                let event = recorded
                    .event()
                    .map_err(|e| Failure::internal("read a stream", e))?;
                let event = D::Event::try_from(event)
                    .map_err(|_| Failure::internal("read a stream", "event of another category"))?;
                next = D::evolve(next, recorded.version, &event);
            }
            state = Arc::new(next);
            if events.len() < PAGE {
                break;
            }
        }
        let kept = Kept {
            state: Arc::clone(&state),
            version,
            read_at,
        };
        self.cache.insert(stream.clone(), kept).await;
        Ok(state)
    }
}
