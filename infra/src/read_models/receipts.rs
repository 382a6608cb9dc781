//! Receipts: every mark that was stored, so that who had seen a message, and since when, is exact.

use chrono::{DateTime, Utc};
use domain::receipts::MarkKind;
use domain::{ConversationId, Position, Seq, UserId};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, flag, id, int, micros, text, time,
};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "receipts",
    version: 3,
    category: "receipts",
    tables: &[&RECEIPTS, &THREAD_RECEIPTS, &LAST_MARKS],
};

const RECEIPTS: Table = Table {
    name: "receipts",
    columns: &[
        id("conversation"),
        id("member"),
        text("kind"),
        int("seq"),
        int("position"),
        time("at"),
        flag("private"),
    ],
    key: &["conversation", "member", "kind", "seq"],
    // So that what others see is found without looking at what they do not.
    indexes: &[Index {
        name: "open",
        columns: "conversation, member, kind, seq",
        condition: Some("NOT private"),
    }],
};

const THREAD_RECEIPTS: Table = Table {
    name: "thread_receipts",
    columns: &[
        id("conversation"),
        int("thread"),
        id("member"),
        int("seq"),
        int("position"),
        time("at"),
        flag("private"),
    ],
    key: &["conversation", "thread", "member", "seq"],
    indexes: &[Index {
        name: "open",
        columns: "conversation, thread, member, seq",
        condition: Some("NOT private"),
    }],
};

/// When each member last said that they had seen something, wherever that was, and to everybody.
const LAST_MARKS: Table = Table {
    name: "last_marks",
    columns: &[id("member"), time("at")],
    key: &["member"],
    indexes: &[],
};

/// A row of `receipts`: from `at` on, everything up to `seq` was delivered to, or seen by, a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub member: UserId,
    /// Delivered or seen.
    pub kind: MarkKind,
    /// Up to where.
    pub seq: Seq,
    /// Of the mark in the log.
    pub position: Position,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// Whether only the member sees it.
    pub private: bool,
}

/// A row of `thread_receipts`: from `at` on, a member had seen everything in a thread up to `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadMark {
    /// Where.
    pub conversation: ConversationId,
    /// The message that the thread began with.
    pub thread: Seq,
    /// Whose.
    pub member: UserId,
    /// Up to where.
    pub seq: Seq,
    /// Of the mark in the log.
    pub position: Position,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// Whether only the member sees it.
    pub private: bool,
}

/// A row of `last_marks`: the minute in which a member last said that they had seen something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastMark {
    /// Who.
    pub member: UserId,
    /// When that minute began.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
}

/// Names the marks of one member in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ThreadMarkKey {
    /// Where.
    pub conversation: ConversationId,
    /// The message that the thread began with.
    pub thread: Seq,
    /// Whose.
    pub member: UserId,
}

/// Names the marks of one kind and member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MarkKey {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub member: UserId,
    /// Delivered or seen.
    pub kind: MarkKind,
}

/// How far the marks of `keys` are in a generation; those without a mark are left out.
pub async fn load_highest(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[MarkKey],
) -> Result<Vec<(MarkKey, Seq)>, DatabaseError> {
    let by = ["conversation", "member", "kind"];
    highest(&RECEIPTS, transaction, generation, &by, keys, |row| {
        Ok(MarkKey {
            conversation: row.get("conversation")?,
            member: row.get("member")?,
            kind: parse_stored(&row.get::<String>("kind")?)?,
        })
    })
    .await
}

/// The same of marks in threads.
pub async fn load_highest_in_threads(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[ThreadMarkKey],
) -> Result<Vec<(ThreadMarkKey, Seq)>, DatabaseError> {
    let by = ["conversation", "thread", "member"];
    highest(
        &THREAD_RECEIPTS,
        transaction,
        generation,
        &by,
        keys,
        |row| {
            Ok(ThreadMarkKey {
                conversation: row.get("conversation")?,
                thread: row.get("thread")?,
                member: row.get("member")?,
            })
        },
    )
    .await
}

