//! Receipts: every mark that was stored, so that who had seen a message, and since when, is exact.

use chrono::{DateTime, Utc};
use domain::receipts::MarkKind;
use domain::{ConversationId, Position, Seq, UserId};
use serde::Serialize;

use crate::database::{DatabaseError, Row, Table, Transaction, id, int, micros, text, time};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "receipts",
    version: 2,
    category: "receipts",
    tables: &[&RECEIPTS, &THREAD_RECEIPTS],
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
    ],
    key: &["conversation", "member", "kind", "seq"],
    indexes: &[],
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
    ],
    key: &["conversation", "thread", "member", "seq"],
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

/// Writes the marks of a batch.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    marks: &[Mark],
    in_threads: &[ThreadMark],
) -> Result<(), DatabaseError> {
    RECEIPTS.upsert(transaction, generation, marks).await?;
    THREAD_RECEIPTS
        .upsert(transaction, generation, in_threads)
        .await
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

/// What those who may see message `seq` of `conversation`, except its author, have of it, in the
/// order of members: up to `limit`, those after member `after`; of the marks those up to position
/// `until`. Needs this model, members and messages.
pub async fn of_message(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seq: Seq,
    until: Option<Position>,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Receipt>, ReadError> {
    let first = |kind: &str| {
        format!(
            "(SELECT min(r.seq) FROM receipts AS r WHERE r.conversation = $1 \
             AND r.member = v.member AND r.kind = '{kind}' AND r.seq >= $2 AND r.position <= $3)"
        )
    };
    let sql = format!(
        "WITH v AS (SELECT DISTINCT m.member FROM members AS m \
            WHERE m.conversation = $1 AND m.visible_from <= $2 \
            AND (m.left_seq IS NULL OR m.left_seq >= $2) AND m.joined_position <= $3 \
            AND m.member > $4 AND m.member <> (SELECT x.author FROM messages AS x \
                WHERE x.conversation = $1 AND x.seq = $2) \
            ORDER BY m.member LIMIT $5), \
         f AS (SELECT v.member, {} AS delivered_seq, {} AS seen_seq FROM v) \
         SELECT f.member, f.delivered_seq, d.at AS delivered_at, f.seen_seq, s.at AS seen_at \
         FROM f LEFT JOIN receipts AS d ON d.conversation = $1 AND d.member = f.member \
            AND d.kind = 'delivered' AND d.seq = f.delivered_seq \
         LEFT JOIN receipts AS s ON s.conversation = $1 AND s.member = f.member \
            AND s.kind = 'seen' AND s.seq = f.seen_seq ORDER BY f.member",
        first("delivered"),
        first("seen"),
    );
    let values = [
        conversation.into(),
        seq.into(),
        until.map_or(i64::MAX.into(), Into::into),
        after.unwrap_or(UserId(uuid::Uuid::nil())).into(),
        limit.into(),
    ];
    let rows = snapshot.all(&sql, &values).await?;
    let mut receipts = Vec::with_capacity(rows.len());
    for row in &rows {
        receipts.push(Receipt {
            member: row.get("member")?,
            delivered: first_mark(row, "delivered_seq", "delivered_at")?,
            seen: first_mark(row, "seen_seq", "seen_at")?,
        });
    }
    Ok(receipts)
}

fn first_mark(row: &Row, seq: &str, at: &str) -> Result<Option<FirstMark>, DatabaseError> {
    Ok(match (row.get(seq)?, row.get(at)?) {
        (Some(seq), Some(at)) => Some(FirstMark { seq, at }),
        _ => None,
    })
}
