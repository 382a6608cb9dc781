//! What browsers get: short JSON, from which an app makes what it shows.

use domain::{ConversationId, PushSubscriptionId, Seq, UserId};
use infra::failure::Failure;
use infra::push::{Push, Urgency};
use serde::Serialize;

use crate::missed::Missed;

/// What a push says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Payload {
    /// Somebody wrote.
    Message(MessagePayload),
    /// Several did, while nothing was told.
    Missed {
        /// How many messages.
        messages: u64,
        /// In how many conversations.
        conversations: usize,
    },
}

/// Of one message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MessagePayload {
    pub(super) conversation: ConversationId,
    pub(super) seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread: Option<Seq>,
    /// Why one is told: `message`, `mention`, `reply` or `thread_answer`.
    pub(super) reason: &'static str,
    pub(super) author: UserId,
    /// What the author wants to be called.
    pub(super) author_name: String,
    /// Of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// How the message begins, for those who want that, unless it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

impl Payload {
    /// That all this was missed.
    pub(super) fn missed(missed: &Missed) -> Self {
        Self::Missed {
            messages: missed.messages(),
            conversations: missed.conversations.len(),
        }
    }

    /// The push of this to `subscription`; `name` is the same where it is the same again.
    pub(super) fn push(
        &self,
        name: &str,
        subscription: PushSubscriptionId,
    ) -> Result<Push, Failure> {
        let urgency = match self {
            Self::Message(_) => Urgency::High,
            Self::Missed { .. } => Urgency::Normal,
        };
        Push::new(format!("{name}/{subscription}").as_bytes(), urgency, self)
    }
}
