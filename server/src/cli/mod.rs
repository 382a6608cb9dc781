//! The command line. Each command works on a running server (`--server URL` and a token) or, for
//! the operator, on a data folder that no server holds.

mod cluster;
mod config;
mod import;
mod lines;
mod progress;
mod rebuild;
mod remote;
mod replay;
mod role;
mod second_factors;
mod service;
mod status;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use domain::user::SystemRole;

use crate::settings::{Given, SETTINGS, Settings};
use crate::telemetry;

/// How a command ends badly: a sentence for the person at the terminal.
pub type CliResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Verbatim: a messenger backend whose only primary data is an append-only log of events.
///
/// Without a command it serves: everything in one process, with nothing to configure.
#[derive(Debug, Parser)]
#[command(name = "verbatim", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file in TOML; its keys are the settings below, in snake_case
    #[arg(long, env = "VERBATIM_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// The settings that flags and environment give.
    #[command(flatten)]
    pub given: Given,

    /// Which server to talk to, where it is not a data folder.
    #[command(flatten)]
    pub remote: Remote,

    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A running server, for the commands that can work on one.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "A running server")]
pub struct Remote {
    /// Work on this running server instead of a data folder, such as <http://127.0.0.1:8080>
    #[arg(long, env = "VERBATIM_SERVER", value_name = "URL", global = true)]
    pub server: Option<String>,

    /// Access token for it, of a user whose roles allow the command
    #[arg(
        long,
        env = "VERBATIM_TOKEN",
        value_name = "TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub token: Option<String>,

    /// For https: trust the certificates in this file (PEM) instead of those that this machine trusts
    #[arg(long, env = "VERBATIM_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for Remote {
    /// Without the token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Remote");
        shown.field("server", &self.server).field("ca", &self.ca);
        shown.finish_non_exhaustive()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (the default)
    Serve,
    /// Take in history from another messenger
    #[command(subcommand)]
    Import(Import),
    /// Print events of the log as NDJSON; each use is itself recorded
    Replay(replay::Arguments),
    /// Build read models anew from the log, beside the ones in use
    Rebuild(rebuild::Arguments),
    /// Show positions, the lag of each read model, and connections
    Status(status::Arguments),
    /// Make the event store's tables on PostgreSQL, or bring them up to this version
    Migrate,
    /// Make the secret that all processes of a cluster share
    NewSecret(cluster::SecretArguments),
    /// Print the code with which the first owner claims the server
    OwnerCode,
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Give or take what a user may do on the whole server
    #[command(subcommand)]
    Role(Role),
    /// Help users who lost their second factors
    #[command(subcommand)]
    SecondFactors(second_factors::Arguments),
    /// Make, show and end services: programs with a token of their own
    #[command(subcommand)]
    Service(service::Arguments),
}

/// Where history comes from.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Slack's export: a folder, or the zip as it was downloaded. Running it again adds nothing
    Slack(SlackArguments),
}

/// What `import slack` takes.
#[derive(Args, Clone, Debug)]
pub struct SlackArguments {
    /// The folder or the zip
    pub path: PathBuf,
    /// Handle or id of the user who becomes the owner of the imported public channels. Without one
    /// their creators do, who cannot log in
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
}

/// About the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check flags, environment and file, and print the settings in force
    Check,
}

/// About system roles.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Let a user do more
    Grant(RoleOfUser),
    /// Let a user do less
    Revoke(RoleOfUser),
}

/// A role and a user.
#[derive(Args, Debug)]
pub struct RoleOfUser {
    /// Which role; `role` is the id of the setting
    #[arg(id = "system_role", value_name = "ROLE")]
    pub role: RoleName,
    /// The user's handle or id
    pub user: String,
}

/// A system role as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    /// Gives and takes roles, and everything an admin may
    Owner,
    /// Runs the server: imports, rebuilds, services, standing, and everything an analyst may
    Admin,
    /// Reads the whole log, on the record
    Auditor,
    /// Reads how the server is doing
    Analyst,
}

impl From<RoleName> for SystemRole {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Auditor => Self::Auditor,
            RoleName::Analyst => Self::Analyst,
        }
    }
}

