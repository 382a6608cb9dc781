//! Messages as they read now, what edits replaced, and reactions.

use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId, Version};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, id, int, micros, micros_if_any, text, time,
};
use crate::read_models::{Model, ReadError, Snapshot};

/// The read model.
pub const MODEL: Model = Model {
    name: "messages",
    version: 1,
    category: "conversation",
    tables: &[&MESSAGES, &REVISIONS, &REACTIONS],
};

const MESSAGES: Table = Table {
    name: "messages",
    columns: &[
        id("conversation"),
        int("seq"),
        int("position"),
        int("ordinal"),
        id("author"),
        text("body").nullable(),
        int("reply_to").nullable(),
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
            condition: None,
        },
        Index {
            name: "deleted",
            columns: "conversation, ordinal",
            condition: Some("deleted_seq IS NOT NULL"),
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
        text("body"),
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

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Where.
    pub conversation: ConversationId,
    /// Its name there.
    pub seq: Seq,
    /// In the log.
    pub position: Position,
    /// The how-manieth of its conversation, from 1.
    pub ordinal: u64,
    /// Who wrote it.
    pub author: UserId,
    /// As last edited; none once it is deleted.
    pub body: Option<String>,
    /// Which message it answers.
    pub reply_to: Option<Seq>,
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
    pub body: String,
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
            body: row.get("body")?,
            reply_to: row.get("reply_to")?,
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

/// The messages of `keys` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    keys: impl IntoIterator<Item = MessageKey>,
) -> Result<Vec<Message>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        conversation: ConversationId,
        seq: Seq,
    }
    let keys: Vec<Key> = keys
        .into_iter()
        .map(|key| Key {
            conversation: key.conversation,
            seq: key.message,
        })
        .collect();
    MESSAGES
        .load(transaction, generation, &["conversation", "seq"], &keys)
        .await?
        .iter()
        .map(Message::from_row)
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

/// How many messages each of `conversations` has in a generation; those without are left out.
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
    /// Messages that lose their reactions and earlier bodies because they were deleted.
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
        .await
}

/// Which part of a conversation's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The newest.
    Newest,
    /// Those right before this seq.
    Before(Seq),
    /// Those right after it.
    After(Seq),
    /// The message at this seq, or where it would be, and those around it: half before, half from
    /// it on.
    Around(Seq),
}

/// A page of messages, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub older: bool,
    /// Whether there are newer ones.
    pub newer: bool,
}

/// Messages of `conversation` that `viewer` sees by one of their memberships. Needs this model and
/// members.
pub async fn page(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    viewer: UserId,
    bounds: (Seq, Seq),
    page: Page,
    limit: usize,
) -> Result<Messages, ReadError> {
    let reader = Reader {
        conversation,
        viewer,
        bounds,
    };
    let (before, from) = match page {
        Page::Newest => (Some((Version(u64::MAX), limit)), None),
        Page::Before(seq) => (Some((seq, limit)), None),
        Page::After(seq) => (None, Some((Version(seq.0.saturating_add(1)), limit))),
        Page::Around(seq) => (Some((seq, limit / 2)), Some((seq, limit - limit / 2))),
    };
    let mut messages = Vec::new();
    let mut older = false;
    let mut newer = false;
    match before {
        Some((seq, limit)) => {
            messages = reader.before(snapshot, seq, limit + 1).await?;
            if messages.len() > limit {
                messages.pop();
                older = true;
            }
            messages.reverse();
        }
        None => {
            if let Some((from, _)) = from {
                older = !reader.before(snapshot, from, 1).await?.is_empty();
            }
        }
    }
    match from {
        Some((seq, limit)) => {
            let mut later = reader.from(snapshot, seq, limit + 1).await?;
            if later.len() > limit {
                later.pop();
                newer = true;
            }
            messages.extend(later);
        }
        None => {
            if let Page::Before(seq) = page {
                newer = !reader.from(snapshot, seq, 1).await?.is_empty();
            }
        }
    }
    Ok(Messages {
        messages,
        older,
        newer,
    })
}

