//! Mails through a mail server, over SMTP (RFC 5321), through `lettre`. One connection a mail: codes are
//! few, and none is in doubt because it was the second on a connection that broke.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use domain::values::Email;
use lettre::transport::smtp;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Category, Code};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::message::message;
use super::{Mail, MailError, Mailer, Sender};
use crate::failure::Failure;

/// How long the server may take for each answer; then the mail is tried again.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long a mail may take altogether.
const SEND_MAX: Duration = Duration::from_mins(1);

/// What failed.
const SEND: &str = "send a mail";

/// Sends each mail through one server.
#[derive(Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Sender,
}

/// An address of a mail server that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "smtp_url takes smtp://user:password@host:port, smtps://… or smtp://…?tls=required; letters with \
     a meaning in addresses are written as %40 and the like"
)]
pub struct SmtpUrlInvalid;

/// Whether `url` looks like that of a mail server. One that asks for TLS only where the server offers it
/// is refused: who is in between could say that it does not. A login goes in the clear only within this
/// machine.
pub fn check_smtp_url(url: &str) -> Result<(), SmtpUrlInvalid> {
    let (scheme, rest) = url.split_once("://").ok_or(SmtpUrlInvalid)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, host) = place
        .rsplit_once('@')
        .map_or((None, place), |(login, host)| (Some(login), host));
    let is_good = match (scheme, query) {
        ("smtps", "") | ("smtp", "tls=required") => true,
        ("smtp", "") => login.is_none() || is_this_machine(host),
        _ => false,
    };
    (is_good && !host.is_empty())
        .then_some(())
        .ok_or(SmtpUrlInvalid)
}

/// Whether `host`, which may have a port, is this machine.
fn is_this_machine(host: &str) -> bool {
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']').map(|(name, _)| name))
        .unwrap_or_else(|| host.split(':').next().unwrap_or_default());
    name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn transport(url: &str) -> Result<smtp::AsyncSmtpTransportBuilder, smtp::Error> {
    AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
}

impl SmtpMailer {
    /// Sends through the server at `url`, which need not be up.
    ///
    /// # Errors
    /// `url` is none, or there are no certificate authorities on this machine.
    pub fn new(url: &str, sender: Sender) -> Result<Self, Failure> {
        let transport = transport(url).map_err(|error| {
            // Its own text may hold the password.
            Failure::internal("use the mail server", without_url(&error))
        })?;
        Ok(Self {
            transport: transport
                .hello_name(ClientId::Domain(domain_of(&sender.address).to_owned()))
                .timeout(Some(ANSWER_MAX))
                .build(),
            sender,
        })
    }
}

fn domain_of(address: &Email) -> &str {
    let address = address.as_str();
    address
        .rsplit_once('@')
        .map_or(address, |(_, domain)| domain)
}

fn without_url(error: &smtp::Error) -> &'static str {
    if error.is_tls() {
        "TLS cannot be used: there are no certificate authorities, or they cannot be read"
    } else {
        "smtp_url is not valid"
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message(mail, &self.sender)?;
        match tokio::time::timeout(SEND_MAX, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_about_the_mail(&error) => {
                Err(MailError::Rejected(Failure::internal(SEND, error)))
            }
            Ok(Err(error)) => Err(Failure::unavailable(SEND, error).into()),
            Err(late) => Err(Failure::unavailable(SEND, late).into()),
        }
    }

    fn sender(&self) -> &Sender {
        &self.sender
    }
}

/// Whether the server will never take this mail, but may take others. That it wants a login, or another
/// one, is about this server's settings: the mail waits while they are mended.
fn is_about_the_mail(error: &smtp::Error) -> bool {
    error.is_permanent() && error.status().is_some_and(is_about_mail)
}

/// Replies x5z are about mailboxes and mails (RFC 5321, 4.2.1); those about logins are x3z.
fn is_about_mail(code: Code) -> bool {
    code.category == Category::MailSystem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_mail_servers_are_told_from_others() {
        for good in [
            "smtp://localhost:2525",
            "smtp://user:p%40ss@mail.example.org:587?tls=required",
            "smtps://user:pass@mail.example.org",
        ] {
            assert_eq!(check_smtp_url(good), Ok(()), "{good}");
        }
        for bad in [
            "mail.example.org",
            "http://mail.example.org",
            "smtp://mail.example.org?tls=opportunistic",
            "smtp://mail.example.org?tls=perhaps",
            "smtp://",
            "smtp://user:password@",
        ] {
            assert_eq!(check_smtp_url(bad), Err(SmtpUrlInvalid), "{bad}");
        }
    }

    #[test]
    fn what_is_refused_for_good_is_told_from_what_settings_mend() {
        let code = |text: &str| {
            let reply = format!("{text} no\r\n");
            reply.parse::<smtp::response::Response>().unwrap().code()
        };
        for (reply, is_refused) in [("550", true), ("554", true), ("530", false), ("535", false)] {
            assert_eq!(is_about_mail(code(reply)), is_refused, "{reply}");
        }
    }
}
