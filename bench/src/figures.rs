//! Numbers that figures share: percentiles of one run, median and spread of several.

use std::time::Duration;

use serde::Serialize;

/// One run of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    /// Operations a second.
    pub(crate) per_second: f64,
    /// Median latency in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the latency in milliseconds.
    pub(crate) p99_ms: f64,
}

impl Run {
    /// Sums up a run that took `elapsed`.
    pub(crate) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let at = |part: usize| {
            let index = (latencies.len() * part / 100).min(latencies.len().saturating_sub(1));
            latencies
                .get(index)
                .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        Self {
            per_second: rate(latencies.len(), elapsed),
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }
}

/// Operations a second.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The middle of several runs and how far they lie apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    /// Half of the runs are above it.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) min: f64,
    /// The highest.
    pub(crate) max: f64,
}

impl Spread {
    /// Sums up at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

/// The median of the runs' median latencies, in milliseconds.
pub(crate) fn p50_ms(runs: &[Run]) -> f64 {
    Spread::of(runs.iter().map(|run| run.p50_ms)).median
}

/// The median of their 99th percentiles, in milliseconds.
pub(crate) fn p99_ms(runs: &[Run]) -> f64 {
    Spread::of(runs.iter().map(|run| run.p99_ms)).median
}

/// Prints the latencies of several sides.
pub(crate) fn print_latencies(sides: &[(&str, &[Run])]) {
    println!("             p50 ms (least to most)     p99 ms (least to most)");
    for (name, runs) in sides {
        let p50 = Spread::of(runs.iter().map(|run| run.p50_ms));
        let p99 = Spread::of(runs.iter().map(|run| run.p99_ms));
        println!(
            "  {name:<9}  {:>6.3} ({:.3} to {:.3})    {:>6.3} ({:.3} to {:.3})",
            p50.median, p50.min, p50.max, p99.median, p99.min, p99.max
        );
    }
}
