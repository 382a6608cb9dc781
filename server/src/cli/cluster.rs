//! `verbatim migrate`, `new-secret FILE` and `owner-code`: what is done once where processes share
//! engines.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use infra::event_store::{LogSchema, Migrated, PostgresEventStore};
use infra::failure::Failure;
use infra::keys::Secret;

use crate::cli::CliResult;
use crate::owner_code;
use crate::settings::{self, Settings};

/// What `new-secret` takes.
#[derive(Args, Debug)]
pub struct SecretArguments {
    /// The file to make; give a copy to every process and keep one with your backups
    file: PathBuf,
}

/// Prints the code with which the first owner claims the server.
pub(super) async fn owner_code(settings: Settings) -> CliResult {
    let in_folder = settings.data_dir.join("keys").join("secret");
    let file = settings.secret_file.unwrap_or(in_folder);
    let secret = tokio::task::spawn_blocking(move || Secret::read(&file)).await??;
    writeln!(std::io::stdout().lock(), "{}", owner_code::of(&secret))?;
    eprintln!("it works once; where the server has its first owner, it was used");
    Ok(())
}

/// Makes the event store's tables, or brings them up to this program's version.
pub(super) async fn migrate(settings: &Settings) -> CliResult {
    match settings.event_store.as_deref() {
        Some(url) if settings::is_postgres(url) => {
            let Migrated { from, to } =
                PostgresEventStore::migrate(url, &LogSchema::default()).await?;
            if from == to {
                eprintln!("the event store has version {to} already");
            } else {
                eprintln!("the event store has version {to} now, after {from}");
            }
        }
        Some(_) => eprintln!("nothing to do: this event store looks after itself"),
        None => eprintln!("nothing to do: the event store is in the data folder"),
    }
    Ok(())
}

/// Makes a secret; never in place of another, without which nobody could log in any more.
pub(super) async fn new_secret(arguments: SecretArguments) -> CliResult {
    let file = arguments.file;
    tokio::task::spawn_blocking(move || {
        if file.exists() {
            return Err(format!("{} is there already and is left alone", file.display()).into());
        }
        Secret::create(&file).map_err(|failure: Failure| failure.to_string())?;
        eprintln!("made {}; every process needs the same file", file.display());
        Ok(())
    })
    .await?
}
