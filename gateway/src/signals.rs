//! Typing and presence: what passes by. It lives in mailboxes, never in the log, and may be lost.
//!
//! A user is online while they have a connection to this process; several connections are one user.
//! The end of the last one is told after a short while, and not at all if they are back by then.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::{ConversationId, UserId};
use parking_lot::Mutex;

use crate::frames::PresenceState;
use crate::hub::Hub;

/// Typing is passed on to no more connections than this; in a larger conversation it is lost.
const TYPING_FOLLOWERS_MAX: usize = 1_000;

/// Conversations with more connections than this say nothing of who is online.
const PRESENCE_FOLLOWERS_MAX: usize = 200;

/// Of a user's conversations only so many are told of their coming and going.
pub(crate) const PRESENCE_CONVERSATIONS_MAX: usize = 200;

/// Most users named as online when a connection begins.
const ONLINE_MAX: usize = 100;

/// Who is here, and whose last connection ended a moment ago.
#[derive(Default)]
pub(crate) struct Presences(Mutex<Here>);

#[derive(Default)]
struct Here {
    /// Connections of each user.
    connections: HashMap<UserId, usize>,
    /// As many as lose their last connection within the time that others are kept waiting.
    absences: HashMap<UserId, Absence>,
}

/// A user who went, and who is to be told.
struct Absence {
    since: Instant,
    conversations: Vec<ConversationId>,
}

impl Presences {
    /// How often it is looked at who has been away for long enough.
    pub(crate) const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
}

impl Hub {
    /// Passes on that `by` is writing in `conversation`.
    pub(crate) fn typing(&self, conversation: ConversationId, by: UserId) {
        self.each_follower(conversation, TYPING_FOLLOWERS_MAX, |follower| {
            if follower.user != by {
                follower.typing(conversation, by);
            }
        });
    }

    /// A connection of `user` began. Those in `conversations` are told if it is the first.
    pub(crate) fn came(&self, user: UserId, conversations: &[ConversationId]) {
        let mut here = self.presences.0.lock();
        let connections = here.connections.entry(user).or_default();
        *connections += 1;
        let is_first = *connections == 1;
        let was_away_briefly = here.absences.remove(&user).is_some();
        drop(here);
        if is_first && !was_away_briefly {
            self.tell_presence(user, PresenceState::Online, conversations);
        }
    }

    /// A connection of `user` ends. Those in `conversations` are told after a while if it was the
    /// last.
    pub(crate) fn goes(&self, user: UserId, conversations: Vec<ConversationId>) {
        let mut here = self.presences.0.lock();
        if let Some(connections) = here.connections.get_mut(&user) {
            *connections -= 1;
            if *connections == 0 {
                here.connections.remove(&user);
                let since = Instant::now();
                let absence = Absence {
                    since,
                    conversations,
                };
                here.absences.insert(user, absence);
            }
        }
    }

    /// Tells of those who have been away for `offline_after`.
    pub(crate) fn tell_absences(&self, offline_after: Duration) {
        let now = Instant::now();
        let gone: Vec<_> = self
            .presences
            .0
            .lock()
            .absences
            .extract_if(|_, absence| now.duration_since(absence.since) >= offline_after)
            .collect();
        for (user, absence) in gone {
            self.tell_presence(user, PresenceState::Offline, &absence.conversations);
        }
    }

    fn tell_presence(&self, of: UserId, state: PresenceState, conversations: &[ConversationId]) {
        for conversation in conversations.iter().take(PRESENCE_CONVERSATIONS_MAX) {
            self.each_follower(*conversation, PRESENCE_FOLLOWERS_MAX, |follower| {
                if follower.user != of {
                    follower.presence(of, state);
                }
            });
        }
    }

    /// Who is online among those who share one of `conversations` with `user`.
    pub(crate) fn online_with(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Vec<UserId> {
        let mut online = HashSet::new();
        for conversation in conversations.iter().take(PRESENCE_CONVERSATIONS_MAX) {
            self.each_follower(*conversation, PRESENCE_FOLLOWERS_MAX, |follower| {
                if follower.user != user && online.len() < ONLINE_MAX {
                    online.insert(follower.user);
                }
            });
        }
        online.into_iter().collect()
    }
}
