//! A mail as it travels: RFC 5322 with a plain and an HTML part, through `lettre`.

use std::time::SystemTime;

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use super::{Mail, MailError, Sender};
use crate::failure::Failure;

/// `mail` from `from`.
///
/// # Errors
/// [`MailError::Rejected`] where no mail can be made of an address.
pub(super) fn message(mail: &Mail, from: &Sender) -> Result<Message, MailError> {
    let rejected = |error: &dyn std::error::Error| {
        MailError::Rejected(Failure::internal("make a mail", error.to_string()))
    };
    let to = mail.to.as_str().parse().map_err(|e| rejected(&e))?;
    let sender = from.address.as_str().parse().map_err(|e| rejected(&e))?;
    Message::builder()
        .from(Mailbox::new(Some(from.name.clone()), sender))
        .to(Mailbox::new(None, to))
        .subject(&mail.subject)
        .date(SystemTime::from(mail.asked_at))
        .message_id(Some(format!("<{}>", mail.message_id(from))))
        // So that no machine answers it (RFC 3834).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .multipart(MultiPart::alternative_plain_html(
            mail.text.clone(),
            mail.html.clone(),
        ))
        .map_err(|e| rejected(&e))
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;
    use domain::EventId;
    use domain::values::Email;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn sender() -> Sender {
        Sender {
            name: "Tea House".to_owned(),
            address: Email::parse("noreply@example.org").unwrap(),
        }
    }

    pub(crate) fn mail() -> Mail {
        Mail {
            asked_by: EventId(Uuid::from_u128(7)),
            asked_at: DateTime::UNIX_EPOCH,
            to: Email::parse("alice@example.org").unwrap(),
            subject: "Your code".to_owned(),
            text: "01234567".to_owned(),
            html: "<p>01234567</p>".to_owned(),
        }
    }

    #[test]
    fn a_mail_has_what_programs_look_for() {
        let formatted = message(&mail(), &sender()).unwrap().formatted();
        let text = String::from_utf8(formatted).unwrap();
        for line in [
            "From: \"Tea House\" <noreply@example.org>",
            "To: alice@example.org",
            "Subject: Your code",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000",
            "Message-ID: <00000000-0000-0000-0000-000000000007@example.org>",
            "Auto-Submitted: auto-generated",
            "01234567",
            "<p>01234567</p>",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }

    #[test]
    fn an_address_that_takes_no_mail_is_rejected() {
        let to = Email::parse("alice@@example.org");
        assert!(to.is_err());
        let to = Email::parse("a<b>@example.org").unwrap();
        let mail = Mail { to, ..mail() };
        assert!(matches!(
            message(&mail, &sender()),
            Err(MailError::Rejected(_))
        ));
        assert_eq!(format!("{mail:?}"), format!("Mail({})", mail.asked_by));
    }
}