struct Reader {
    conversation: ConversationId,
    viewer: UserId,
    /// The first and last seq that the viewer sees: nothing outside is looked at. Between them may
    /// be gaps.
    bounds: (Seq, Seq),
}

impl Reader {
    /// Newest first.
    async fn before(
        &self,
        snapshot: &mut Snapshot,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, ReadError> {
        let (first, last) = self.bounds;
        let last = last.min(Version(seq.0.saturating_sub(1)));
        self.select(snapshot, (first, last), "DESC", limit).await
    }

    /// Oldest first.
    async fn from(
        &self,
        snapshot: &mut Snapshot,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, ReadError> {
        let (first, last) = self.bounds;
        self.select(snapshot, (first.max(seq), last), "ASC", limit)
            .await
    }

    async fn select(
        &self,
        snapshot: &mut Snapshot,
        (first, last): (Seq, Seq),
        order: &str,
        limit: usize,
    ) -> Result<Vec<Message>, ReadError> {
        if first > last || limit == 0 {
            return Ok(Vec::new());
        }
        let columns: Vec<String> = MESSAGES
            .column_list()
            .map(|column| format!("m.{column}"))
            .collect();
        let sql = format!(
            "SELECT {} FROM messages AS m \
             WHERE m.conversation = $1 AND m.seq >= $2 AND m.seq <= $3 \
             AND EXISTS (SELECT 1 FROM members AS v WHERE v.conversation = $1 \
                AND v.member = $4 AND v.visible_from <= m.seq \
                AND (v.left_seq IS NULL OR v.left_seq >= m.seq)) \
             ORDER BY m.seq {order} LIMIT $5",
            columns.join(", ")
        );
        let values = [
            self.conversation.into(),
            first.into(),
            last.into(),
            self.viewer.into(),
            limit.into(),
        ];
        let rows = snapshot.all(&sql, &values).await?;
        Ok(rows
            .iter()
            .map(Message::from_row)
            .collect::<Result<_, _>>()?)
    }
}

/// One message, whoever asks.
pub async fn one(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Option<Message>, ReadError> {
    let columns: Vec<&str> = MESSAGES.column_list().collect();
    let sql = format!(
        "SELECT {} FROM messages WHERE conversation = $1 AND seq = $2",
        columns.join(", ")
    );
    let row = snapshot
        .first(&sql, &[conversation.into(), seq.into()])
        .await?;
    Ok(row.as_ref().map(Message::from_row).transpose()?)
}

/// The replaced bodies of the messages from `first` to `last`, in the order of messages and edits.
pub async fn revisions(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    (first, last): (Seq, Seq),
) -> Result<Vec<Revision>, ReadError> {
    let sql = "SELECT conversation, message, seq, body, at FROM message_revisions \
               WHERE conversation = $1 AND message >= $2 AND message <= $3 ORDER BY message, seq";
    let rows = snapshot
        .all(sql, &[conversation.into(), first.into(), last.into()])
        .await?;
    let mut revisions = Vec::with_capacity(rows.len());
    for row in rows {
        revisions.push(Revision {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            seq: row.get("seq")?,
            body: row.get("body")?,
            at: row.get("at")?,
        });
    }
    Ok(revisions)
}

/// The reactions to the messages from `first` to `last`, in the order of messages and of being
/// added.
pub async fn reactions(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    (first, last): (Seq, Seq),
) -> Result<Vec<Reaction>, ReadError> {
    let sql = "SELECT conversation, message, emoji, member, seq, reacted_at FROM reactions \
               WHERE conversation = $1 AND message >= $2 AND message <= $3 ORDER BY message, seq";
    let rows = snapshot
        .all(sql, &[conversation.into(), first.into(), last.into()])
        .await?;
    Ok(rows
        .iter()
        .map(Reaction::from_row)
        .collect::<Result<_, _>>()?)
}
