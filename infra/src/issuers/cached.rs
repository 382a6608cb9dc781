//! What an issuer publishes and changes seldom, kept for a while: fetched by one, and still good for
//! some time when the issuer is away.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::issuers::error::IssuerError;

/// How long a document is taken as it is.
const FRESH_FOR: TimeDelta = TimeDelta::hours(1);

/// How long a document is used while no newer one can be had; then the issuer is away.
const STALE_MAX: TimeDelta = TimeDelta::hours(24);

/// The shortest time between two tries to get a document that is missing or old.
const TRY_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(5);

/// The shortest time between two tries to get one sooner than it grows old, because it lacks something.
const LOOK_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(1);

/// A document of an issuer.
pub(super) struct Cached<T> {
    clock: Clock,
    kept: Mutex<Kept<T>>,
    /// Held by the one who fetches.
    fetching: tokio::sync::Mutex<()>,
}

struct Kept<T> {
    document: Option<(Arc<T>, DateTime<Utc>)>,
    tried_at: Option<DateTime<Utc>>,
    looked_at: Option<DateTime<Utc>>,
}

/// What a kept document is worth.
enum Worth<T> {
    Fresh(Arc<T>),
    Stale(Arc<T>),
    Nothing,
}

impl<T> Cached<T> {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            kept: Mutex::new(Kept {
                document: None,
                tried_at: None,
                looked_at: None,
            }),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The document; fetched by `fetch` where there is none or it is old. Where there is none, whoever
    /// asks meanwhile waits for the one who fetches; where it is old, they get the old one.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<T, IssuerError>>,
    ) -> Result<Arc<T>, IssuerError> {
        match self.worth() {
            Worth::Fresh(document) => Ok(document),
            Worth::Stale(document) => {
                let Ok(_turn) = self.fetching.try_lock() else {
                    return Ok(document);
                };
                if self.tried_within(TRY_AGAIN_AFTER) {
                    return Ok(document);
                }
                Ok(self.fetch(fetch).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "an old document of an issuer is used");
                    document
                }))
            }
            Worth::Nothing => {
                let _turn = self.fetching.lock().await;
                if let Worth::Fresh(document) = self.worth() {
                    return Ok(document);
                }
                if self.tried_within(TRY_AGAIN_AFTER) {
                    let waiting = "it was away a moment ago and is not asked again yet";
                    return Err(IssuerError::Away(waiting.into()));
                }
                self.fetch(fetch).await
            }
        }
    }

    /// A newer document than `known`, which lacked something; `known` again where it was looked for
    /// within [`LOOK_AGAIN_AFTER`], or the issuer is away.
    pub(super) async fn get_newer(
        &self,
        known: Arc<T>,
        fetch: impl Future<Output = Result<T, IssuerError>>,
    ) -> Arc<T> {
        let _turn = self.fetching.lock().await;
        if let Worth::Fresh(document) = self.worth()
            && !Arc::ptr_eq(&document, &known)
        {
            return document;
        }
        let now = self.clock.now();
        let looked_at = self.kept.lock().looked_at.replace(now);
        if looked_at.is_some_and(|at| now - at < LOOK_AGAIN_AFTER) {
            self.kept.lock().looked_at = looked_at;
            return known;
        }
        self.fetch(fetch).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a newer document of an issuer cannot be had");
            known
        })
    }

    async fn fetch(
        &self,
        fetch: impl Future<Output = Result<T, IssuerError>>,
    ) -> Result<Arc<T>, IssuerError> {
        self.kept.lock().tried_at = Some(self.clock.now());
        let document = Arc::new(fetch.await?);
        self.kept.lock().document = Some((Arc::clone(&document), self.clock.now()));
        Ok(document)
    }

    fn worth(&self) -> Worth<T> {
        let kept = self.kept.lock();
        let Some((document, fetched_at)) = &kept.document else {
            return Worth::Nothing;
        };
        let age = self.clock.now() - *fetched_at;
        if age < FRESH_FOR {
            Worth::Fresh(Arc::clone(document))
        } else if age < STALE_MAX {
            Worth::Stale(Arc::clone(document))
        } else {
            Worth::Nothing
        }
    }

    fn tried_within(&self, time: TimeDelta) -> bool {
        let tried_at = self.kept.lock().tried_at;
        tried_at.is_some_and(|at| self.clock.now() - at < time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Source {
        clock: Clock,
        fetched: AtomicU32,
        cached: Cached<u32>,
    }

    impl Source {
        fn new() -> Self {
            let clock = Clock::fixed(Clock::system().now());
            Self {
                cached: Cached::new(&clock),
                fetched: AtomicU32::new(0),
                clock,
            }
        }

        fn later(&self, by: TimeDelta) {
            self.clock.set(self.clock.now() + by);
        }

        async fn up(&self) -> Result<u32, IssuerError> {
            tokio::task::yield_now().await;
            Ok(self.fetched.fetch_add(1, Ordering::SeqCst) + 1)
        }

        async fn down(&self) -> Result<u32, IssuerError> {
            tokio::task::yield_now().await;
            self.fetched.fetch_add(1, Ordering::SeqCst);
            Err(IssuerError::Away("down".into()))
        }

        fn fetched(&self) -> u32 {
            self.fetched.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_fetches() {
        let source = Source::new();
        let asked = (0..20).map(|_| source.cached.get(source.up()));
        for document in futures::future::join_all(asked).await {
            assert_eq!(*document.unwrap(), 1);
        }
        assert_eq!(source.fetched(), 1);
    }

    #[tokio::test]
    async fn an_old_document_is_used_while_the_issuer_is_away_but_not_for_ever() {
        let source = Source::new();
        assert_eq!(*source.cached.get(source.up()).await.unwrap(), 1);
        source.later(FRESH_FOR);
        for _ in 0..3 {
            assert_eq!(*source.cached.get(source.down()).await.unwrap(), 1);
        }
        assert_eq!(source.fetched(), 2, "it is left alone for a moment");
        source.later(TRY_AGAIN_AFTER);
        assert_eq!(*source.cached.get(source.up()).await.unwrap(), 3);
        source.later(STALE_MAX);
        assert!(source.cached.get(source.down()).await.is_err());
        assert!(source.cached.get(source.up()).await.is_err(), "not yet");
        source.later(TRY_AGAIN_AFTER);
        assert_eq!(*source.cached.get(source.up()).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_newer_document_is_looked_for_once_a_minute() {
        let source = Source::new();
        let first = source.cached.get(source.up()).await.unwrap();
        let newer = |known: &Arc<u32>| source.cached.get_newer(Arc::clone(known), source.up());
        let second = newer(&first).await;
        assert_eq!(*second, 2);
        assert_eq!(
            *newer(&first).await,
            2,
            "who knows the first gets the second"
        );
        source.later(LOOK_AGAIN_AFTER - TimeDelta::seconds(1));
        assert_eq!(*newer(&second).await, 2);
        source.later(TimeDelta::seconds(1));
        assert_eq!(*newer(&second).await, 3);
        assert_eq!(source.fetched(), 3);
    }
}
