//! What can be configured, once: every setting is a flag, an environment variable and a key of the
//! configuration file. A flag wins over the environment, the environment over the file, the file
//! over the default. Unknown keys and unknown `VERBATIM_…` variables are refused.

mod edge;
mod error;
mod files;
mod passkeys;
mod shown;
mod sources;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use command_api::PasswordCost;
use domain::values::{DisplayName, Email};
use door::SERVICE_TOKEN_BYTES_MIN;
use infra::files::AllowedTypes;
use infra::limits::{Limit, Proxy};
use infra::mail::check_smtp_url;
use serde::{Deserialize, Serialize};

use crate::issuer_settings::{self, IssuerTable};
use crate::role::Role;

pub use edge::Edge;
pub use error::SettingsError;
pub use files::Files;
use shown::{hidden, without_credentials, without_password};
use sources::{read_file, refuse_unknown_variables};

/// Settings as one source gives them: what is absent is left to the next source. The field's docs
/// are the flag's help.
#[derive(Args, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Settings")]
pub struct Given {
    /// Folder that holds everything: the log, the read models, the keys [default: verbatim-data]
    #[arg(long, env = "VERBATIM_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(
        long,
        env = "VERBATIM_LISTEN",
        value_name = "ADDRESS:PORT",
        global = true
    )]
    pub listen: Option<SocketAddr>,

    /// Which part of the work this process does; one alone needs the addresses below [default: all]
    #[arg(long, env = "VERBATIM_ROLE", value_name = "ROLE", global = true)]
    pub role: Option<Role>,

    /// Event store: postgres://… or esdb://… [default: SQLite in the data folder]
    #[arg(
        long,
        env = "VERBATIM_EVENT_STORE",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub event_store: Option<String>,

    /// NATS: nats://host:port, several with commas [default: none; signals stay in the process]
    #[arg(
        long,
        env = "VERBATIM_NATS_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub nats_url: Option<String>,

    /// First token of every NATS subject, and name of the stream [default: verbatim]
    #[arg(long, env = "VERBATIM_NATS_PREFIX", value_name = "NAME", global = true)]
    pub nats_prefix: Option<String>,

    /// How much of the log JetStream keeps, in MiB [default: 1024]
    #[arg(
        long,
        env = "VERBATIM_NATS_WINDOW_MIB",
        value_name = "MIB",
        global = true
    )]
    pub nats_window_mib: Option<u32>,

    /// NATS servers that keep a copy each: 1, 3 or 5 [default: 1]
    #[arg(long, env = "VERBATIM_NATS_REPLICAS", value_name = "N", global = true)]
    pub nats_replicas: Option<usize>,

    /// File with the secret that all processes share; `verbatim new-secret FILE` makes one
    /// [default: in the data folder]
    #[arg(long, env = "VERBATIM_SECRET_FILE", value_name = "FILE", global = true)]
    pub secret_file: Option<PathBuf>,

    /// Read database: postgres://… [default: SQLite in the data folder]
    #[arg(
        long,
        env = "VERBATIM_DATABASE_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Address and port on which the log is served over KurrentDB's protocol [default: nowhere]
    #[arg(
        long,
        env = "VERBATIM_EVENTSTORE_LISTEN",
        value_name = "ADDRESS:PORT",
        global = true
    )]
    pub eventstore_listen: Option<SocketAddr>,

    /// Secret of services that read and append there, at least 32 characters [default: none may]
    #[arg(
        long,
        env = "VERBATIM_EVENTSTORE_TOKEN",
        value_name = "TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub eventstore_token: Option<String>,

    /// Let services delete streams there, which hides their events and removes nothing [default: false]
    #[arg(
        long,
        env = "VERBATIM_EVENTSTORE_ALLOW_DELETE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        global = true
    )]
    pub eventstore_allow_delete: Option<bool>,

    /// Certificates in PEM, for TLS there [default: no TLS]
    #[arg(
        long,
        env = "VERBATIM_EVENTSTORE_TLS_CERT",
        value_name = "FILE",
        global = true
    )]
    pub eventstore_tls_cert: Option<PathBuf>,

    /// Private key of the first certificate, in PEM
    #[arg(
        long,
        env = "VERBATIM_EVENTSTORE_TLS_KEY",
        value_name = "FILE",
        global = true
    )]
    pub eventstore_tls_key: Option<PathBuf>,

    /// Mail server: smtp://user:password@host:port, smtps://… or `smtp://…?tls=required` [default:
    /// mails are files in the data folder]
    #[arg(
        long,
        env = "VERBATIM_SMTP_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub smtp_url: Option<String>,

    /// Address that mails are from; needed with a mail server [default: verbatim@localhost]
    #[arg(
        long,
        env = "VERBATIM_MAIL_FROM",
        value_name = "ADDRESS",
        global = true
    )]
    pub mail_from: Option<String>,

    /// What the server calls itself in mails [default: Verbatim]
    #[arg(long, env = "VERBATIM_PUBLIC_NAME", value_name = "NAME", global = true)]
    pub public_name: Option<String>,

    /// Memory that hashing a password takes, in KiB, 8192 to 1048576 [default: 19456]
    #[arg(
        long,
        env = "VERBATIM_PASSWORD_MEMORY_KIB",
        value_name = "KIB",
        global = true
    )]
    pub password_memory_kib: Option<u32>,

    /// How often hashing a password goes through that memory, 1 to 20 [default: 2]
    #[arg(
        long,
        env = "VERBATIM_PASSWORD_PASSES",
        value_name = "N",
        global = true
    )]
    pub password_passes: Option<u32>,

    /// Hours a login lasts at most, however often it is refreshed, 1 to 8760 [default: 720]
    #[arg(
        long,
        env = "VERBATIM_SESSION_HOURS",
        value_name = "HOURS",
        global = true
    )]
    pub session_hours: Option<u32>,

    /// Minutes an access token is good, 1 to 1440 [default: 15]
    #[arg(
        long,
        env = "VERBATIM_ACCESS_TOKEN_MINUTES",
        value_name = "MINUTES",
        global = true
    )]
    pub access_token_minutes: Option<u32>,

    /// Raise it, on all processes, to make every access token there is worthless [default: 0]
    #[arg(
        long,
        env = "VERBATIM_TOKEN_KEY_GENERATION",
        value_name = "N",
        global = true
    )]
    pub token_key_generation: Option<u32>,

    /// Let browsers send the cookies of a login without TLS, for trying things out [default: false]
    #[arg(
        long,
        env = "VERBATIM_INSECURE_COOKIES",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        global = true
    )]
    pub insecure_cookies: Option<bool>,

    /// Domain that passkeys are for; with another one those there are are worth nothing [default: localhost]
    #[arg(
        long,
        env = "VERBATIM_PASSKEY_DOMAIN",
        value_name = "DOMAIN",
        global = true
    )]
    pub passkey_domain: Option<String>,

    /// Origins of the pages that may use passkeys, with commas: of the domain or below it [default:
    /// https:// and the domain; for localhost, http:// and any port]
    #[arg(
        long,
        env = "VERBATIM_PASSKEY_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ',',
        global = true
    )]
    pub passkey_origins: Option<Vec<String>>,

    /// Largest archive that may be imported over HTTP, in MiB [default: 1024]
    #[arg(
        long,
        env = "VERBATIM_IMPORT_MIB_MAX",
        value_name = "MIB",
        global = true
    )]
    pub import_mib_max: Option<u32>,

    /// Where attachments are kept: a folder, or a bucket of an S3 server, whose address
    /// docs/operations.md spells [default: in the data folder]
    #[arg(
        long,
        env = "VERBATIM_ATTACHMENTS_URL",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub attachments_url: Option<String>,

    /// Largest attachment, in MiB, 1 to 10240 [default: 100]
    #[arg(
        long,
        env = "VERBATIM_ATTACHMENT_MIB_MAX",
        value_name = "MIB",
        global = true
    )]
    pub attachment_mib_max: Option<u32>,

    /// How much the attachments of one user may have together, in MiB [default: 10240]
    #[arg(
        long,
        env = "VERBATIM_ATTACHMENT_QUOTA_MIB",
        value_name = "MIB",
        global = true
    )]
    pub attachment_quota_mib: Option<u32>,

    /// What attachments may be, with commas: image/png, or audio/* for all of a sort [default:
    /// pictures, sound, video, text and documents]
    #[arg(
        long,
        env = "VERBATIM_ATTACHMENT_TYPES",
        value_name = "TYPES",
        global = true
    )]
    pub attachment_types: Option<AllowedTypes>,

    /// Scanner that looks at attachments before they are kept: clamd://host:port [default: none]
    #[arg(
        long,
        env = "VERBATIM_ATTACHMENT_SCANNER_URL",
        value_name = "URL",
        global = true
    )]
    pub attachment_scanner_url: Option<String>,

    /// Connections of one user at a time to the gateway [default: 32]
    #[arg(
        long,
        env = "VERBATIM_CONNECTIONS_PER_USER_MAX",
        value_name = "N",
        global = true
    )]
    pub connections_per_user_max: Option<usize>,

    /// Commands a second that one gateway connection may send [default: 50]
    #[arg(
        long,
        env = "VERBATIM_COMMANDS_PER_SECOND_MAX",
        value_name = "N",
        global = true
    )]
    pub commands_per_second_max: Option<u32>,

    /// Certificates in PEM, for TLS to clients; read again when they change [default: no TLS]
    #[arg(long, env = "VERBATIM_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the first certificate, in PEM
    #[arg(long, env = "VERBATIM_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Proxies whose X-Forwarded-For or Forwarded is believed: addresses or networks, with commas
    /// [default: none]
    #[arg(
        long,
        env = "VERBATIM_TRUSTED_PROXIES",
        value_name = "CIDR",
        value_delimiter = ',',
        global = true
    )]
    pub trusted_proxies: Option<Vec<Proxy>>,

    /// Origins of web pages that may use the API, with commas; `*` is all, without credentials
    /// [default: none]
    #[arg(
        long,
        env = "VERBATIM_CORS_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ',',
        global = true
    )]
    pub cors_origins: Option<Vec<String>>,

    /// Open connections of clients [default: 60000]
    #[arg(
        long,
        env = "VERBATIM_CONNECTIONS_MAX",
        value_name = "N",
        global = true
    )]
    pub connections_max: Option<usize>,

    /// Open connections from one address, or one IPv6 /64 [default: 2000]
    #[arg(
        long,
        env = "VERBATIM_CONNECTIONS_PER_ADDRESS_MAX",
        value_name = "N",
        global = true
    )]
    pub connections_per_address_max: Option<usize>,

    /// Seconds for the head of a request, which is also how long a connection may idle, 1 to 600
    /// [default: 30]
    #[arg(
        long,
        env = "VERBATIM_HEAD_SECONDS_MAX",
        value_name = "SECONDS",
        global = true
    )]
    pub head_seconds_max: Option<u32>,

    /// Seconds that a request's body may pause, 1 to 600 [default: 20]
    #[arg(
        long,
        env = "VERBATIM_BODY_SECONDS_MAX",
        value_name = "SECONDS",
        global = true
    )]
    pub body_seconds_max: Option<u32>,

    /// Seconds until a request is answered, 1 to 3600; streams and imports go on [default: 60]
    #[arg(
        long,
        env = "VERBATIM_REQUEST_SECONDS_MAX",
        value_name = "SECONDS",
        global = true
    )]
    pub request_seconds_max: Option<u32>,

    /// Commands of one address; 0 is no limit, here and below [default: 100/1s,burst=1000]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_COMMANDS_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_commands_address: Option<Limit>,

    /// Commands of one user, over HTTP and all sockets [default: 50/1s,burst=200]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_COMMANDS_USER",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_commands_user: Option<Limit>,

    /// Reads of one address [default: 200/1s,burst=2000]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_READS_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_reads_address: Option<Limit>,

    /// Reads of one user [default: 50/1s,burst=500]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_READS_USER",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_reads_user: Option<Limit>,

    /// Logins of one address [default: 10/1m,burst=20]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_LOGIN_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_login_address: Option<Limit>,

    /// Wrong passwords for one login name from one address [default: 10/10m]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_LOGIN_NAME",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_login_name: Option<Limit>,

    /// Wrong passwords for one login name from all addresses together that never logged in to it
    /// [default: 30/10m]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_LOGIN_STRANGERS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_login_strangers: Option<Limit>,

    /// Codes that one address asks for or tries [default: 10/10m,burst=20]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_CODE_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_code_address: Option<Limit>,

    /// Registrations of one address [default: 10/1h,burst=20]
    #[arg(
        long,
        env = "VERBATIM_LIMIT_REGISTRATION_ADDRESS",
        value_name = "LIMIT",
        global = true
    )]
    pub limit_registration_address: Option<Limit>,

    /// Milliseconds between a gateway client's heartbeats, 1000 to 600000 [default: 30000]
    #[arg(long, env = "VERBATIM_HEARTBEAT_MS", value_name = "MS", global = true)]
    pub heartbeat_ms: Option<u32>,

    /// Seconds a stopping server waits for its clients [default: 10]
    #[arg(
        long,
        env = "VERBATIM_DRAIN_SECONDS",
        value_name = "SECONDS",
        global = true
    )]
    pub drain_seconds: Option<u32>,

    /// What is logged: a level, or directives such as info,gateway=debug [default: info]
    #[arg(long, env = "VERBATIM_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,

    /// How logs are written, to standard error [default: text on a terminal, else json]
    #[arg(
        long,
        env = "VERBATIM_LOG_FORMAT",
        value_name = "FORMAT",
        global = true
    )]
    pub log_format: Option<LogFormat>,

    /// Whose word lets people in; in the configuration file only.
    #[arg(skip)]
    #[serde(default, rename = "issuer", skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerTable>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Debug for Given {
    /// Says nothing: some are secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Given").finish_non_exhaustive()
    }
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
