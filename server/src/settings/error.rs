//! What is wrong with a setting.

use std::path::PathBuf;

use door::SERVICE_TOKEN_BYTES_MIN;
use infra::blobs::BlobsUrlInvalid;
use infra::factors::RelyingPartyInvalid;
use infra::files::ScannerAddressInvalid;
use infra::mail::SmtpUrlInvalid;

use crate::issuer_settings::IssuerTableError;
use crate::role::Role;

/// A setting that cannot be used. The text names it and says what would do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or value that is not known.
    #[error("the configuration file {path} is not valid:\n{source}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A variable that looks like ours but is not.
    #[error("unknown environment variable {0}; `verbatim --help` lists the known ones")]
    UnknownVariable(String),
    /// A value out of range.
    #[error("{name} = {value} is out of range: it takes {range}")]
    Range {
        /// The key.
        name: &'static str,
        /// What was given.
        value: u64,
        /// What is taken.
        range: &'static str,
    },
    /// An event store that is none we know.
    #[error(
        "event_store takes postgres://…, esdb://… or kurrentdb://…; leave it away for SQLite in the \
         data folder"
    )]
    EventStore,
    /// One role alone, on engines that only one process can use.
    #[error(
        "the role {} works beside other processes, which all need the same engines and secret; \
         set {}",
        .role.as_str(),
        .missing.join(", ")
    )]
    RoleNeeds {
        /// Which role.
        role: Role,
        /// What is not set, and what it takes.
        missing: Vec<&'static str>,
    },
    /// A read database that is no PostgreSQL.
    #[error("database_url takes postgres://…; leave it away for SQLite in the data folder")]
    DatabaseUrl,
    /// A mail server that cannot be used.
    #[error(transparent)]
    SmtpUrl(#[from] SmtpUrlInvalid),
    /// No place for attachments.
    #[error(transparent)]
    AttachmentsUrl(#[from] BlobsUrlInvalid),
    /// No scanner.
    #[error("attachment_scanner_url: {0}")]
    Scanner(#[from] ScannerAddressInvalid),
    /// No address that mails could be from.
    #[error(
        "mail_from takes an address such as noreply@example.org; with smtp_url it has to be one that \
         the mail server lets this server send from"
    )]
    MailFrom,
    /// A name that cannot stand in a mail.
    #[error("public_name has 1 to 80 characters and no control characters")]
    PublicName,
    /// A secret that can be guessed.
    #[error(
        "eventstore_token is too short: it takes at least {SERVICE_TOKEN_BYTES_MIN} characters"
    )]
    EventstoreToken,
    /// Half of what TLS to clients needs.
    #[error("tls_cert and tls_key go together")]
    Tls,
    /// A web page's origin that is none.
    #[error(
        "cors_origins: {0} is no origin; one is written https://app.example.org, without a path, and * \
         stands alone"
    )]
    CorsOrigin(String),
    /// An issuer that cannot be used.
    #[error(transparent)]
    Issuer(#[from] IssuerTableError),
    /// A page that cannot use the passkeys of the domain.
    #[error("passkey_domain and passkey_origins do not fit: {0}")]
    Passkeys(#[from] RelyingPartyInvalid),
    /// Half of what TLS needs.
    #[error("eventstore_tls_cert and eventstore_tls_key go together")]
    EventstoreTls,
}
