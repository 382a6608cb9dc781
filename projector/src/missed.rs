//! What somebody missed, all together: for what is told when quiet hours end, when a browser can be reached
//! again, and in a mail.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::conversation::{Conversation, Kind};
use domain::notifications::{Level, Place, Rule, Settings};
use domain::{ConversationId, UserId};
use infra::read_models::conversations::{self, Listed};
use infra::read_models::messages::notices::{self, NoticeKind};
use infra::read_models::{
    Model, ReadError, Snapshot, members, messages, notifications, receipts, sessions, users,
};

/// Of so many conversations, those in which something happened last, it is known what was missed.
const CONVERSATIONS_MAX: usize = 100;

/// So much of what concerned somebody last is looked at.
const NOTICES_MAX: usize = 200;

/// What it is read from.
pub(crate) const MODELS: [&Model; 7] = [
    &conversations::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &notifications::MODEL,
    &receipts::MODEL,
    &sessions::MODEL,
    &users::MODEL,
];

/// What somebody missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// In which conversations; those with the newest messages first.
    pub(crate) conversations: Vec<MissedIn>,
}

/// What they missed in one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissedIn {
    /// The conversation.
    pub(crate) listed: Listed,
    /// How many messages they are told of.
    pub(crate) messages: u64,
}

impl Missed {
    /// How many messages they are told of.
    pub(crate) fn messages(&self) -> u64 {
        self.conversations.iter().map(|it| it.messages).sum()
    }
}

/// Of what somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Of what their rules say.
    Rules,
    /// Of that no more than direct conversations and calls.
    DirectAndCalls,
}

/// Where a message in `conversation` is, as far as it counts.
pub(crate) async fn place(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    kind: Kind,
) -> Result<Place, ReadError> {
    match kind {
        Kind::Direct => Ok(Place::Direct),
        Kind::Group | Kind::Channel => {
            let few = Conversation::ALL_CALL_EVERYONE_MAX;
            let some = members::at(snapshot, conversation, None, None, few + 1).await?;
            Ok(if some.len() > few {
                Place::LargeGroup
            } else {
                Place::SmallGroup
            })
        }
    }
}

/// How many messages called `user`, answered them or were in threads that they follow, since `since`, and
/// are not known to them: by conversation.
async fn calls(
    snapshot: &mut Snapshot,
    user: UserId,
    since: DateTime<Utc>,
) -> Result<BTreeMap<ConversationId, u64>, ReadError> {
    let mut calls = BTreeMap::new();
    for listed in notices::list(snapshot, user, None, NOTICES_MAX).await? {
        let is_call = match listed.notice.kind {
            NoticeKind::Mention | NoticeKind::Reply | NoticeKind::ThreadAnswer => true,
            NoticeKind::Reaction | NoticeKind::Added | NoticeKind::RoleChanged => false,
        };
        if is_call && !listed.is_read && listed.notice.at >= since {
            *calls.entry(listed.notice.conversation).or_default() += 1;
        }
    }
    Ok(calls)
}

/// What `user`, who set `settings`, has not seen at `now` in conversations in which something came since
/// `since`. Needs [`MODELS`].
pub(crate) async fn missed(
    snapshot: &mut Snapshot,
    user: UserId,
    settings: &Settings,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    of: Of,
) -> Result<Missed, ReadError> {
    let rules = notifications::rules(snapshot, user).await?;
    let listed = conversations::of_member(snapshot, user, None, CONVERSATIONS_MAX).await?;
    let calls = calls(snapshot, user, since).await?;
    let mut missed = Missed::default();
    for listed in listed {
        let conversation = &listed.conversation;
        let is_new = conversation.last_message_at.is_some_and(|at| at >= since);
        let unread = if is_new { listed.unread } else { 0 };
        let calls = calls.get(&conversation.id).copied().unwrap_or_default();
        if unread == 0 && calls == 0 {
            continue;
        }
        let rule = rules
            .iter()
            .find(|rule| rule.conversation == conversation.id);
        let rule = rule.map_or_else(Rule::default, notifications::ConversationRule::rule);
        let place = place(snapshot, conversation.id, conversation.kind).await?;
        let messages = match settings.level(rule, place) {
            _ if rule.is_muted(now) => 0,
            Level::All if of == Of::Rules || place == Place::Direct => unread.max(calls),
            Level::All | Level::Mentions => calls,
            Level::None => 0,
        };
        if messages > 0 {
            missed.conversations.push(MissedIn { listed, messages });
        }
    }
    Ok(missed)
}
