//! Conversations: what each is called, how far it is, and its last message.

use chrono::{DateTime, Utc};
use domain::conversation::{ChannelKind, HistoryVisibility, Kind, Role, WhoMayPost};
use domain::{ConversationId, Position, Seq, SpaceId, UserId};
use serde::Serialize;
use uuid::Uuid;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, Value, flag, id, int, micros, micros_if_any,
    text, time,
};
use crate::read_models::messages::Format;
use crate::read_models::spaces::called_roles;
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "conversations",
    version: 3,
    category: "conversation",
    tables: &[&CONVERSATIONS, &SETTINGS],
};

const CONVERSATIONS: Table = Table {
    name: "conversations",
    columns: &[
        id("id"),
        text("kind"),
        id("space").nullable(),
        text("channel_kind").nullable(),
        id("creator").nullable(),
        time("started_at"),
        text("title").nullable(),
        text("history_visibility"),
        flag("archived"),
        int("slow_mode_s"),
        text("who_may_post"),
        int("head_seq"),
        int("message_count"),
        int("activity"),
        int("last_message_seq").nullable(),
        id("last_message_author").nullable(),
        text("last_message_format").nullable(),
        text("last_message_preview").nullable(),
        time("last_message_at").nullable(),
    ],
    key: &["id"],
    indexes: &[Index {
        name: "by_activity",
        columns: "activity",
        condition: None,
    }],
};

/// Every change of what is set for a whole conversation, so that one who left sees what was set
/// then.
const SETTINGS: Table = Table {
    name: "conversation_settings",
    columns: &[
        id("conversation"),
        int("seq"),
        text("title").nullable(),
        text("history_visibility"),
        flag("archived"),
        int("slow_mode_s"),
        text("who_may_post"),
    ],
    key: &["conversation", "seq"],
    indexes: &[],
};

/// Longest preview of a message, in characters.
const PREVIEW_CHARACTERS_MAX: usize = 200;

/// A row of `conversations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// Direct, group or channel.
    pub kind: Kind,
    /// Of a channel: of which space.
    pub space: Option<SpaceId>,
    /// Of a channel: text or voice.
    pub channel_kind: Option<ChannelKind>,
    /// Who started it; nobody for imported history.
    pub creator: Option<UserId>,
    /// When it began.
    #[serde(serialize_with = "micros")]
    pub started_at: DateTime<Utc>,
    /// Of a group.
    pub title: Option<String>,
    /// What those who join now see of before.
    pub history_visibility: HistoryVisibility,
    /// Whether it is closed for now.
    pub archived: bool,
    /// How long members wait between two messages, in seconds; 0 is not at all.
    pub slow_mode_s: u64,
    /// Who may write.
    pub who_may_post: WhoMayPost,
    /// The seq of its last event.
    pub head_seq: Seq,
    /// How many messages were ever sent.
    pub message_count: u64,
    /// Position of its last message outside threads, or of its start: the order of lists.
    pub activity: Position,
    /// The seq of its last message outside threads.
    pub last_message_seq: Option<Seq>,
    /// Who wrote it.
    pub last_message_author: Option<UserId>,
    /// What it is.
    pub last_message_format: Option<Format>,
    /// How it begins, as last edited; none once it is deleted, and none of an envelope.
    pub last_message_preview: Option<String>,
    /// When it was sent.
    #[serde(serialize_with = "micros_if_any")]
    pub last_message_at: Option<DateTime<Utc>>,
}

/// A row of `conversation_settings`: what was set from `seq` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// From which event on.
    pub seq: Seq,
    /// Its title.
    pub title: Option<String>,
    /// What later members see.
    pub history_visibility: HistoryVisibility,
    /// Whether it is closed.
    pub archived: bool,
    /// How long members wait between two messages, in seconds; 0 is not at all.
    pub slow_mode_s: u64,
    /// Who may write.
    pub who_may_post: WhoMayPost,
}

/// How a message begins.
pub fn preview(body: &str) -> String {
    body.chars().take(PREVIEW_CHARACTERS_MAX).collect()
}

