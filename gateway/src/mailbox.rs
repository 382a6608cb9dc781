//! What the hub leaves for one connection: which conversations have news, what passes by, and
//! whether it has to end. Everything in it is bounded and cheap while empty.

use std::collections::{HashMap, HashSet, VecDeque};

use domain::user::PresenceChoice;
use domain::{Actor, ConversationId, SessionId, UserId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::frames::{Close, Presence, PresenceState, SignalFrame, SignalType};

/// Typing signals that wait for one connection; the oldest is lost.
const TYPING_WAITING_MAX: usize = 32;

/// Users of whom word waits to be told to one connection. One with more ends, and is told anew as what
/// all are shown when it comes back.
const PRESENCE_WAITING_MAX: usize = 4_096;

/// The place of one identified connection in the hub.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) login_epoch: u32,
    mail: Mutex<Mail>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    /// At most one for each conversation that the connection follows.
    dirty: HashSet<ConversationId>,
    typing: VecDeque<(ConversationId, UserId)>,
    presence: HashMap<UserId, PresenceState>,
    auditor_no_more: bool,
    /// What the user chose to be shown as since there is the mailbox.
    chosen: Option<PresenceChoice>,
    close: Option<Close>,
    /// The connection has ended.
    gone: bool,
}

/// What [`Mailbox::mark`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// The connection did not know that the conversation has news.
    New,
    /// It was told already.
    Already,
    /// There is no connection any more.
    Gone,
}

/// What was asked of the connection besides sending events.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) signals: Vec<SignalFrame>,
    pub(crate) auditor_no_more: bool,
}

impl Mailbox {
    /// Of a connection of `user` through the login `session`, which is of `login_epoch`.
    pub(crate) fn new(user: UserId, session: SessionId, login_epoch: u32) -> Self {
        Self {
            user,
            session,
            login_epoch,
            mail: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Notes that `conversation` has news. The connection is not woken yet.
    pub(crate) fn mark(&self, conversation: ConversationId) -> Marked {
        let mut mail = self.mail.lock();
        if mail.gone {
            Marked::Gone
        } else if mail.dirty.insert(conversation) {
            Marked::New
        } else {
            Marked::Already
        }
    }

    /// Marks nothing from now on. Returns what is marked: whoever follows it in the connection's
    /// name has to stop.
    pub(crate) fn leave(&self) -> HashSet<ConversationId> {
        let mut mail = self.mail.lock();
        mail.gone = true;
        std::mem::take(&mut mail.dirty)
    }

    /// Wakes the connection.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there may be something. One connection waits, so one permit is enough.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Whether any conversation has news.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.mail.lock().dirty.is_empty()
    }

    /// Takes the conversations that have news.
    pub(crate) fn take_dirty(&self) -> HashSet<ConversationId> {
        std::mem::take(&mut self.mail.lock().dirty)
    }

    /// Asks the connection to end. The first reason stays.
    pub(crate) fn close(&self, why: Close) {
        self.mail.lock().close.get_or_insert(why);
        self.wake();
    }

    /// Why the connection has to end, if it has to.
    pub(crate) fn closing(&self) -> Option<Close> {
        self.mail.lock().close
    }

    /// Notes as what the user is shown from now on.
    pub(crate) fn choose(&self, choice: PresenceChoice) {
        self.mail.lock().chosen = Some(choice);
    }

    /// As what the user chose to be shown since there is the mailbox, if they did.
    pub(crate) fn chosen(&self) -> Option<PresenceChoice> {
        self.mail.lock().chosen
    }

    /// Tells the connection that its user is an auditor no more.
    pub(crate) fn end_auditing(&self) {
        self.mail.lock().auditor_no_more = true;
        self.wake();
    }

    /// Leaves a typing signal.
    pub(crate) fn typing(&self, conversation: ConversationId, by: UserId) {
        let mut mail = self.mail.lock();
        if !mail.typing.contains(&(conversation, by)) {
            if mail.typing.len() == TYPING_WAITING_MAX {
                mail.typing.pop_front();
            }
            mail.typing.push_back((conversation, by));
        }
        drop(mail);
        self.wake();
    }

    /// Leaves word of as what a user is shown; the latest counts.
    pub(crate) fn presence(&self, of: UserId, state: PresenceState) {
        let mut mail = self.mail.lock();
        let fits = mail.presence.len() < PRESENCE_WAITING_MAX || mail.presence.contains_key(&of);
        if fits {
            mail.presence.insert(of, state);
        } else {
            mail.close.get_or_insert(Close::TryAgain);
        }
        drop(mail);
        self.wake();
    }

    /// Takes what is not about events.
    pub(crate) fn take_notices(&self) -> Notices {
        let mut mail = self.mail.lock();
        let typing = std::mem::take(&mut mail.typing);
        let presence = std::mem::take(&mut mail.presence);
        let auditor_no_more = std::mem::take(&mut mail.auditor_no_more);
        drop(mail);
        let typing = typing.into_iter().map(|(conversation, by)| SignalFrame {
            conversation: Some(conversation),
            signal_type: SignalType::Typing,
            actor: Actor::User(by),
            data: None,
        });
        let presence = presence.into_iter().map(|(of, state)| SignalFrame {
            conversation: None,
            signal_type: SignalType::Presence,
            actor: Actor::User(of),
            data: Some(Presence { state }),
        });
        Notices {
            signals: typing.chain(presence).collect(),
            auditor_no_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use infra::clock::fresh_id;

    use super::*;

    #[test]
    fn who_cannot_be_told_of_all_has_to_come_back_and_nothing_is_lost_in_silence() {
        let mailbox = Mailbox::new(UserId(fresh_id()), SessionId(fresh_id()), 0);
        let users: Vec<UserId> = std::iter::repeat_with(|| UserId(fresh_id()))
            .take(PRESENCE_WAITING_MAX)
            .collect();
        for state in [PresenceState::Online, PresenceState::Offline] {
            for user in &users {
                mailbox.presence(*user, state);
            }
        }
        assert_eq!(mailbox.closing(), None);
        assert_eq!(mailbox.take_notices().signals.len(), users.len());
        for user in &users {
            mailbox.presence(*user, PresenceState::Online);
        }
        mailbox.presence(UserId(fresh_id()), PresenceState::Online);
        assert_eq!(mailbox.closing(), Some(Close::TryAgain));
    }
}
