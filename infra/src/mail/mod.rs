//! The mail port: something that takes mails. What they say and when they are sent is not decided here.

mod folder;
mod message;
mod nowhere;
mod smtp;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::EventId;
use domain::values::Email;

use crate::failure::Failure;

pub use folder::FolderMailer;
pub use nowhere::NoMailer;
pub use smtp::{SmtpMailer, SmtpUrlInvalid, check_smtp_url};

/// Who the mails are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// What the server calls itself.
    pub name: String,
    /// The address that mails are from; its domain stands in their `Message-ID`.
    pub address: Email,
}

/// A mail to one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The event that asked for it, of which its `Message-ID` is made: the same mail has the same when
    /// it is sent again, so that mail servers and programs can know it as the same.
    pub asked_by: EventId,
    /// When that was; the mail's date.
    pub asked_at: DateTime<Utc>,
    /// To whom.
    pub to: Email,
    /// The subject.
    pub subject: String,
    /// What it says, as plain text.
    pub text: String,
    /// The same as a document in HTML.
    pub html: String,
}

impl Mail {
    /// Its `Message-ID`, without angle brackets.
    pub fn message_id(&self, from: &Sender) -> String {
        let address = from.address.as_str();
        let domain = address.rsplit_once('@').map_or(address, |(_, it)| it);
        format!("{}@{domain}", self.asked_by)
    }
}

impl fmt::Debug for Mail {
    /// Nothing of what it says, nor to whom.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Mail({})", self.asked_by)
    }
}

/// Why a mail was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MailError {
    /// It will never be.
    #[error("the mail is not taken: {0}")]
    Rejected(Failure),
    /// Trying again may help.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Takes mails.
///
/// Every adapter promises that a mail it returned `Ok` for is not lost by it: it is in a file that is
/// synced, or a mail server has said that it takes it.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Sends `mail`, within a bounded time.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;

    /// Who mails are from.
    fn sender(&self) -> &Sender;
}
