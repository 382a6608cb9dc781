//! Reading messages: pages of a conversation, what edits replaced, reactions and pins.

use domain::{ConversationId, Seq, UserId, Version};

use super::{
    MESSAGES, Message, MessageKey, PINS, Pin, REACTIONS, REVISIONS, Reaction, Revision, RowKey,
};
use crate::database::{DatabaseError, Row, Table};
use crate::read_models::{ReadError, Snapshot};

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

/// Which messages of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that somebody wrote.
    All,
    /// Those of them in no thread.
    Main,
    /// Those in no thread, and what nobody wrote.
    Timeline,
    /// Those in the thread that began with this one.
    Thread(Seq),
}

impl Which {
    /// The condition on messages `m`.
    fn condition(self) -> String {
        match self {
            Self::All => "m.system IS NULL".to_owned(),
            Self::Main => "m.thread IS NULL AND m.system IS NULL".to_owned(),
            Self::Timeline => "m.thread IS NULL".to_owned(),
            Self::Thread(Version(root)) => {
                // No row has a number above this.
                format!("m.thread = {}", root.min(i64::MAX.unsigned_abs()))
            }
        }
    }
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
    (which, page): (Which, Page),
    limit: usize,
) -> Result<Messages, ReadError> {
    let reader = Reader {
        conversation,
        viewer,
        which,
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
    which: Which,
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
             WHERE m.conversation = $1 AND m.seq >= $2 AND m.seq <= $3 AND {} AND {} \
             ORDER BY m.seq {order} LIMIT $5",
            columns.join(", "),
            self.which.condition(),
            seen("m.seq", "$4"),
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

/// Whether the event `seq` of conversation `$1` is seen by the user `viewer`, as SQL.
pub(super) fn seen(seq: &str, viewer: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM members AS v WHERE v.conversation = $1 AND v.member = {viewer} \
         AND v.visible_from <= {seq} AND (v.left_seq IS NULL OR v.left_seq >= {seq}))"
    )
}

pub(super) fn keys(conversation: ConversationId, messages: &[Seq]) -> Vec<MessageKey> {
    let key = |message: &Seq| MessageKey {
        conversation,
        message: *message,
    };
    messages.iter().map(key).collect()
}

/// The messages at `seqs`, whoever asks, in their order.
pub async fn at(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seqs: &[Seq],
) -> Result<Vec<Message>, ReadError> {
    let mut messages = find(snapshot, keys(conversation, seqs)).await?;
    messages.sort_unstable_by_key(|message| message.seq);
    Ok(messages)
}

/// The messages at `keys`, whoever asks, in any order.
pub async fn find(
    snapshot: &mut Snapshot,
    keys: impl IntoIterator<Item = MessageKey>,
) -> Result<Vec<Message>, ReadError> {
    let keys: Vec<RowKey> = keys.into_iter().map(RowKey::of).collect();
    let rows = snapshot.keyed(&MESSAGES, MESSAGES.key, &keys).await?;
    Ok(rows
        .iter()
        .map(Message::from_row)
        .collect::<Result<_, _>>()?)
}

/// What a read gives of each of some messages.
pub(super) async fn of_messages<R>(
    snapshot: &mut Snapshot,
    table: &Table,
    conversation: ConversationId,
    messages: &[Seq],
    from_row: fn(&Row) -> Result<R, DatabaseError>,
) -> Result<Vec<R>, ReadError> {
    let keys = keys(conversation, messages);
    let rows = snapshot
        .keyed(table, &["conversation", "message"], &keys)
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// The replaced bodies of `messages`, in the order of messages and edits.
pub async fn revisions(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    messages: &[Seq],
) -> Result<Vec<Revision>, ReadError> {
    let read = Revision::from_row;
    let mut found = of_messages(snapshot, &REVISIONS, conversation, messages, read).await?;
    found.sort_unstable_by_key(|revision| (revision.message, revision.seq));
    Ok(found)
}

/// The reactions to `messages`, in the order of messages and of being added.
pub async fn reactions(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    messages: &[Seq],
) -> Result<Vec<Reaction>, ReadError> {
    let read = Reaction::from_row;
    let mut found = of_messages(snapshot, &REACTIONS, conversation, messages, read).await?;
    found.sort_unstable_by_key(|reaction| (reaction.message, reaction.seq));
    Ok(found)
}

/// Which of `messages` are pinned.
pub async fn pins_of(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    messages: &[Seq],
) -> Result<Vec<Pin>, ReadError> {
    of_messages(snapshot, &PINS, conversation, messages, Pin::from_row).await
}

/// What is pinned in a conversation, whoever asks, the last pinned first.
pub async fn pins(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
) -> Result<Vec<Pin>, ReadError> {
    let columns: Vec<&str> = PINS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM pins WHERE conversation = $1 ORDER BY seq DESC",
        columns.join(", ")
    );
    let rows = snapshot.all(&sql, &[conversation.into()]).await?;
    Ok(rows.iter().map(Pin::from_row).collect::<Result<_, _>>()?)
}

/// How `message` read, from the first to now, as far as `viewer` sees: up to `limit`, those after seq
/// `after`. None once it is deleted. Needs this model and members.
pub async fn history(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    message: Seq,
    viewer: UserId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Revision>, ReadError> {
    let sql = format!(
        "SELECT r.conversation, r.message, r.seq, r.format, r.body, r.encrypted, r.at FROM (\
            SELECT conversation, message, seq, format, body, encrypted, at FROM message_revisions \
            WHERE conversation = $1 AND message = $2 \
            UNION ALL SELECT conversation, seq, COALESCE(edited_seq, seq), format, body, encrypted, \
                COALESCE(edited_at, sent_at) FROM messages \
            WHERE conversation = $1 AND seq = $2 AND deleted_seq IS NULL) AS r \
         WHERE r.seq > $3 AND {} ORDER BY r.seq LIMIT $5",
        seen("r.seq", "$4"),
    );
    let values = [
        conversation.into(),
        message.into(),
        after.into(),
        viewer.into(),
        limit.into(),
    ];
    let rows = snapshot.all(&sql, &values).await?;
    Ok(rows
        .iter()
        .map(Revision::from_row)
        .collect::<Result<_, _>>()?)
}
