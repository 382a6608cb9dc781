//! The time and fresh ids: the only places where either comes from.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use parking_lot::Mutex;
use uuid::Uuid;

/// Tells the time. `Clock::system()` is the real one; `Clock::fixed` stands still until a test
/// moves it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at`; its clones show the same time.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Source::Fixed(Arc::new(Mutex::new(at))))
    }

    /// Moves a fixed clock; the system's clock is not ours to move.
    pub fn set(&self, at: DateTime<Utc>) {
        if let Source::Fixed(time) = &self.0 {
            *time.lock() = at;
        }
    }

    /// Now, in whole microseconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Fixed(time) => *time.lock(),
        }
    }
}

/// A fresh `UUIDv7`: ordered by time, for things that no command names.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that makes ids"
)]
pub fn fresh_id() -> Uuid {
    Uuid::now_v7()
}
