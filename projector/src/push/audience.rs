//! Who is told of a message, and what.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::{Mention, MentionedRole, MessageSent, Role};
use domain::notifications::{Reach, Situation, Verdict};
use domain::pushes::Untold;
use domain::{ConversationId, Position, Seq, UserId};
use infra::database::Database;
use infra::read_models::conversations::preview;
use infra::read_models::notifications::{
    CalledRole, Calls, Candidate, Message, PushSubscription, candidates, subscriptions,
};
use infra::read_models::{ReadError, Snapshot, conversations, messages, users};

use super::payload::{MessagePayload, Payload};
use crate::missed::{MODELS, place};

/// Members who are looked at together.
pub(super) const CHUNK: usize = 100;

/// Older messages are told to nobody who was not told of them in time.
pub(super) const AGE_MAX: TimeDelta = TimeDelta::hours(1);

/// A message of which people may be told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// In the log.
    pub(super) position: Position,
    /// What names the pushes of it.
    pub(super) name: String,
    pub(super) conversation: ConversationId,
    pub(super) seq: Seq,
    pub(super) sent: MessageSent,
    /// When it was recorded.
    pub(super) at: DateTime<Utc>,
    /// When people are told, if they have not seen it by then.
    pub(super) due: DateTime<Utc>,
}

impl Told {
    /// Whether nobody is told of it any more at `now`.
    pub(super) fn is_too_late(&self, now: DateTime<Utc>) -> bool {
        let is_too_late = self.at + AGE_MAX < now;
        if is_too_late {
            metrics::counter!("verbatim_pushes_too_late_total").increment(1);
        }
        is_too_late
    }
}

/// A push to be sent.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) subscription: PushSubscription,
    pub(super) name: String,
    pub(super) payload: Payload,
    /// From where on the browser is told what was missed, if its push service does not take this.
    pub(super) untold: Untold,
    /// Up to where in the log this is about.
    pub(super) up_to: Position,
}

/// Some of those who may be told of a message.
pub(super) struct Chunk {
    pub(super) sendings: Vec<Sending>,
    /// Up to whom it goes; `None` where it is the last.
    pub(super) up_to: Option<UserId>,
}

/// Those after `after` who are told of `told`. Nobody is told of a message that is gone.
pub(super) async fn chunk(
    database: &Database,
    told: &Told,
    after: UserId,
    now: DateTime<Utc>,
) -> Result<Chunk, ReadError> {
    let none = Chunk {
        sendings: Vec::new(),
        up_to: None,
    };
    let mut snapshot = Snapshot::of(database, &MODELS).await?;
    let snapshot = &mut snapshot;
    let Some(conversation) = conversations::one(snapshot, told.conversation).await? else {
        return Ok(none);
    };
    let message = messages::one(snapshot, told.conversation, told.seq).await?;
    let Some(message) = message.filter(|message| message.deleted_seq.is_none()) else {
        return Ok(none);
    };
    let answered = match told.sent.reply_to {
        Some(seq) => messages::one(snapshot, told.conversation, seq).await?,
        None => None,
    };
    let answered = answered.map(|answered| answered.author);
    let mut calls = calls(&told.sent);
    let called = calls.users.clone();
    calls.users.extend(answered);
    let asked = Message {
        conversation: told.conversation,
        space: conversation.space,
        seq: told.seq,
        author: told.sent.author,
        thread: told.sent.thread,
        place: place(snapshot, told.conversation, conversation.kind).await?,
        calls,
    };
    let found = candidates(snapshot, &asked, after, now, CHUNK).await?;
    let up_to = found.last().filter(|_| found.len() == CHUNK);
    let up_to = up_to.map(|last| last.user);
    let author = users::one(snapshot, told.sent.author).await?;
    let payload = MessagePayload {
        conversation: told.conversation,
        seq: told.seq,
        thread: told.sent.thread,
        reason: "message",
        author: told.sent.author,
        author_name: author.map_or_else(String::new, |author| author.display_name),
        title: conversation.title,
        text: None,
    };
    let text = message.wording.body.as_deref().map(preview);
    let mut payloads = std::collections::BTreeMap::new();
    for candidate in found {
        let reach = reach(&asked, &called, answered, &candidate);
        let situation = Situation {
            is_blocked: candidate.is_blocked,
            is_seen: candidate.is_seen,
            place: asked.place,
            reach,
            rule: candidate.rule,
            settings: &candidate.settings,
            // Not now: who looks at it again comes to the same.
            at: told.due,
        };
        if situation.verdict() == Verdict::Tell {
            let text = text.clone().filter(|_| candidate.settings.include_text);
            let payload = MessagePayload {
                reason: reason(reach),
                text,
                ..payload.clone()
            };
            payloads.insert(candidate.user, payload);
        }
    }
    let tells: Vec<UserId> = payloads.keys().copied().collect();
    let mut sendings = Vec::new();
    for subscription in subscriptions(snapshot, &tells).await? {
        if let Some(payload) = payloads.get(&subscription.user_id) {
            sendings.push(Sending {
                subscription,
                name: told.name.clone(),
                payload: Payload::Message(payload.clone()),
                untold: Untold {
                    since: told.at,
                    after: Position(told.position.0.saturating_sub(1)),
                },
                up_to: told.position,
            });
        }
    }
    Ok(Chunk { sendings, up_to })
}

fn calls(sent: &MessageSent) -> Calls {
    let mut calls = Calls::default();
    for mention in &sent.mentions {
        match mention {
            Mention::User(user) => {
                calls.users.insert(*user);
            }
            Mention::Everyone => calls.everyone = true,
            Mention::Role(MentionedRole::Admin) => calls.admins = true,
            Mention::Role(MentionedRole::Owner) => calls.owner = true,
            Mention::SpaceRole(role) => {
                calls.roles.insert(*role);
            }
            // Those who are there see it.
            Mention::Here => {}
        }
    }
    calls
}

fn reach(
    message: &Message,
    called: &BTreeSet<UserId>,
    answered: Option<UserId>,
    candidate: &Candidate,
) -> Reach {
    let calls = &message.calls;
    let by_role = match candidate.role {
        Role::Owner => calls.owner || calls.admins,
        Role::Admin => calls.admins,
        Role::Member => false,
    };
    let by_role = by_role || candidate.called_role == CalledRole::Held;
    if calls.everyone || by_role || called.contains(&candidate.user) {
        Reach::Called
    } else if answered == Some(candidate.user) {
        Reach::Reply
    } else if candidate.follows {
        Reach::FollowedThread
    } else if message.thread.is_some() {
        Reach::OtherThread
    } else {
        Reach::Conversation
    }
}

const fn reason(reach: Reach) -> &'static str {
    match reach {
        Reach::Called => "mention",
        Reach::Reply => "reply",
        Reach::FollowedThread => "thread_answer",
        Reach::OtherThread | Reach::Conversation => "message",
    }
}
