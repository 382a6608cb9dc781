//! Which part of the work a process does.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which part of the work a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything in one process.
    #[default]
    All,
    /// Takes commands over HTTP.
    CommandApi,
    /// Keeps the read models up to date and channels in step with their spaces, publishes the log to
    /// NATS and sends mails. Of several one
    /// works, the others stand by.
    Projector,
    /// Answers queries over HTTP.
    QueryApi,
    /// Streams events to clients and takes their commands.
    Gateway,
}

impl Role {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::CommandApi => "command-api",
            Self::Projector => "projector",
            Self::QueryApi => "query-api",
            Self::Gateway => "gateway",
        }
    }

    /// Whether the process does the work of `part`.
    pub(crate) fn does(self, part: Self) -> bool {
        self == Self::All || self == part
    }
}
