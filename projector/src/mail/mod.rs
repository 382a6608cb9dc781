//! Mailing: follows the log for codes and digests that were issued, mails them, and records what became of each mail
//! in a stream of its own, `mail-{event id}`. The log is the queue: nothing else has to be kept to
//! go on after a restart, and a mail that is settled there is not sent again, whoever looks.
//!
//! One mail in doubt is sent twice: the mail server said that it takes it, and the process ended before
//! that was recorded, or another led meanwhile. Both copies have the same `Message-ID`.

mod digest;
mod letter;
mod log_in;
mod queue;
mod record;
mod reset_password;
#[cfg(test)]
mod tests;
mod verify_email;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::mail::{self, GivenUp, GivenUpBecause, Sent};
use domain::notifications::Notifications;
use domain::user::CodeIssued;
use domain::user::codes::{CODE_LIFETIME, CodePurpose};
use domain::{CommandId, StreamName, Version};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use infra::clock::Clock;
use infra::codes::{CodeKeys, CodeOf};
use infra::database::Database;
use infra::event_store::{EventStore, SubscriptionItem, position_at, subscribe_all, version_of};
use infra::failure::Failure;
use infra::mail::{Mail, MailError, Mailer};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::generation::Retry;
use crate::mail::queue::{Asks, Queue, WAITING_MAX, Waiting};
use crate::mail::record::record;

/// How far back in the log codes and digests are looked for at the start: as long as either lives, and
/// what clocks of several machines may differ. What is older is worth nothing to anybody.
const LOOK_BACK: TimeDelta = TimeDelta::minutes(LIFETIME_MINUTES_MAX + 5);

/// How long what is mailed is worth something.
const LIFETIME_MINUTES_MAX: i64 = {
    let (code, digest) = (
        CODE_LIFETIME.num_minutes(),
        Notifications::DIGEST_LIFETIME.num_minutes(),
    );
    if code > digest { code } else { digest }
};

/// Mails that are sent at the same time; a mail server that is slow with one does not stop the others.
const AT_ONCE_MAX: usize = 4;

/// How long a worker that is stopped waits for the mails it is sending. Then it is in doubt whether they
/// were sent, and whoever comes next sends them again.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// Mails codes.
pub struct Mailing {
    store: Arc<dyn EventStore>,
    mailer: Arc<dyn Mailer>,
    keys: CodeKeys,
    clock: Clock,
    /// From which digests are written.
    database: Option<Database>,
}

/// How an attempt ended.
enum Attempt {
    /// What became of the mail is in the log.
    Settled,
    /// It is to be tried again.
    Again(Box<Waiting>),
}

