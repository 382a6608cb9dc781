//! `verbatim config check`: the settings in force, as a configuration file would say them.

use std::io::Write as _;

use crate::cli::CliResult;
use crate::settings::Settings;

/// Prints `settings`, which are valid if it comes to this.
pub(super) fn check(settings: &Settings) -> CliResult {
    let text = toml::to_string(settings)?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
