//! Messages as they read now, what edits replaced, reactions, whom they call, which are pinned, and the
//! threads that they are in. And what of it concerned whom.

mod attached;
pub mod notices;
mod read;
mod threads;
pub mod unseen;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::conversation::{Encrypted, Mention, MentionedRole, Origin, Role, Said, TextFormat};
use domain::{ConversationId, Position, Seq, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::database::{
    AsJson, DatabaseError, Index, Row, Table, Transaction, id, int, micros, micros_if_any, text,
    time,
};
use attached::ATTACHED;
pub use attached::{Attached, attached, attached_to, is_seen, load_attached, uses};
pub use read::{
    Messages, Page, Which, at, find, history, one, page, pins, pins_of, reactions, revisions,
};
pub use threads::{
    Follower, FollowerKey, LastAnswer, Standing, Summary, Thread, ThreadKey, followed,
    load_followers, load_threads, of_conversation, standings, summaries,
};

use crate::read_models::{Model, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "messages",
    version: 4,
    category: "conversation",
    tables: &[
        &MESSAGES, &REVISIONS, &REACTIONS, &PINS, &MENTIONS, &THREADS, &FOLLOWERS, &ATTACHED,
        &NOTICES,
    ],
};

const MESSAGES: Table = Table {
    name: "messages",
    columns: &[
        id("conversation"),
        int("seq"),
        int("position"),
        int("ordinal"),
        id("author"),
        text("format"),
        text("body").nullable(),
        text("encrypted").nullable(),
        int("reply_to").nullable(),
        int("thread").nullable(),
        int("thread_ordinal").nullable(),
        text("mentions").nullable(),
        text("origin").nullable(),
        text("system").nullable(),
        time("sent_at"),
        int("edited_seq").nullable(),
        time("edited_at").nullable(),
        int("deleted_seq").nullable(),
        id("deleted_by").nullable(),
        text("deleted_reason").nullable(),
        time("deleted_at").nullable(),
    ],
    key: &["conversation", "seq"],
    indexes: &[
        Index {
            name: "by_author",
            columns: "conversation, author, ordinal",
            condition: Some("thread IS NULL AND system IS NULL"),
        },
        Index {
            name: "deleted",
            columns: "conversation, ordinal",
            condition: Some("thread IS NULL AND deleted_seq IS NOT NULL"),
        },
        Index {
            name: "main",
            columns: "conversation, seq",
            condition: Some("thread IS NULL"),
        },
        Index {
            name: "by_thread",
            columns: "conversation, thread, seq",
            condition: Some("thread IS NOT NULL"),
        },
        Index {
            name: "by_thread_author",
            columns: "conversation, thread, author, thread_ordinal",
            condition: Some("thread IS NOT NULL"),
        },
        Index {
            name: "thread_deleted",
            columns: "conversation, thread, thread_ordinal",
            condition: Some("thread IS NOT NULL AND deleted_seq IS NOT NULL"),
        },
    ],
};

/// Bodies that an edit replaced: one who left before the edit goes on to see these.
const REVISIONS: Table = Table {
    name: "message_revisions",
    columns: &[
        id("conversation"),
        int("message"),
        int("seq"),
        text("format"),
        text("body").nullable(),
        text("encrypted").nullable(),
        time("at"),
    ],
    key: &["conversation", "message", "seq"],
    indexes: &[],
};

const REACTIONS: Table = Table {
    name: "reactions",
    columns: &[
        id("conversation"),
        int("message"),
        text("emoji"),
        id("member"),
        int("seq"),
        time("reacted_at"),
    ],
    key: &["conversation", "message", "emoji", "member"],
    indexes: &[],
};

const PINS: Table = Table {
    name: "pins",
    columns: &[
        id("conversation"),
        int("message"),
        int("seq"),
        id("pinned_by"),
        time("pinned_at"),
    ],
    key: &["conversation", "message"],
    indexes: &[],
};

/// Whom messages call that are not deleted: one row for each member or kind of member.
const MENTIONS: Table = Table {
    name: "mentions",
    columns: &[
        id("conversation"),
        text("target"),
        int("message"),
        id("author"),
        int("thread").nullable(),
    ],
    key: &["conversation", "target", "message"],
    indexes: &[Index {
        name: "by_message",
        columns: "conversation, message",
        condition: None,
    }],
};

/// Threads: one row for each message about which something was said.
const THREADS: Table = Table {
    name: "threads",
    columns: &[
        id("conversation"),
        int("root"),
        int("answers"),
        int("last_position"),
    ],
    key: &["conversation", "root"],
    indexes: &[Index {
        name: "by_last",
        columns: "conversation, last_position",
        condition: None,
    }],
};

const FOLLOWERS: Table = Table {
    name: "thread_followers",
    columns: &[
        id("conversation"),
        int("thread"),
        id("member"),
        int("since_seq"),
    ],
    key: &["conversation", "thread", "member"],
    indexes: &[Index {
        name: "by_member",
        columns: "member, conversation, thread",
        condition: None,
    }],
};

const NOTICES: Table = Table {
    name: "notices",
    columns: &[
        id("user_id"),
        int("position"),
        id("conversation"),
        int("seq"),
        text("kind"),
        int("message"),
        int("thread").nullable(),
        id("actor"),
        time("at"),
        text("detail").nullable(),
    ],
    key: &["user_id", "position"],
    indexes: &[Index {
        name: "by_message",
        columns: "conversation, message, seq",
        condition: None,
    }],
};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text as it stands.
    Plain,
    /// `CommonMark`; raw HTML in it is text.
    Markdown,
    /// An envelope that only its readers' devices open.
    Encrypted,
}

