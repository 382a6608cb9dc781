//! What one source of settings gives: the flags and the environment, or the configuration file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use infra::files::AllowedTypes;
use infra::limits::{Limit, Proxy};
use serde::{Deserialize, Serialize};

use crate::issuer_settings::IssuerTable;
use crate::role::Role;
use crate::settings::LogFormat;

/// The heading that settings have in the help.
pub const SETTINGS: &str = "Settings";

/// Settings as one source gives them: what is absent is left to the next source. The field's docs
/// are the flag's help.
#[derive(Args, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = SETTINGS)]
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

    /// Event store: postgres://… or kurrentdb://… [default: SQLite in the data folder]
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

    /// Push also to private addresses and without TLS, for trying things out [default: false]
    #[arg(
        long,
        env = "VERBATIM_PUSH_ANYWHERE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        global = true
    )]
    pub push_anywhere: Option<bool>,

    /// Seconds that a push waits for its message to be seen, 0 to 60 [default: 5]
    #[arg(
        long,
        env = "VERBATIM_PUSH_DELAY_SECONDS",
        value_name = "SECONDS",
        global = true
    )]
    pub push_delay_seconds: Option<u32>,

    /// Shortest absence after which a digest is mailed, in seconds, 1 to 2592000 [default: 900]
    #[arg(
        long,
        env = "VERBATIM_DIGEST_SECONDS_MIN",
        value_name = "SECONDS",
        global = true
    )]
    pub digest_seconds_min: Option<u32>,

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

impl fmt::Debug for Given {
    /// Says nothing: some are secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Given").finish_non_exhaustive()
    }
}
