//! The mails that are still to be sent, as far as the log was read.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::mail::{Command, GivenUp, GivenUpBecause};
use domain::notifications::{DigestIssued, NotificationsEvent};
use domain::user::{CodeIssued, UserEvent};
use domain::values::Email;
use domain::{Event, EventId, Metadata, Personal};
use infra::event_store::RecordedEvent;
use tokio::time::Instant;

/// Mails that wait; while there are as many the log is not read on.
pub(super) const WAITING_MAX: usize = 1_000;

/// The wait after the first failure; it doubles with each.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// No wait is longer.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// What a mail says.
#[derive(Clone, Debug)]
pub(super) enum Asks {
    /// A code.
    Code(CodeIssued),
    /// What somebody missed.
    Digest(DigestIssued),
}

impl Asks {
    /// To whom.
    pub(super) const fn email(&self) -> &Personal<Email> {
        match self {
            Self::Code(issued) => &issued.email,
            Self::Digest(issued) => &issued.email,
        }
    }

    /// When it was asked for.
    pub(super) const fn issued_at(&self) -> DateTime<Utc> {
        match self {
            Self::Code(issued) => issued.issued_at,
            Self::Digest(issued) => issued.issued_at,
        }
    }

    /// From this moment on it is worth nothing.
    pub(super) const fn expires_at(&self) -> DateTime<Utc> {
        match self {
            Self::Code(issued) => issued.expires_at,
            Self::Digest(issued) => issued.expires_at,
        }
    }

    /// Whether it is worth nothing any more, because of a later one.
    fn is_replaced_by(&self, later: &Self) -> bool {
        let is_same = match (self, later) {
            (Self::Code(one), Self::Code(other)) => {
                one.purpose == other.purpose && one.challenge == other.challenge
            }
            (Self::Digest(_), Self::Digest(_)) => true,
            (Self::Code(_), Self::Digest(_)) | (Self::Digest(_), Self::Code(_)) => false,
        };
        let is_theirs = self.email().of == later.email().of;
        is_same && is_theirs && self.issued_at() <= later.issued_at()
    }
}

/// A mail to be sent.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The event that asked for it.
    pub(super) asked_by: EventId,
    /// What it says.
    pub(super) asks: Asks,
    /// Of the event.
    pub(super) metadata: Metadata,
    /// What became of it, where only the record of that is missing.
    pub(super) outcome: Option<Command>,
    failures: u32,
    due: Instant,
}

impl Waiting {
    /// Says how long it waits now.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let doubled = AGAIN_AFTER.saturating_mul(1 << self.failures.min(16));
        let wait = doubled.min(AGAIN_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        self.due = now + wait;
        wait
    }

    fn replace(&mut self) {
        if self.outcome.is_none() {
            let (user, why) = (self.asks.email().of, GivenUpBecause::Replaced);
            self.outcome = Some(Command::GiveUp(GivenUp { user, why }));
            self.due = Instant::now();
        }
    }

    pub(super) const fn is_first_failure(&self) -> bool {
        self.failures == 1
    }
}

/// Mails to be sent, oldest first.
#[derive(Default)]
pub(super) struct Queue(Vec<Waiting>);

impl Queue {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in what `events` ask for, and leaves out what they say is settled.
    pub(super) fn take(&mut self, events: &[Arc<RecordedEvent>]) {
        for recorded in events {
            if recorded.stream.category() == "mail" {
                if let Ok(settled) = recorded.stream.key().parse::<EventId>() {
                    self.0.retain(|waiting| waiting.asked_by != settled);
                }
                continue;
            }
            let may_ask = matches!(recorded.stream.category(), "user" | "notifications");
            if !may_ask || recorded.is_foreign() {
                continue;
            }
            match (recorded.event(), recorded.metadata()) {
                (Ok(Event::User(UserEvent::CodeIssued(issued))), Ok(metadata)) => {
                    self.push(recorded.id, Asks::Code(issued), metadata);
                }
                (
                    Ok(Event::Notifications(NotificationsEvent::DigestIssued(issued))),
                    Ok(metadata),
                ) => self.push(recorded.id, Asks::Digest(issued), metadata),
                (Ok(_), Ok(_)) => {}
                (Err(error), _) => unreadable(recorded, &error),
                (Ok(_), Err(error)) => unreadable(recorded, &error),
            }
        }
    }

    fn push(&mut self, asked_by: EventId, asks: Asks, metadata: Metadata) {
        for older in &mut self.0 {
            if older.asks.is_replaced_by(&asks) {
                older.replace();
            }
        }
        self.0.push(Waiting {
            asked_by,
            asks,
            metadata,
            outcome: None,
            failures: 0,
            due: Instant::now(),
        });
    }

    /// The oldest that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Waiting> {
        let index = self.0.iter().position(|waiting| waiting.due <= now)?;
        Some(self.0.remove(index))
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|waiting| waiting.due).min()
    }

    /// To be tried again, unless a later mail has come meanwhile.
    pub(super) fn put_back(&mut self, mut waiting: Waiting) {
        let is_replaced = self
            .0
            .iter()
            .any(|other| waiting.asks.is_replaced_by(&other.asks));
        if is_replaced {
            waiting.replace();
        }
        self.0.push(waiting);
    }
}

/// The read models park the stream for the same reason; here nobody waits for more.
fn unreadable(recorded: &RecordedEvent, error: &dyn std::error::Error) {
    let position = recorded.position;
    tracing::error!(%position, %error, "an event cannot be read; if it asks for a mail, none is sent");
}