async fn highest<K: Serialize>(
    table: &Table,
    transaction: &mut Transaction,
    generation: u64,
    by: &[&str],
    keys: &[K],
    key: impl Fn(&Row) -> Result<K, DatabaseError>,
) -> Result<Vec<(K, Seq)>, DatabaseError> {
    let columns: Vec<String> = by.iter().map(|by| format!("k.{by} AS {by}")).collect();
    let agree: Vec<String> = by.iter().map(|by| format!("t.{by} = k.{by}")).collect();
    let sql = format!(
        "SELECT {}, (SELECT max(t.seq) FROM {} AS t WHERE {}) AS seq FROM {}",
        columns.join(", "),
        table.physical(generation),
        agree.join(" AND "),
        table.keys_of(transaction.dialect(), by),
    );
    let mut highest = Vec::new();
    for row in transaction
        .all(&sql, &[crate::database::json(keys)?])
        .await?
    {
        if let Some(seq) = row.get("seq")? {
            highest.push((key(&row)?, seq));
        }
    }
    Ok(highest)
}

/// The last marks of `members` in a generation.
pub async fn load_last(
    transaction: &mut Transaction,
    generation: u64,
    members: impl IntoIterator<Item = UserId>,
) -> Result<Vec<LastMark>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        member: UserId,
    }
    let keys: Vec<Key> = members.into_iter().map(|member| Key { member }).collect();
    LAST_MARKS
        .load(transaction, generation, LAST_MARKS.key, &keys)
        .await?
        .iter()
        .map(|row| {
            Ok(LastMark {
                member: row.get("member")?,
                at: row.get("at")?,
            })
        })
        .collect()
}

/// What a batch of marks changes.
#[derive(Debug, Default)]
pub struct Changes {
    /// New marks.
    pub marks: Vec<Mark>,
    /// New marks in threads.
    pub in_threads: Vec<ThreadMark>,
    /// The last marks that are later than before.
    pub last: Vec<LastMark>,
}

/// Writes the marks of a batch.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    RECEIPTS
        .upsert(transaction, generation, &changes.marks)
        .await?;
    THREAD_RECEIPTS
        .upsert(transaction, generation, &changes.in_threads)
        .await?;
    LAST_MARKS
        .upsert(transaction, generation, &changes.last)
        .await
}

/// The minute in which `member` last said to everybody that they had seen something, if ever.
pub async fn last_mark(
    snapshot: &mut Snapshot,
    member: UserId,
) -> Result<Option<DateTime<Utc>>, ReadError> {
    let sql = "SELECT at FROM last_marks WHERE member = $1";
    let row = snapshot.first(sql, &[member.into()]).await?;
    Ok(row.map(|row| row.get("at")).transpose()?)
}

/// What a member has of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who.
    pub member: UserId,
    /// The first mark that says that it was delivered.
    pub delivered: Option<FirstMark>,
    /// The first mark that says that it was seen.
    pub seen: Option<FirstMark>,
}

/// The first mark of a member that covers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstMark {
    /// Up to where it goes.
    pub seq: Seq,
    /// When it was set.
    pub at: DateTime<Utc>,
}

/// Of what is asked who has it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Where.
    pub conversation: ConversationId,
    /// Which message.
    pub message: Seq,
    /// Which event made the version that is asked for: the message itself, or an edit of it.
    pub version: Seq,
    /// Who asks: private marks are their own only.
    pub viewer: UserId,
    /// The last position of a mark that they see.
    pub until: Option<Position>,
}

