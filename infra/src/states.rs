//! Reading the state of a stream without deciding on it: who a session belongs to, what a user may
//! do. Straight from the log, so that it works while read models are rebuilt.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Decider, StreamName, Version};
use futures::future::BoxFuture;
use moka::future::Cache;

use crate::clock::Clock;
use crate::event_store::{Direction, EventStore};
use crate::failure::Failure;

/// States of streams of one kind, kept for a while. What is returned is at most
/// [`States::AGE_MAX`] old.
pub struct States<D: Decider> {
    store: Arc<dyn EventStore>,
    clock: Clock,
    cache: KeptStates,
    kind: PhantomData<fn() -> D>,
}

/// What is kept, without the type of the states: the cache's code is large, and so it is compiled once
/// and not for each kind of stream in each crate.
struct KeptStates(Cache<StreamName, Kept>);

#[derive(Clone)]
struct Kept {
    state: Arc<dyn Any + Send + Sync>,
    version: Version,
    read_at: DateTime<Utc>,
}

/// Events read at once.
const PAGE: usize = 1_000;

/// States kept at most; the least used go first and are read again when needed.
const KEPT_MAX: u64 = 100_000;

impl KeptStates {
    fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(KEPT_MAX)
            .time_to_idle(Duration::from_mins(10))
            .build();
        Self(cache)
    }

    /// What is kept of `stream`; where that is nothing, what `read` gives. Of many who ask at once one
    /// reads, as it may be long, and the others wait.
    fn get_or<'a>(
        &'a self,
        stream: &'a StreamName,
        read: BoxFuture<'a, Result<Kept, Failure>>,
    ) -> BoxFuture<'a, Result<Kept, Failure>> {
        Box::pin(async move {
            let kept = self.0.try_get_with_by_ref(stream, read).await;
            kept.map_err(Arc::unwrap_or_clone)
        })
    }

    fn insert(&self, stream: StreamName, kept: Kept) -> BoxFuture<'_, ()> {
        Box::pin(self.0.insert(stream, kept))
    }

    fn forget<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, ()> {
        Box::pin(self.0.invalidate(stream))
    }
}

impl<D: Decider> States<D> {
    /// How old a state may be before the log is asked whether there is more.
    pub const AGE_MAX: TimeDelta = TimeDelta::milliseconds(500);

    /// States of streams in `store`.
    pub fn new(store: Arc<dyn EventStore>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            cache: KeptStates::new(),
            kind: PhantomData,
        }
    }

    /// The state of `stream`, at most [`Self::AGE_MAX`] old.
    pub async fn recent(&self, stream: &StreamName) -> Result<Arc<D::State>, Failure> {
        let (kept, is_fresh) = self.kept(stream).await?;
        // A clock that was set back makes it as good as old.
        let age = self.clock.now() - kept.read_at;
        if is_fresh || (TimeDelta::zero()..Self::AGE_MAX).contains(&age) {
            return Self::state(&kept);
        }
        self.read_on(stream, kept).await
    }

    /// The state of `stream` with everything that was appended before this call.
    pub async fn current(&self, stream: &StreamName) -> Result<Arc<D::State>, Failure> {
        let (kept, is_fresh) = self.kept(stream).await?;
        if is_fresh {
            return Self::state(&kept);
        }
        self.read_on(stream, kept).await
    }

    /// Drops what is kept of `stream`, so that the next call reads the log.
    pub async fn forget(&self, stream: &StreamName) {
        self.cache.forget(stream).await;
    }

    /// What is kept of `stream`, and whether this call has read it just now.
    async fn kept(&self, stream: &StreamName) -> Result<(Kept, bool), Failure> {
        let mut is_fresh = false;
        let read = Box::pin(async {
            is_fresh = true;
            self.read(stream, Arc::default(), Version::ZERO).await
        });
        let kept = self.cache.get_or(stream, read).await?;
        Ok((kept, is_fresh))
    }

    async fn read_on(&self, stream: &StreamName, kept: Kept) -> Result<Arc<D::State>, Failure> {
        let (state, version) = (Self::state(&kept)?, kept.version);
        drop(kept);
        let kept = self.read(stream, state, version).await?;
        let state = Self::state(&kept)?;
        self.cache.insert(stream.clone(), kept).await;
        Ok(state)
    }

    /// The state in `kept`, which is of this kind because nobody else has this cache.
    fn state(kept: &Kept) -> Result<Arc<D::State>, Failure> {
        Arc::clone(&kept.state)
            .downcast()
            .map_err(|_| Failure::internal("read a stream", "a state of another kind is kept"))
    }

    /// The state of `stream`, which at `version` was `state`.
    async fn read(
        &self,
        stream: &StreamName,
        mut state: Arc<D::State>,
        mut version: Version,
    ) -> Result<Kept, Failure> {
        let read_at = self.clock.now();
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
        Ok(Kept {
            state,
            version,
            read_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use domain::reservation::Reservation;
    use domain::{Position, UserId};
    use futures::future::join_all;
    use tokio::sync::watch;

    use super::*;
    use crate::event_store::{
        AppendError, Appended, Expected, MemoryEventStore, NewEvent, RecordedEvent,
    };

    /// A log that is slow to read and counts who reads it from the start.
    struct Slow {
        inner: MemoryEventStore,
        from_the_start: AtomicUsize,
    }

    #[async_trait]
    impl EventStore for Slow {
        async fn append(
            &self,
            stream: &StreamName,
            expected: Expected,
            events: Vec<NewEvent>,
        ) -> Result<Appended, AppendError> {
            self.inner.append(stream, expected, events).await
        }

        async fn read_stream(
            &self,
            stream: &StreamName,
            from: Version,
            direction: Direction,
            limit: usize,
        ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
            if from == Version(1) {
                self.from_the_start.fetch_add(1, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            self.inner.read_stream(stream, from, direction, limit).await
        }

        async fn read_all(
            &self,
            after: Position,
            limit: usize,
        ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
            self.inner.read_all(after, limit).await
        }

        fn head(&self) -> watch::Receiver<Position> {
            self.inner.head()
        }
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_reads_the_stream_from_its_start() {
        let clock = Clock::system();
        let store = Arc::new(Slow {
            inner: MemoryEventStore::new(clock.clone()),
            from_the_start: AtomicUsize::default(),
        });
        let stream = StreamName::owner();
        let user = UserId(uuid::Uuid::from_u128(7));
        let claimed = NewEvent {
            id: domain::EventId(user.0),
            event_type: "claimed".into(),
            schema: 1,
            data: serde_json::json!({ "user": user }).to_string().into(),
            metadata: "{}".into(),
        };
        let appended = store.append(&stream, Expected::NoStream, vec![claimed]);
        appended.await.unwrap();
        let port = Arc::clone(&store) as Arc<dyn EventStore>;
        let states = States::<Reservation>::new(port, clock);
        let asked = (0..50).map(|_| states.recent(&stream));
        for state in join_all(asked).await {
            assert_eq!(state.unwrap().holder, Some(user));
        }
        assert_eq!(store.from_the_start.load(Ordering::SeqCst), 1);
    }
}