impl Conversation {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.get("id")?,
            kind: parse_stored(&row.get::<String>("kind")?)?,
            space: row.get::<Option<Uuid>>("space")?.map(SpaceId),
            channel_kind: row
                .get::<Option<String>>("channel_kind")?
                .map(|kind| parse_stored(&kind))
                .transpose()?,
            creator: row.get("creator")?,
            started_at: row.get("started_at")?,
            title: row.get("title")?,
            history_visibility: parse_stored(&row.get::<String>("history_visibility")?)?,
            archived: row.get("archived")?,
            slow_mode_s: row.get("slow_mode_s")?,
            who_may_post: parse_stored(&row.get::<String>("who_may_post")?)?,
            head_seq: row.get("head_seq")?,
            message_count: row.get("message_count")?,
            activity: row.get("activity")?,
            last_message_seq: row.get("last_message_seq")?,
            last_message_author: row.get("last_message_author")?,
            last_message_format: row
                .get::<Option<String>>("last_message_format")?
                .map(|format| parse_stored(&format))
                .transpose()?,
            last_message_preview: row.get("last_message_preview")?,
            last_message_at: row.get("last_message_at")?,
        })
    }
}

#[derive(Serialize)]
struct Key {
    id: ConversationId,
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<Conversation>, DatabaseError> {
    let keys: Vec<Key> = ids.into_iter().map(|id| Key { id }).collect();
    CONVERSATIONS
        .load(transaction, generation, &["id"], &keys)
        .await?
        .iter()
        .map(Conversation::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    conversations: &[Conversation],
    settings: &[Settings],
) -> Result<(), DatabaseError> {
    CONVERSATIONS
        .upsert(transaction, generation, conversations)
        .await?;
    SETTINGS.upsert(transaction, generation, settings).await
}

/// A conversation in somebody's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The conversation.
    pub conversation: Conversation,
    /// What they are in it.
    pub role: Role,
    /// The other one, of a direct conversation.
    pub with: Option<UserId>,
    /// From where on they see it.
    pub visible_from: Seq,
    /// How many messages by others outside threads, not deleted, came after their seen mark or their
    /// joining.
    pub unread: u64,
    /// How many messages by others, not deleted, that came after, call them.
    pub mentions: u64,
    /// How far they have seen it.
    pub seen_seq: Seq,
}

/// How many messages outside threads `$1` has not seen: those of the conversation, less those up to the mark (or the
/// joining), less their own and less the deleted ones of others. Each part is one look into an index.
/// `c` is the conversation, with `base`, the ordinal up to which all is seen.
const UNREAD: &str = "\
    (SELECT COALESCE(max(ordinal), 0) FROM (SELECT ordinal FROM messages AS x \
        WHERE x.conversation = c.id ORDER BY x.seq DESC LIMIT 1) AS head) \
    - c.base \
    - (SELECT count(*) FROM messages AS x \
        WHERE x.conversation = c.id AND x.author = $1 AND x.thread IS NULL AND x.system IS NULL \
            AND x.ordinal > c.base) \
    - (SELECT count(*) FROM messages AS x WHERE x.conversation = c.id AND x.thread IS NULL \
        AND x.deleted_seq IS NOT NULL AND x.ordinal > c.base AND x.author <> $1)";

/// How many of the messages that `$1` has not seen call them, by what they are in it now, and in its
/// space: seen is what the mark of the conversation covers, or that of the thread. The target of a user is
/// their id.
fn mentioned() -> String {
    format!(
        "(SELECT count(DISTINCT x.message) FROM (\
            SELECT y.message, y.thread FROM mentions AS y WHERE y.conversation = c.id \
                AND y.message > c.base_seq AND y.author <> $1 \
                AND y.target IN (CAST($1 AS TEXT), 'everyone', \
                    CASE WHEN c.role IN ('admin', 'owner') THEN 'admin' END, \
                    CASE WHEN c.role = 'owner' THEN 'owner' END) \
            UNION ALL SELECT y.message, y.thread FROM {} AS t CROSS JOIN mentions AS y \
                WHERE y.conversation = c.id AND y.target = t.target \
                AND y.message > c.base_seq AND y.author <> $1) AS x \
        WHERE NOT EXISTS (SELECT 1 FROM thread_receipts AS r WHERE r.conversation = c.id \
            AND r.thread = x.thread AND r.member = $1 AND r.seq >= x.message))",
        called_roles("c.space"),
    )
}

/// Who is with `$1` in a direct conversation.
const OTHER: &str = "\
    CASE WHEN c.kind = 'direct' THEN (SELECT o.member FROM members AS o \
        WHERE o.conversation = c.id AND o.member <> $1 ORDER BY o.member LIMIT 1) END";

/// The conversations that `user` is a member of, newest activity first: up to `limit`, those after
/// activity `before`. Needs the models conversations, members, messages, receipts and spaces.
pub async fn of_member(
    snapshot: &mut Snapshot,
    user: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Listed>, ReadError> {
    let before = before.map_or(i64::MAX.into(), Value::from);
    let wanted = "m.member = $1 AND m.left_seq IS NULL AND c.activity < $2";
    list(snapshot, wanted, &[user.into(), before, limit.into()]).await
}

/// One conversation as `user`, who is a member, sees it.
pub async fn of_member_one(
    snapshot: &mut Snapshot,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<Listed>, ReadError> {
    let wanted = "m.member = $1 AND m.left_seq IS NULL AND m.conversation = $2";
    let values = [user.into(), conversation.into(), 1_i64.into()];
    Ok(list(snapshot, wanted, &values).await?.pop())
}

async fn list(
    snapshot: &mut Snapshot,
    wanted: &str,
    values: &[Value],
) -> Result<Vec<Listed>, ReadError> {
    let columns: Vec<String> = CONVERSATIONS
        .column_list()
        .map(|column| format!("c.{column}"))
        .collect();
    let columns = columns.join(", ");
    let mentioned = mentioned();
    // Steps, so that each is computed once for a row, and only for the rows of the page: the page, the
    // mark, the seq and the ordinal up to which all is seen.
    let sql = format!(
        "WITH page AS MATERIALIZED (SELECT {columns}, m.joined_seq, m.visible_from, m.role \
            FROM members AS m JOIN conversations AS c ON c.id = m.conversation \
            WHERE {wanted} ORDER BY c.activity DESC LIMIT $3), \
         marked AS MATERIALIZED (SELECT c.*, COALESCE((SELECT max(r.seq) FROM receipts AS r \
            WHERE r.conversation = c.id AND r.member = $1 AND r.kind = 'seen'), 0) AS seen_seq \
            FROM page AS c), \
         seen AS MATERIALIZED (SELECT c.*, \
            CASE WHEN c.seen_seq > c.joined_seq THEN c.seen_seq ELSE c.joined_seq END AS base_seq \
            FROM marked AS c), \
         based AS MATERIALIZED (SELECT c.*, COALESCE((SELECT x.ordinal FROM messages AS x \
            WHERE x.conversation = c.id AND x.seq <= c.base_seq \
            ORDER BY x.seq DESC LIMIT 1), 0) AS base FROM seen AS c) \
         SELECT c.*, {OTHER} AS other, {UNREAD} AS unread, {mentioned} AS mentions \
         FROM based AS c \
         ORDER BY c.activity DESC"
    );
    let rows = snapshot.all(&sql, values).await?;
    let mut listed = Vec::with_capacity(rows.len());
    for row in &rows {
        // The models are folded apart from each other: one may be ahead by a few messages.
        let unread: i64 = row.get("unread")?;
        listed.push(Listed {
            conversation: Conversation::from_row(row)?,
            role: parse_stored(&row.get::<String>("role")?)?,
            with: row.get("other")?,
            visible_from: row.get("visible_from")?,
            unread: u64::try_from(unread).unwrap_or(0),
            mentions: row.get("mentions")?,
            seen_seq: row.get("seen_seq")?,
        });
    }
    Ok(listed)
}

/// The conversation, whoever asks.
pub async fn one(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
) -> Result<Option<Conversation>, ReadError> {
    let columns: Vec<&str> = CONVERSATIONS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM conversations WHERE id = $1",
        columns.join(", ")
    );
    let row = snapshot.first(&sql, &[conversation.into()]).await?;
    Ok(row.as_ref().map(Conversation::from_row).transpose()?)
}

/// What was set for the conversation when its event `seq` was the last.
pub async fn settings_at(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Option<Settings>, ReadError> {
    let sql = "SELECT conversation, seq, title, history_visibility, archived, slow_mode_s, \
               who_may_post FROM conversation_settings WHERE conversation = $1 AND seq <= $2 \
               ORDER BY seq DESC LIMIT 1";
    let Some(row) = snapshot
        .first(sql, &[conversation.into(), seq.into()])
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(Settings {
        conversation: row.get("conversation")?,
        seq: row.get("seq")?,
        title: row.get("title")?,
        history_visibility: parse_stored(&row.get::<String>("history_visibility")?)?,
        archived: row.get("archived")?,
        slow_mode_s: row.get("slow_mode_s")?,
        who_may_post: parse_stored(&row.get::<String>("who_may_post")?)?,
    }))
}
