//! Where mails go while nobody said where: nowhere. They wait, and it is told.

use async_trait::async_trait;

use super::{Mail, MailError, Mailer, Sender};
use crate::failure::Failure;

/// Takes no mail.
#[derive(Clone, Debug)]
pub struct NoMailer {
    sender: Sender,
}

impl NoMailer {
    /// Mails would be from `sender`.
    pub const fn new(sender: Sender) -> Self {
        Self { sender }
    }
}

#[async_trait]
impl Mailer for NoMailer {
    async fn send(&self, _mail: &Mail) -> Result<(), MailError> {
        let why = "there is neither a mail server nor a data folder; set smtp_url";
        Err(Failure::unavailable("send a mail", why).into())
    }

    fn sender(&self) -> &Sender {
        &self.sender
    }
}