impl From<&Said> for Format {
    fn from(said: &Said) -> Self {
        match said {
            Said::Text { format, .. } => match format {
                TextFormat::Plain => Self::Plain,
                TextFormat::Markdown => Self::Markdown,
            },
            Said::Encrypted { .. } => Self::Encrypted,
        }
    }
}

/// What a message tells that nobody wrote: that who is in the conversation, or as what, changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum System {
    /// Somebody is in.
    MemberAdded {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// Somebody was put out.
    MemberRemoved {
        /// Who.
        user: UserId,
    },
    /// Somebody went.
    MemberLeft {
        /// Who.
        user: UserId,
    },
    /// Somebody may do more or less.
    MemberRoleChanged {
        /// Who.
        user: UserId,
        /// What they are now.
        role: Role,
    },
}

/// What a message says: a body or an envelope; neither once it is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wording {
    /// Which of them, and how it is meant.
    pub format: Format,
    /// The text.
    pub body: Option<String>,
    /// The envelope.
    pub encrypted: Option<AsJson<Encrypted>>,
}

impl Wording {
    /// What was said.
    pub fn of(said: &Said) -> Self {
        let encrypted = match said {
            Said::Text { .. } => None,
            Said::Encrypted { encrypted } => Some(AsJson(encrypted.value.clone())),
        };
        Self {
            format: said.into(),
            body: said.text().map(str::to_owned),
            encrypted,
        }
    }

    /// Of what nobody wrote.
    pub const fn none() -> Self {
        Self {
            format: Format::Plain,
            body: None,
            encrypted: None,
        }
    }

    /// Takes the words away.
    pub fn clear(&mut self) {
        self.body = None;
        self.encrypted = None;
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            format: parse_stored(&row.get::<String>("format")?)?,
            body: row.get("body")?,
            encrypted: row.get("encrypted")?,
        })
    }
}

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Where.
    pub conversation: ConversationId,
    /// Its name there.
    pub seq: Seq,
    /// In the log.
    pub position: Position,
    /// The how-manieth of its conversation outside threads, from 1; of one in a thread, or that nobody
    /// wrote, how many of those came before.
    pub ordinal: u64,
    /// Who wrote it.
    pub author: UserId,
    /// As last edited.
    #[serde(flatten)]
    pub wording: Wording,
    /// Which message it answers.
    pub reply_to: Option<Seq>,
    /// The message in whose thread it is.
    pub thread: Option<Seq>,
    /// The how-manieth of its thread, from 1.
    pub thread_ordinal: Option<u64>,
    /// Whom it calls; nobody once it is deleted.
    pub mentions: Option<AsJson<BTreeSet<Mention>>>,
    /// The message that it forwards.
    pub origin: Option<AsJson<Origin>>,
    /// What it tells of the members, if nobody wrote it: then its author is who did that.
    pub system: Option<AsJson<System>>,
    /// When it was said.
    #[serde(serialize_with = "micros")]
    pub sent_at: DateTime<Utc>,
    /// The last edit, if there was one.
    pub edited_seq: Option<Seq>,
    /// Its time.
    #[serde(serialize_with = "micros_if_any")]
    pub edited_at: Option<DateTime<Utc>>,
    /// The delete, if there was one.
    pub deleted_seq: Option<Seq>,
    /// Who deleted it.
    pub deleted_by: Option<UserId>,
    /// Why, in their words.
    pub deleted_reason: Option<String>,
    /// When.
    #[serde(serialize_with = "micros_if_any")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A row of `message_revisions`: how a message read from `seq` on, until the next edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Where.
    pub conversation: ConversationId,
    /// Which message.
    pub message: Seq,
    /// The event that made it so: the message itself, or an edit.
    pub seq: Seq,
    /// How it read.
    #[serde(flatten)]
    pub wording: Wording,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
}

