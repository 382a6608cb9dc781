//! How long to wait before trying again what has just failed.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(50);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(1);

/// Doubles the wait with every failure in a row, up to a second.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// Waits for its turn.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    fn next(&mut self) -> Duration {
        let length = self.0;
        self.0 = (length * 2).min(LONGEST);
        length
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn waits_grow_to_a_second() {
        let mut backoff = Backoff::default();
        let waits = [(); 7].map(|()| backoff.next().as_millis());
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }
}