/// What those who may see a version of a message, except its author, have of it, in the order of
/// members: up to `limit`, those after member `after`. Of a message in a thread it is seen with the
/// mark of the conversation or of the thread, whichever came first. Needs this model, members and
/// messages.
pub async fn of_message(
    snapshot: &mut Snapshot,
    asked: Asked,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Receipt>, ReadError> {
    // Two looks into an index each, of which one is taken: the smallest of what everybody sees, or of
    // what the member sees.
    let first = |table: &str, wanted: &str| {
        let least = |also: &str| {
            format!(
                "(SELECT min(r.seq) FROM {table} AS r WHERE r.conversation = $1 {wanted} \
                 AND r.member = v.member AND r.seq >= $3 AND r.position <= $4{also})"
            )
        };
        format!(
            "CASE WHEN v.member = $5 THEN {} ELSE {} END",
            least(""),
            least(" AND NOT r.private")
        )
    };
    let is_in = |seq: &str| {
        format!("m.visible_from <= {seq} AND (m.left_seq IS NULL OR m.left_seq >= {seq})")
    };
    let sql = format!(
        "WITH x AS MATERIALIZED (SELECT author, thread FROM messages \
            WHERE conversation = $1 AND seq = $2), \
         v AS MATERIALIZED (SELECT DISTINCT e.member, x.thread FROM members AS e CROSS JOIN x \
            WHERE e.conversation = $1 AND e.visible_from <= $2 \
            AND (e.left_seq IS NULL OR e.left_seq >= $2) AND e.joined_position <= $4 \
            AND e.member > $6 AND e.member <> x.author \
            AND EXISTS (SELECT 1 FROM members AS m WHERE m.conversation = $1 \
                AND m.member = e.member AND {}) \
            ORDER BY e.member LIMIT $7), \
         f AS MATERIALIZED (SELECT v.member, v.thread, {} AS delivered_seq, {} AS seen_seq, \
            {} AS thread_seq FROM v) \
         SELECT f.member, f.delivered_seq, d.at AS delivered_at, d.position AS delivered_position, \
            f.seen_seq, s.at AS seen_at, s.position AS seen_position, \
            f.thread_seq, t.at AS thread_at, t.position AS thread_position \
         FROM f LEFT JOIN receipts AS d ON d.conversation = $1 AND d.member = f.member \
            AND d.kind = 'delivered' AND d.seq = f.delivered_seq \
         LEFT JOIN receipts AS s ON s.conversation = $1 AND s.member = f.member \
            AND s.kind = 'seen' AND s.seq = f.seen_seq \
         LEFT JOIN thread_receipts AS t ON t.conversation = $1 AND t.thread = f.thread \
            AND t.member = f.member AND t.seq = f.thread_seq ORDER BY f.member",
        is_in("$3"),
        first("receipts", "AND r.kind = 'delivered'"),
        first("receipts", "AND r.kind = 'seen'"),
        first("thread_receipts", "AND r.thread = v.thread"),
    );
    let values = [
        asked.conversation.into(),
        asked.message.into(),
        asked.version.into(),
        asked.until.map_or(i64::MAX.into(), Into::into),
        asked.viewer.into(),
        after.unwrap_or(UserId(uuid::Uuid::nil())).into(),
        limit.into(),
    ];
    let rows = snapshot.all(&sql, &values).await?;
    let mut receipts = Vec::with_capacity(rows.len());
    for row in &rows {
        let in_conversation = first_mark(row, "seen")?;
        let in_thread = first_mark(row, "thread")?;
        let seen = in_conversation.into_iter().chain(in_thread);
        receipts.push(Receipt {
            member: row.get("member")?,
            delivered: first_mark(row, "delivered")?.map(|(_, mark)| mark),
            seen: seen.min_by_key(|(at, _)| *at).map(|(_, mark)| mark),
        });
    }
    Ok(receipts)
}

/// The mark that stands in the columns of `name`, with its position.
fn first_mark(row: &Row, name: &str) -> Result<Option<(Position, FirstMark)>, DatabaseError> {
    let column = |what: &str| format!("{name}_{what}");
    let seq = row.get(&column("seq"))?;
    let at = row.get(&column("at"))?;
    let position = row.get(&column("position"))?;
    Ok(match (seq, at, position) {
        (Some(seq), Some(at), Some(position)) => Some((position, FirstMark { seq, at })),
        _ => None,
    })
}