/// A row of `reactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reaction {
    /// Where.
    pub conversation: ConversationId,
    /// To which message.
    pub message: Seq,
    /// Which.
    pub emoji: String,
    /// Whose.
    pub member: UserId,
    /// The event that added it.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "micros")]
    pub reacted_at: DateTime<Utc>,
}

/// A row of `pins`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// Where.
    pub conversation: ConversationId,
    /// Which message.
    pub message: Seq,
    /// The event that pinned it.
    pub seq: Seq,
    /// Who did.
    pub pinned_by: UserId,
    /// When.
    #[serde(serialize_with = "micros")]
    pub pinned_at: DateTime<Utc>,
}

/// A row of `mentions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mentioned {
    /// Where.
    pub conversation: ConversationId,
    /// Who: a user's id, `everyone`, `admin`, `owner`, or `role:` and the id of a role of a space.
    pub target: String,
    /// By which message.
    pub message: Seq,
    /// By whom.
    pub author: UserId,
    /// In which thread.
    pub thread: Option<Seq>,
}

/// What a role of a space has before its id in `mentions`.
pub(super) const ROLE_TARGET: &str = "role:";

/// How `mention` stands in `mentions`; `None` where it counts for nobody.
pub fn target(mention: Mention) -> Option<String> {
    match mention {
        Mention::User(user) => Some(user.to_string()),
        Mention::Everyone => Some("everyone".to_owned()),
        Mention::Role(MentionedRole::Admin) => Some("admin".to_owned()),
        Mention::Role(MentionedRole::Owner) => Some("owner".to_owned()),
        Mention::SpaceRole(role) => Some(format!("{ROLE_TARGET}{role}")),
        Mention::Here => None,
    }
}

/// Names a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MessageKey {
    /// Where.
    pub conversation: ConversationId,
    /// Which.
    pub message: Seq,
}

/// Names a reaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ReactionKey {
    /// Where.
    pub conversation: ConversationId,
    /// To which message.
    pub message: Seq,
    /// Which.
    pub emoji: String,
    /// Whose.
    pub member: UserId,
}

impl Message {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            seq: row.get("seq")?,
            position: row.get("position")?,
            ordinal: row.get("ordinal")?,
            author: row.get("author")?,
            wording: Wording::from_row(row)?,
            reply_to: row.get("reply_to")?,
            thread: row.get("thread")?,
            thread_ordinal: row.get("thread_ordinal")?,
            mentions: row.get("mentions")?,
            origin: row.get("origin")?,
            system: row.get("system")?,
            sent_at: row.get("sent_at")?,
            edited_seq: row.get("edited_seq")?,
            edited_at: row.get("edited_at")?,
            deleted_seq: row.get("deleted_seq")?,
            deleted_by: row.get("deleted_by")?,
            deleted_reason: row.get("deleted_reason")?,
            deleted_at: row.get("deleted_at")?,
        })
    }
}

impl Reaction {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            emoji: row.get("emoji")?,
            member: row.get("member")?,
            seq: row.get("seq")?,
            reacted_at: row.get("reacted_at")?,
        })
    }
}

impl Revision {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            seq: row.get("seq")?,
            wording: Wording::from_row(row)?,
            at: row.get("at")?,
        })
    }
}

impl Pin {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            seq: row.get("seq")?,
            pinned_by: row.get("pinned_by")?,
            pinned_at: row.get("pinned_at")?,
        })
    }
}

/// The messages of `keys` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    keys: impl IntoIterator<Item = MessageKey>,
) -> Result<Vec<Message>, DatabaseError> {
    let keys: Vec<RowKey> = keys.into_iter().map(RowKey::of).collect();
    MESSAGES
        .load(transaction, generation, MESSAGES.key, &keys)
        .await?
        .iter()
        .map(Message::from_row)
        .collect()
}

/// A message's key, as its own table names it.
#[derive(Serialize)]
struct RowKey {
    conversation: ConversationId,
    seq: Seq,
}

