//! Counting by key, with the generic cell rate algorithm (GCRA; ITU-T I.371, appendix I): of each key
//! only one moment is kept, at which all that was taken would be earned again.
//!
//! Of our own, because the crates that do this keep every key until somebody sweeps, and keys are chosen by
//! whoever asks.

use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::limits::rate::{Limit, Rate};
use lru::LruCache;
use parking_lot::Mutex;

/// Keys that are remembered, some 100 bytes each. Keys are chosen by whoever asks, so there has to be a
/// bound: at it the one that did not ask for longest is forgotten, and may take a whole burst again. One
/// that goes on asking is never that one.
const KEYS_MAX: usize = 100_000;

/// Counts what each key takes. Where the limit is off, everything may be taken.
pub struct Limiter<K: Hash + Eq> {
    rate: Option<Rate>,
    /// When all that a key took is earned again.
    earned_at: Mutex<LruCache<K, Instant>>,
    keys_max: usize,
}

/// How things stand for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What counts.
    pub rate: Rate,
    /// How many more it may take at once.
    pub remaining: u32,
    /// How long until it may take the whole burst again.
    pub reset: Duration,
}

/// A key took too much. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many; try again in {} s", .retry_after.as_secs_f64().ceil())]
pub struct Exceeded {
    /// How long until it may take one more.
    pub retry_after: Duration,
    /// How things stand.
    pub standing: Standing,
}

impl<K: Hash + Eq> Limiter<K> {
    /// Counts against `limit`.
    pub fn new(limit: Limit) -> Self {
        Self::with_keys(limit, KEYS_MAX)
    }

    fn with_keys(limit: Limit, keys_max: usize) -> Self {
        Self {
            rate: match limit {
                Limit::Off => None,
                Limit::At(rate) => Some(rate),
            },
            earned_at: Mutex::new(LruCache::unbounded()),
            keys_max,
        }
    }

    /// Takes one for `key` at `now`; `None` where the limit is off.
    ///
    /// # Errors
    /// It took all that it may.
    pub fn take(&self, key: K, now: Instant) -> Result<Option<Standing>, Exceeded> {
        let Some(rate) = self.rate else {
            return Ok(None);
        };
        let (interval, window) = (rate.interval(), rate.window());
        let mut all = self.earned_at.lock();
        let before = all.get(&key).map_or(now, |at| (*at).max(now));
        let after = before + interval;
        let owed = after.duration_since(now);
        if owed > window {
            return Err(Exceeded {
                retry_after: owed.saturating_sub(window),
                standing: Standing {
                    rate,
                    remaining: 0,
                    reset: before.duration_since(now),
                },
            });
        }
        all.put(key, after);
        if all.len() > self.keys_max {
            all.pop_lru();
        }
        let remaining = window.saturating_sub(owed).as_nanos() / interval.as_nanos().max(1);
        Ok(Some(Standing {
            rate,
            // Never more than the burst, which is a u32.
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: owed,
        }))
    }

    /// Gives back one that `key` took.
    pub fn give_back(&self, key: &K) {
        if let Some(rate) = self.rate
            && let Some(at) = self.earned_at.lock().get_mut(key)
        {
            *at -= rate.interval();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Limit, Limiter};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_taken_and_earned_again_one_by_one() {
        let limiter = Limiter::new(Limit::at(1, 1, 3));
        let now = Instant::now();
        for remaining in [2, 1, 0] {
            let standing = limiter.take("a", now).unwrap().unwrap();
            assert_eq!(standing.remaining, remaining);
        }
        let exceeded = limiter.take("a", now).unwrap_err();
        assert_eq!(exceeded.retry_after, SECOND);
        assert_eq!(exceeded.standing.reset, 3 * SECOND);
        assert!(limiter.take("b", now).is_ok(), "another key has its own");
        limiter.take("a", now + SECOND).unwrap();
        limiter.take("a", now + SECOND).unwrap_err();
        let rested = limiter.take("a", now + 9 * SECOND).unwrap().unwrap();
        assert_eq!(rested.remaining, 2);
    }

    #[test]
    fn what_is_given_back_may_be_taken() {
        let limiter = Limiter::new(Limit::at(1, 60, 1));
        let now = Instant::now();
        limiter.take("a", now).unwrap();
        limiter.take("a", now).unwrap_err();
        limiter.give_back(&"a");
        limiter.take("a", now).unwrap();
        limiter.give_back(&"nobody");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limiter = Limiter::new(Limit::Off);
        for _ in 0..10_000 {
            assert_eq!(limiter.take("a", Instant::now()), Ok(None));
        }
        assert!(limiter.earned_at.lock().is_empty());
    }

    #[test]
    fn at_the_bound_the_key_that_rested_longest_is_forgotten() {
        let limiter = Limiter::with_keys(Limit::at(1, 60, 1), 2);
        let now = Instant::now();
        limiter.take("busy", now).unwrap();
        for key in ["a", "b", "c"] {
            limiter.take(key, now).unwrap();
            limiter.take("busy", now).unwrap_err();
        }
        assert_eq!(limiter.earned_at.lock().len(), 2);
        limiter.take("a", now).expect("it was forgotten");
    }

    proptest! {
        /// In no time may more be taken than the burst and what is earned meanwhile.
        #[test]
        fn never_more_than_the_burst_and_what_is_earned(
            count in 1u32..50, seconds in 1u32..20, burst in 1u32..30,
            waits in prop::collection::vec(0u64..2_000, 1..200),
        ) {
            let limiter = Limiter::new(Limit::at(count, seconds, burst));
            let begun = Instant::now();
            let (mut now, mut taken) = (begun, 0.0);
            for wait in waits {
                now += Duration::from_millis(wait);
                if limiter.take((), now).is_ok() {
                    taken += 1.0;
                }
                let elapsed = (now - begun).as_secs_f64();
                let earned = elapsed * f64::from(count) / f64::from(seconds);
                prop_assert!(taken <= f64::from(burst) + earned + 1e-3);
            }
        }
    }
}
