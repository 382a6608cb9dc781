//! Progress on standard error: a bar on a terminal, nothing where nobody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for work of `total` steps, of which `unit` names one.
pub(super) fn bar(total: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{msg}} {{elapsed}}");
    bar.set_style(
        // The template is ours and well-formed; if it were not, the default bar would do.
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