impl RowKey {
    const fn of(key: MessageKey) -> Self {
        Self {
            conversation: key.conversation,
            seq: key.message,
        }
    }
}

/// The pins of `messages` that are there in a generation.
pub async fn load_pins(
    transaction: &mut Transaction,
    generation: u64,
    messages: &[MessageKey],
) -> Result<Vec<Pin>, DatabaseError> {
    PINS.load(transaction, generation, PINS.key, messages)
        .await?
        .iter()
        .map(Pin::from_row)
        .collect()
}

/// The reactions of `keys` that are there in a generation.
pub async fn load_reactions(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[&ReactionKey],
) -> Result<Vec<Reaction>, DatabaseError> {
    REACTIONS
        .load(transaction, generation, REACTIONS.key, keys)
        .await?
        .iter()
        .map(Reaction::from_row)
        .collect()
}

/// How many messages outside threads each of `conversations` has in a generation; those without are left out.
pub async fn load_ordinals(
    transaction: &mut Transaction,
    generation: u64,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<(ConversationId, u64)>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        conversation: ConversationId,
    }
    let keys: Vec<Key> = conversations
        .into_iter()
        .map(|conversation| Key { conversation })
        .collect();
    let sql = format!(
        "SELECT k.conversation AS conversation, (SELECT t.ordinal FROM {} AS t \
         WHERE t.conversation = k.conversation ORDER BY t.seq DESC LIMIT 1) AS ordinal FROM {}",
        MESSAGES.physical(generation),
        MESSAGES.keys_of(transaction.dialect(), &["conversation"]),
    );
    let mut ordinals = Vec::new();
    for row in transaction
        .all(&sql, &[crate::database::json(&keys)?])
        .await?
    {
        if let Some(ordinal) = row.get("ordinal")? {
            ordinals.push((row.get("conversation")?, ordinal));
        }
    }
    Ok(ordinals)
}

/// What a batch changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Messages that are new or read otherwise.
    pub messages: Vec<Message>,
    /// Bodies that were replaced.
    pub revisions: Vec<Revision>,
    /// Reactions that are there now.
    pub reactions: Vec<Reaction>,
    /// Reactions that are gone.
    pub reactions_gone: Vec<ReactionKey>,
    /// Pins that are there now.
    pub pins: Vec<Pin>,
    /// Messages that are pinned no longer.
    pub pins_gone: Vec<MessageKey>,
    /// Whom new messages call.
    pub mentions: Vec<Mentioned>,
    /// Threads that are new or went on.
    pub threads: Vec<Thread>,
    /// Files that come with messages, or do no more.
    pub attached: Vec<Attached>,
    /// Who follows a thread now.
    pub followers: Vec<Follower>,
    /// Who follows a thread no longer.
    pub followers_gone: Vec<FollowerKey>,
    /// What concerned somebody.
    pub notices: Vec<notices::Notice>,
    /// Reactions that were taken back, and concern nobody any more.
    pub notices_taken_back: Vec<notices::EventKey>,
    /// Who left: what concerned them there does no more.
    pub notices_left: Vec<notices::MemberKey>,
    /// Messages that lose their reactions, pin, mentions, notices and earlier bodies because they were
    /// deleted.
    pub stripped: Vec<MessageKey>,
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    let by = ["conversation", "message"];
    MESSAGES
        .upsert(transaction, generation, &changes.messages)
        .await?;
    REVISIONS
        .upsert(transaction, generation, &changes.revisions)
        .await?;
    REVISIONS
        .delete(transaction, generation, &by, &changes.stripped)
        .await?;
    REACTIONS
        .upsert(transaction, generation, &changes.reactions)
        .await?;
    REACTIONS
        .delete(
            transaction,
            generation,
            REACTIONS.key,
            &changes.reactions_gone,
        )
        .await?;
    REACTIONS
        .delete(transaction, generation, &by, &changes.stripped)
        .await?;
    PINS.upsert(transaction, generation, &changes.pins).await?;
    for gone in [&changes.pins_gone, &changes.stripped] {
        PINS.delete(transaction, generation, PINS.key, gone).await?;
    }
    MENTIONS
        .upsert(transaction, generation, &changes.mentions)
        .await?;
    MENTIONS
        .delete(transaction, generation, &by, &changes.stripped)
        .await?;
    attached::store(transaction, generation, &changes.attached).await?;
    notices::store(transaction, generation, changes).await?;
    threads::store(transaction, generation, changes).await
}
