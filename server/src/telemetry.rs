//! Logs to standard error, metrics for Prometheus.

use std::io::{IsTerminal as _, stderr};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{LogFormat, Settings};

/// Upper bounds of the buckets of durations, in seconds: from a cached read to a stalled disk.
const DURATION_BUCKETS_S: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of the buckets of how many went together: requests of a group, commands of a group.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];

/// Targets of our own. At the level `trace` libraries write down what they carry, tokens and messages among
/// it: there only we are heard, whatever the filter says.
const OURS: [&str; 9] = [
    "command_api",
    "domain",
    "door",
    "gateway",
    "infra",
    "projector",
    "query_api",
    "server",
    "verbatim",
];

/// Telemetry that cannot be set up. The text says why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The filter of the logs is not one.
    #[error("log = {filter:?} is not a level or a list of directives: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is a subscriber already.
    #[error("cannot install the log: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// There is a recorder already.
    #[error("cannot install the metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Starts logging, as the settings say.
pub(crate) fn start_log(settings: &Settings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&settings.log)
        .map_err(|source| TelemetryError::Filter {
            filter: settings.log.clone(),
            source,
        })?;
    let by_terminal = if stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match settings.log_format.unwrap_or(by_terminal) {
        LogFormat::Text => builder
            .with_ansi(stderr().is_terminal())
            .finish()
            .with(filter_fn(is_fit_to_write))
            .try_init()?,
        LogFormat::Json => {
            builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .finish()
                .with(filter_fn(is_fit_to_write))
                .try_init()?;
        }
    }
    Ok(())
}

/// Whether something may be written, if the filter wants it.
fn is_fit_to_write(metadata: &Metadata<'_>) -> bool {
    let of = metadata.target().split("::").next();
    *metadata.level() != Level::TRACE || of.is_some_and(|of| OURS.contains(&of))
}

/// Starts counting; the handle renders what `/metrics` serves.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    Ok(PrometheusBuilder::new()
        .set_buckets(DURATION_BUCKETS_S)?
        .set_buckets_for_metric(Matcher::Suffix("_group_size".to_owned()), COUNT_BUCKETS)?
        .install_recorder()?)
}
