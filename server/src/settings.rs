//! What can be configured, once: every setting is a flag, an environment variable and a key of the
//! configuration file. A flag wins over the environment, the environment over the file, the file
//! over the default. Unknown keys and unknown `VERBATIM_…` variables are refused.

mod edge;
mod error;
mod files;
mod given;
mod passkeys;
mod shown;
mod sources;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use command_api::PasswordCost;
use domain::values::{DisplayName, Email};
use door::SERVICE_TOKEN_BYTES_MIN;
use infra::mail::check_smtp_url;
use serde::{Deserialize, Serialize};

use crate::issuer_settings::{self, IssuerTable};
use crate::role::Role;

pub use edge::Edge;
pub use error::SettingsError;
pub use files::Files;
pub use given::{Given, SETTINGS};
use shown::{hidden, without_credentials, without_password};
use sources::{read_file, refuse_unknown_variables};

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings in force.
#[derive(Clone, Serialize)]
pub struct Settings {
    /// Folder that holds everything.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Which part of the work the process does.
    pub role: Role,
    /// Address of the event store; `None` is SQLite in the data folder. May hold a password.
    #[serde(serialize_with = "without_password")]
    pub event_store: Option<String>,
    /// Addresses of NATS; `None` is within the process. May hold passwords.
    #[serde(serialize_with = "without_credentials")]
    pub nats_url: Option<String>,
    /// First token of every NATS subject.
    pub nats_prefix: String,
    /// How much of the log JetStream keeps, in MiB.
    pub nats_window_mib: u32,
    /// NATS servers that keep a copy each.
    pub nats_replicas: usize,
    /// File with the secret that all processes share; `None` is in the data folder.
    pub secret_file: Option<PathBuf>,
    /// PostgreSQL read database; `None` is SQLite in the data folder. May hold a password.
    #[serde(serialize_with = "without_password")]
    pub database_url: Option<String>,
    /// Where the log is served over KurrentDB's protocol; `None` is nowhere.
    pub eventstore_listen: Option<SocketAddr>,
    /// The secret of services there.
    #[serde(serialize_with = "hidden")]
    pub eventstore_token: Option<String>,
    /// Whether services may delete streams there.
    pub eventstore_allow_delete: bool,
    /// Certificates for TLS there.
    pub eventstore_tls_cert: Option<PathBuf>,
    /// The private key.
    pub eventstore_tls_key: Option<PathBuf>,
    /// The mail server; `None` is a folder in the data folder. May hold a password.
    #[serde(serialize_with = "without_password")]
    pub smtp_url: Option<String>,
    /// The address that mails are from.
    pub mail_from: String,
    /// What the server calls itself in mails.
    pub public_name: String,
    /// Whether pushes go to private addresses, and without TLS.
    pub push_anywhere: bool,
    /// Seconds that a push waits for its message to be seen.
    pub push_delay_seconds: u32,
    /// Shortest absence after which a digest is mailed, in seconds.
    pub digest_seconds_min: u32,
    /// Memory that hashing a password takes, in KiB.
    pub password_memory_kib: u32,
    /// How often hashing a password goes through that memory.
    pub password_passes: u32,
    /// Hours a login lasts.
    pub session_hours: u32,
    /// Minutes an access token is good.
    pub access_token_minutes: u32,
    /// Which keys sign access tokens; those of another generation are not known.
    pub token_key_generation: u32,
    /// Whether browsers may send cookies without TLS.
    pub insecure_cookies: bool,
    /// The domain that passkeys are for.
    pub passkey_domain: String,
    /// Where they may be used; empty is at the domain itself.
    pub passkey_origins: Vec<String>,
    /// Largest archive over HTTP, in MiB.
    pub import_mib_max: u32,
    /// What holds for attachments.
    #[serde(flatten)]
    pub files: Files,
    /// Connections of one user at a time.
    pub connections_per_user_max: usize,
    /// Commands a second of one connection.
    pub commands_per_second_max: u32,
    /// What holds at the edge.
    #[serde(flatten)]
    pub edge: Edge,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u32,
    /// Seconds a stopping server waits for its clients.
    pub drain_seconds: u32,
    /// What is logged.
    pub log: String,
    /// How it is written; `None` decides by the terminal.
    pub log_format: Option<LogFormat>,
    /// Whose word lets people in.
    #[serde(rename = "issuer", skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerTable>,
}

