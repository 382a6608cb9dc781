//! Answers whose time says nothing: they come at whole multiples of a step after the question, so that
//! what was looked up, written or not written on the way does not show.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Longer than what any of the questions takes on a server that is not overloaded. Where one takes longer
/// it is answered a step later.
pub(crate) const STEP: Duration = Duration::from_millis(250);

/// When a question came.
pub(crate) struct Begun(Instant);

impl Begun {
    /// It came just now.
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// Waits until the next whole multiple of [`STEP`] after the question.
    pub(crate) async fn step(self) {
        let whole_steps = self.0.elapsed().as_nanos() / STEP.as_nanos();
        let steps = u32::try_from(whole_steps).unwrap_or(u32::MAX);
        sleep_until(self.0 + STEP.saturating_mul(steps.saturating_add(1))).await;
    }
}

/// Does `work`; returns at the first multiple of [`STEP`] after its end.
pub(crate) async fn evenly<T>(work: impl Future<Output = T>) -> T {
    let begun = Begun::now();
    let result = work.await;
    begun.step().await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_shorter_or_longer_ends_at_a_step() {
        let ms = Duration::from_millis;
        for (took, answered) in [(0, 250), (1, 250), (249, 250), (251, 500), (1_100, 1_250)] {
            let begun = Instant::now();
            evenly(tokio::time::sleep(ms(took))).await;
            assert_eq!(begun.elapsed(), ms(answered), "{took}");
        }
    }
}