/// Settings that the help of every command shows: where what it works on is. All of them count there too.
const SETTINGS_OF_COMMANDS: [&str; 3] = ["data_dir", "event_store", "database_url"];

/// The command line, of which each command's help is about the command.
fn command_line() -> clap::Command {
    let mut line = Cli::command();
    // From then on its commands have the settings.
    line.build();
    line.mut_subcommands(about_itself)
}

fn about_itself(command: clap::Command) -> clap::Command {
    let also = match command.get_name() {
        "serve" | "config" => return command,
        "owner-code" => Some("secret_file"),
        _ => None,
    };
    let is_of_serving = |setting: &clap::Arg| {
        let id = setting.get_id().as_str();
        setting.get_help_heading() == Some(SETTINGS)
            && !SETTINGS_OF_COMMANDS.contains(&id)
            && also != Some(id)
    };
    command
        .mut_args(|setting| {
            if is_of_serving(&setting) {
                setting.hide(true)
            } else {
                setting
            }
        })
        .after_help("`verbatim --help` shows all settings; each of them counts here too.")
        .mut_subcommands(about_itself)
}

/// The whole program: reads the command line, does what was asked, says what went wrong. Not async, so
/// that it is compiled here once and not again in every binary.
pub fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verbatim: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> CliResult {
        let settings = Settings::load(&self.given, self.config.as_deref())?;
        telemetry::start_log(&settings)?;
        let remote = remote::Client::new(&self.remote)?;
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => crate::serve::serve(settings).await,
            Command::Import(Import::Slack(arguments)) => match remote {
                Some(server) => import::on_server(&server, arguments).await,
                None => import::on_folder(settings, arguments).await,
            },
            Command::Replay(arguments) => match remote {
                Some(server) => replay::on_server(&server, &arguments).await,
                None => replay::on_folder(settings, &arguments).await,
            },
            Command::Rebuild(arguments) => match remote {
                Some(server) => rebuild::on_server(&server, &arguments).await,
                None => rebuild::on_folder(settings, &arguments).await,
            },
            Command::Status(arguments) => match remote {
                Some(server) => status::on_server(&server, &arguments).await,
                None => status::on_folder(settings, &arguments).await,
            },
            Command::Migrate => cluster::migrate(&settings).await,
            Command::OwnerCode => cluster::owner_code(settings).await,
            Command::NewSecret(arguments) => cluster::new_secret(arguments).await,
            Command::Config(Config::Check) => config::check(&settings),
            Command::Role(role) => match remote {
                Some(server) => role::on_server(&server, role).await,
                None => role::on_folder(settings, role).await,
            },
            Command::SecondFactors(arguments) => match remote {
                Some(server) => second_factors::on_server(&server, arguments).await,
                None => second_factors::on_folder(settings, arguments).await,
            },
            Command::Service(arguments) => match remote {
                Some(server) => service::on_server(&server, arguments).await,
                None => service::on_folder(settings, arguments).await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(arguments: &[&str]) -> String {
        let asked = command_line().try_get_matches_from(arguments);
        asked.expect_err("help is no command").to_string()
    }

    #[test]
    fn the_help_of_a_command_is_about_the_command() {
        let status = help(&["verbatim", "status", "--help"]);
        assert!(status.contains("--data-dir") && status.contains("--server"));
        assert!(!status.contains("--smtp-url"), "{status}");
        let slack = help(&["verbatim", "import", "slack", "--help"]);
        assert!(slack.contains("--owner") && !slack.contains("--smtp-url"));
        let code = help(&["verbatim", "owner-code", "--help"]);
        assert!(code.contains("--secret-file") && !code.contains("--smtp-url"));
        for all in [
            ["verbatim", "--help"].as_slice(),
            &["verbatim", "serve", "--help"],
            &["verbatim", "config", "check", "--help"],
        ] {
            assert!(help(all).contains("--smtp-url"));
        }
    }

    #[test]
    fn settings_count_for_every_command_though_its_help_does_not_have_them() {
        let line = [
            "verbatim",
            "import",
            "slack",
            "export",
            "--listen",
            "127.0.0.1:1",
        ];
        let matches = command_line().try_get_matches_from(line).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        assert_eq!(cli.given.listen, Some(([127, 0, 0, 1], 1).into()));
    }
}