impl fmt::Debug for Settings {
    /// As they are shown: without secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = toml::to_string(self).map_err(|_| fmt::Error)?;
        write!(out, "Settings({shown:?})")
    }
}

impl Settings {
    /// The settings that flags and environment (`given`) and the file at `path` make.
    pub fn load(given: &Given, path: Option<&Path>) -> Result<Self, SettingsError> {
        refuse_unknown_variables(std::env::vars_os().map(|(name, _)| name))?;
        let file = path.map(read_file).transpose()?.unwrap_or_default();
        Self::merge(given.clone(), file)
    }

    fn merge(first: Given, then: Given) -> Result<Self, SettingsError> {
        macro_rules! take {
            ($name:ident, $default:expr) => {
                first.$name.or(then.$name).unwrap_or_else(|| $default)
            };
        }
        let edge = Edge::merge(&first, &then);
        let files = Files::merge(&first, &then);
        let smtp_url = first.smtp_url.or(then.smtp_url);
        let settings = Self {
            data_dir: take!(data_dir, "verbatim-data".into()),
            listen: take!(listen, SocketAddr::from(([127, 0, 0, 1], 8080))),
            role: take!(role, Role::All),
            event_store: first.event_store.or(then.event_store),
            nats_url: first.nats_url.or(then.nats_url),
            nats_prefix: take!(nats_prefix, "verbatim".to_owned()),
            nats_window_mib: take!(nats_window_mib, 1024),
            nats_replicas: take!(nats_replicas, 1),
            secret_file: first.secret_file.or(then.secret_file),
            database_url: first.database_url.or(then.database_url),
            eventstore_listen: first.eventstore_listen.or(then.eventstore_listen),
            eventstore_token: first.eventstore_token.or(then.eventstore_token),
            eventstore_allow_delete: take!(eventstore_allow_delete, false),
            eventstore_tls_cert: first.eventstore_tls_cert.or(then.eventstore_tls_cert),
            eventstore_tls_key: first.eventstore_tls_key.or(then.eventstore_tls_key),
            mail_from: match (first.mail_from.or(then.mail_from), &smtp_url) {
                (Some(address), _) => address,
                (None, None) => "verbatim@localhost".to_owned(),
                (None, Some(_)) => return Err(SettingsError::MailFrom),
            },
            smtp_url,
            public_name: take!(public_name, "Verbatim".to_owned()),
            push_anywhere: take!(push_anywhere, false),
            push_delay_seconds: take!(push_delay_seconds, 5),
            digest_seconds_min: take!(digest_seconds_min, 900),
            password_memory_kib: take!(password_memory_kib, PasswordCost::default().memory_kib),
            password_passes: take!(password_passes, PasswordCost::default().passes),
            session_hours: take!(session_hours, 720),
            access_token_minutes: take!(access_token_minutes, 15),
            token_key_generation: take!(token_key_generation, 0),
            insecure_cookies: take!(insecure_cookies, false),
            passkey_domain: take!(passkey_domain, "localhost".to_owned()),
            passkey_origins: take!(passkey_origins, Vec::new()),
            import_mib_max: take!(import_mib_max, 1024),
            files,
            connections_per_user_max: take!(connections_per_user_max, 32),
            commands_per_second_max: take!(commands_per_second_max, 50),
            edge,
            heartbeat_ms: take!(heartbeat_ms, 30_000),
            drain_seconds: take!(drain_seconds, 10),
            log: take!(log, "info".to_owned()),
            log_format: first.log_format.or(then.log_format),
            issuers: then.issuers,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        within(
            "session_hours",
            self.session_hours.into(),
            1,
            8_760,
            "1 to 8760",
        )?;
        within(
            "access_token_minutes",
            self.access_token_minutes.into(),
            1,
            1_440,
            "1 to 1440",
        )?;
        within(
            "import_mib_max",
            self.import_mib_max.into(),
            1,
            102_400,
            "1 to 102400",
        )?;
        let delay = self.push_delay_seconds.into();
        within("push_delay_seconds", delay, 0, 60, "0 to 60")?;
        let digest = self.digest_seconds_min.into();
        within("digest_seconds_min", digest, 1, 2_592_000, "1 to 2592000")?;
        let memory = self.password_memory_kib.into();
        within(
            "password_memory_kib",
            memory,
            8_192,
            1_048_576,
            "8192 to 1048576",
        )?;
        let passes = self.password_passes.into();
        within("password_passes", passes, 1, 20, "1 to 20")?;
        let connections = self.connections_per_user_max as u64;
        within(
            "connections_per_user_max",
            connections,
            1,
            10_000,
            "1 to 10000",
        )?;
        let commands = self.commands_per_second_max.into();
        within(
            "commands_per_second_max",
            commands,
            1,
            100_000,
            "1 to 100000",
        )?;
        within(
            "heartbeat_ms",
            self.heartbeat_ms.into(),
            1_000,
            600_000,
            "1000 to 600000",
        )?;
        within(
            "drain_seconds",
            self.drain_seconds.into(),
            0,
            600,
            "0 to 600",
        )?;
        let window = self.nats_window_mib.into();
        within("nats_window_mib", window, 1, 1_048_576, "1 to 1048576")?;
        let replicas = self.nats_replicas as u64;
        within("nats_replicas", replicas, 1, 5, "1 to 5")?;
        if self
            .database_url
            .as_deref()
            .is_some_and(|url| !is_postgres(url))
        {
            return Err(SettingsError::DatabaseUrl);
        }
        let is_kurrent = |url: &str| {
            let schemes = [
                "esdb://",
                "esdb+discover://",
                "kurrentdb://",
                "kurrentdb+discover://",
            ];
            schemes.iter().any(|scheme| url.starts_with(scheme))
        };
        let event_store = self.event_store.as_deref();
        if event_store.is_some_and(|url| !is_postgres(url) && !is_kurrent(url)) {
            return Err(SettingsError::EventStore);
        }
        self.edge.check()?;
        self.files.check()?;
        self.check_eventstore()?;
        self.check_mail()?;
        issuer_settings::configs(&self.issuers)?;
        self.check_role()
    }

    fn check_mail(&self) -> Result<(), SettingsError> {
        if let Some(url) = &self.smtp_url {
            check_smtp_url(url)?;
        }
        if Email::parse(&self.mail_from).is_err() {
            return Err(SettingsError::MailFrom);
        }
        self.relying_party().check()?;
        if DisplayName::parse(&self.public_name).is_err() {
            return Err(SettingsError::PublicName);
        }
        Ok(())
    }

    fn check_eventstore(&self) -> Result<(), SettingsError> {
        let too_short = |token: &String| token.len() < SERVICE_TOKEN_BYTES_MIN;
        if self.eventstore_token.as_ref().is_some_and(too_short) {
            return Err(SettingsError::EventstoreToken);
        }
        if self.eventstore_tls_cert.is_some() != self.eventstore_tls_key.is_some() {
            return Err(SettingsError::EventstoreTls);
        }
        Ok(())
    }

    /// One role alone needs engines that other processes reach too.
    fn check_role(&self) -> Result<(), SettingsError> {
        let needed = [
            (
                self.event_store.is_none(),
                "event_store (postgres://… or esdb://…)",
            ),
            (self.database_url.is_none(), "database_url (postgres://…)"),
            (self.nats_url.is_none(), "nats_url (nats://…)"),
            (
                self.secret_file.is_none(),
                "secret_file (made by `verbatim new-secret FILE`)",
            ),
        ];
        let missing: Vec<&str> = needed
            .into_iter()
            .filter_map(|(is_missing, what)| is_missing.then_some(what))
            .collect();
        if self.role == Role::All || missing.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::RoleNeeds {
                role: self.role,
                missing,
            })
        }
    }
}

/// Refuses a `value` that is not within `from` and `to`, which `range` says in words.
fn within(
    name: &'static str,
    value: u64,
    from: u64,
    to: u64,
    range: &'static str,
) -> Result<(), SettingsError> {
    if (from..=to).contains(&value) {
        Ok(())
    } else {
        Err(SettingsError::Range { name, value, range })
    }
}

/// Whether an address is of PostgreSQL.
pub(crate) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

#[cfg(test)]
mod tests;