impl Mailing {
    /// Mails the codes in `store`, made with `keys`, through `mailer`. Nothing happens before
    /// [`Mailing::run`].
    pub const fn new(
        store: Arc<dyn EventStore>,
        mailer: Arc<dyn Mailer>,
        keys: CodeKeys,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            mailer,
            keys,
            clock,
            database: None,
        }
    }

    /// The same, which mails digests of what is in `database`, too. Without it none are mailed.
    #[must_use]
    pub fn with_digests(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Mails what is asked for until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = Retry::new("mail");
        while !stop.is_cancelled() {
            let Err(failure) = self.follow(&stop, &mut retry).await else {
                return;
            };
            retry.pause_after(&failure, &stop).await;
        }
    }

    /// Follows the log from where the oldest code that is still good may be.
    async fn follow(&self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Failure> {
        let since = self.clock.now() - LOOK_BACK;
        let after = position_at(&*self.store, since).await?;
        let mut subscription = subscribe_all(Arc::clone(&self.store), after);
        let mut read_at = Instant::now();
        let mut queue = Queue::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < AT_ONCE_MAX
                && let Some(waiting) = queue.take_due(Instant::now())
            {
                under_way.push(self.attempt(waiting));
            }
            measure(queue.len() + under_way.len());
            let next_due = queue.next_due().filter(|_| under_way.len() < AT_ONCE_MAX);
            let read = async {
                sleep_until(read_at).await;
                subscription.next().await
            };
            tokio::select! {
                () = stop.cancelled() => break,
                item = read, if queue.len() < WAITING_MAX => match item {
                    Ok(SubscriptionItem::Events(events)) => {
                        retry.succeeded();
                        queue.take(&events);
                    }
                    Ok(SubscriptionItem::CaughtUp) => retry.succeeded(),
                    // What is under way goes on meanwhile.
                    Err(failure) => read_at = Instant::now() + retry.failed(&failure),
                },
                Some(attempt) = under_way.next() => match attempt {
                    Attempt::Settled => {}
                    Attempt::Again(waiting) => queue.put_back(*waiting),
                },
                () = sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
            }
        }
        let finished = timeout(FINISH_MAX, under_way.by_ref().for_each(|_| async {})).await;
        if finished.is_err() {
            let mails = under_way.len();
            tracing::warn!(
                mails,
                "mails that were being sent are left to whoever comes next"
            );
        }
        measure(0);
        Ok(())
    }

    async fn attempt(&self, mut waiting: Waiting) -> Attempt {
        match self.try_to_settle(&mut waiting).await {
            Ok(()) => Attempt::Settled,
            Err(failure) => {
                let wait = waiting.failed(Instant::now());
                metrics::counter!("verbatim_mail_failures_total").increment(1);
                let (mail, retry_in_ms) = (waiting.asked_by, wait.as_millis());
                if waiting.is_first_failure() {
                    tracing::warn!(%mail, %failure, retry_in_ms, "a mail was not sent; it is tried again");
                } else {
                    tracing::debug!(%mail, %failure, retry_in_ms, "a mail was not sent again");
                }
                Attempt::Again(Box::new(waiting))
            }
        }
    }

    /// Sends the mail, unless it is known what became of it, and records that.
    async fn try_to_settle(&self, waiting: &mut Waiting) -> Result<(), Failure> {
        let outcome = if let Some(outcome) = waiting.outcome.clone() {
            outcome
        } else {
            let stream = StreamName::mail(waiting.asked_by);
            if version_of(&*self.store, &stream).await? > Version::ZERO {
                return Ok(());
            }
            let outcome = self.send(waiting).await?;
            // Kept, so that a mail that was sent is not sent again because that was not recorded.
            waiting.outcome.insert(outcome).clone()
        };
        record(&*self.store, waiting, &outcome).await?;
        match outcome {
            mail::Command::RecordSent(_) => {
                metrics::counter!("verbatim_mail_sent_total").increment(1);
            }
            mail::Command::GiveUp(given_up) => {
                let why = given_up.why.as_str();
                metrics::counter!("verbatim_mail_given_up_total", "why" => why).increment(1);
                tracing::warn!(mail = %waiting.asked_by, why, "a mail is given up");
            }
        }
        Ok(())
    }

    /// Sends the mail; says what became of it, where that is final.
    async fn send(&self, waiting: &Waiting) -> Result<mail::Command, Failure> {
        let user = waiting.asks.email().of;
        let give_up = |why| mail::Command::GiveUp(GivenUp { user, why });
        if waiting.asks.expires_at() <= self.clock.now() {
            return Ok(give_up(GivenUpBecause::Expired));
        }
        let Some(mail) = self.write(waiting).await? else {
            return Ok(give_up(GivenUpBecause::Expired));
        };
        match self.mailer.send(&mail).await {
            Ok(()) => Ok(mail::Command::RecordSent(Sent {
                user,
                message_id: mail.message_id(self.mailer.sender()),
            })),
            Err(MailError::Rejected(failure)) => {
                tracing::warn!(mail = %waiting.asked_by, %failure, "a mail was refused for good");
                Ok(give_up(GivenUpBecause::Rejected))
            }
            Err(MailError::Failure(failure)) => Err(failure),
        }
    }

    /// The mail as it reads now; `None` where it has nothing to say any more.
    async fn write(&self, waiting: &Waiting) -> Result<Option<Mail>, Failure> {
        let server = self.mailer.sender().name.as_str();
        let (subject, text, html) = match (&waiting.asks, &self.database) {
            (Asks::Code(issued), _) => self.write_code(issued, waiting.metadata.command_id),
            (Asks::Digest(issued), Some(database)) => {
                let now = self.clock.now();
                let Some(digest) = digest::digest(database, issued, server, now).await? else {
                    return Ok(None);
                };
                (digest.subject, digest.text, digest.html)
            }
            (Asks::Digest(_), None) => return Ok(None),
        };
        Ok(Some(Mail {
            asked_by: waiting.asked_by,
            asked_at: waiting.asks.issued_at(),
            to: waiting.asks.email().value.clone(),
            subject,
            text,
            html,
        }))
    }

    /// Subject, text and HTML of the mail with a code, which is made here anew.
    fn write_code(&self, issued: &CodeIssued, command: CommandId) -> (String, String, String) {
        let code = self.keys.code(&CodeOf {
            command,
            user: issued.email.of,
            purpose: issued.purpose,
            expires_at: issued.expires_at,
        });
        let server = self.mailer.sender().name.as_str();
        let letter = match issued.purpose {
            CodePurpose::VerifyEmail => verify_email::letter(server),
            CodePurpose::LogIn => log_in::letter(server),
            CodePurpose::ResetPassword => reset_password::letter(server),
        };
        let text = letter.text(&code, issued.expires_at);
        let html = letter.html(&code, issued.expires_at);
        (letter.subject, text, html)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn measure(waiting: usize) {
    metrics::gauge!("verbatim_mail_waiting").set(waiting as f64);
}
