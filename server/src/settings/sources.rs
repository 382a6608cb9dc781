//! Where settings are read from: the configuration file, and the environment, of which only names are looked
//! at here.

use std::path::Path;

use clap::CommandFactory as _;

use super::{Given, SettingsError};

/// Variables that the tests use; a server started by a test inherits them.
const TEST_VARIABLES: &str = "VERBATIM_TEST_";

/// The settings of a file.
pub(super) fn read_file(path: &Path) -> Result<Given, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::File {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| SettingsError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Refuses a variable that looks like ours but is not.
pub(super) fn refuse_unknown_variables(
    names: impl Iterator<Item = std::ffi::OsString>,
) -> Result<(), SettingsError> {
    let command = crate::cli::Cli::command();
    let mut known: Vec<_> = variables(&command);
    known.extend(command.get_subcommands().flat_map(variables));
    for name in names {
        let Some(name) = name.to_str().filter(|name| name.starts_with("VERBATIM_")) else {
            continue;
        };
        if !name.starts_with(TEST_VARIABLES) && !known.iter().any(|known| known == name) {
            return Err(SettingsError::UnknownVariable(name.to_owned()));
        }
    }
    Ok(())
}

fn variables(command: &clap::Command) -> Vec<String> {
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
