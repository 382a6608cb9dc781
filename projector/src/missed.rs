//! What somebody missed, all together: for what is told when quiet hours end, when a browser can be reached
//! again, and in a mail.

use chrono::{DateTime, Utc};
use domain::conversation::{Conversation, Kind};
use domain::notifications::{Level, Place, Rule, Settings};
use domain::{ConversationId, UserId};
use infra::read_models::messages::unseen::{Unseen, Window, unseen};
use infra::read_models::{
    Model, ReadError, Snapshot, conversations, members, messages, notifications, receipts,
    sessions, spaces, users,
};

/// Of so many conversations, those in which something happened last, it is known what was missed.
const CONVERSATIONS_MAX: usize = 100;

/// What it is read from.
pub(crate) const MODELS: [&Model; 8] = [
    &conversations::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &notifications::MODEL,
    &receipts::MODEL,
    &sessions::MODEL,
    &spaces::MODEL,
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
    pub(crate) conversation: ConversationId,
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

/// What `user`, who set `settings`, has not seen at `now` of what is in `window`, as far as they are told of
/// it: by the same rules as of a single message, which are those of `Situation::verdict`. Needs [`MODELS`].
pub(crate) async fn missed(
    snapshot: &mut Snapshot,
    user: UserId,
    settings: &Settings,
    window: Window,
    now: DateTime<Utc>,
    of: Of,
) -> Result<Missed, ReadError> {
    let rules = notifications::rules(snapshot, user).await?;
    let mut missed = Missed::default();
    for unseen in unseen(snapshot, user, window, CONVERSATIONS_MAX).await? {
        let Unseen {
            conversation, kind, ..
        } = unseen;
        let rule = rules.iter().find(|rule| rule.conversation == conversation);
        let rule = rule.map_or_else(Rule::default, notifications::ConversationRule::rule);
        let place = place(snapshot, conversation, kind).await?;
        let messages = match (settings.level(rule, place), place) {
            _ if rule.is_muted(now) => 0,
            // Between two there is nobody else whom a thread could be for.
            (Level::All, Place::Direct) => unseen.all,
            (Level::All, Place::SmallGroup | Place::LargeGroup) if of == Of::Rules => unseen.plain,
            (Level::All | Level::Mentions, _) => unseen.calls,
            (Level::None, _) => 0,
        };
        if messages > 0 {
            missed.conversations.push(MissedIn {
                conversation,
                messages,
            });
        }
    }
    Ok(missed)
}
