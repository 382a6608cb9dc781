//! What passes by: typing, and word from other nodes. It lives in mailboxes, never in the log, and may
//! be lost.

use domain::{ConversationId, UserId};
use infra::bus::{Signal, SignalKind};

use crate::hub::Hub;

/// Typing is passed on where no more people than this are connected; in a larger conversation it is lost.
const TYPING_LISTENERS_MAX: usize = 1_000;

impl Hub {
    /// Passes on that `by` is writing in `conversation`, here and to the other nodes; not of one who
    /// chose not to be seen.
    pub(crate) fn typing(&self, conversation: ConversationId, by: UserId) {
        if self.is_invisible(by) {
            return;
        }
        self.tell_typing(conversation, by);
        self.say(SignalKind::Typing {
            conversation,
            user: by,
        });
    }

    /// Says something to the other nodes.
    pub(crate) fn say(&self, kind: SignalKind) {
        let node = self.node;
        self.signals.send(&Signal { node, kind });
    }

    /// Takes what a node says; what this one said itself is no news.
    pub(crate) fn hear(&self, signal: Signal) {
        let Signal { node, kind } = signal;
        if node == self.node {
            return;
        }
        match kind {
            SignalKind::Typing { conversation, user } => self.tell_typing(conversation, user),
            presence => self.hear_presence(node, presence),
        }
    }

    fn tell_typing(&self, conversation: ConversationId, by: UserId) {
        for listener in self.listeners(conversation, TYPING_LISTENERS_MAX) {
            if listener != by {
                for mailbox in self.connections_of(listener) {
                    mailbox.typing(conversation, by);
                }
            }
        }
    }
}
