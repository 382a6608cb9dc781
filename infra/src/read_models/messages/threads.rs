//! Threads: how many answers each has, who follows it, and what of it somebody has not seen.

use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId};
use serde::Serialize;

use super::read::seen;
use super::{Changes, FOLLOWERS, THREADS};
use crate::database::{DatabaseError, Row, Transaction, Value, json};
use crate::read_models::{ReadError, Snapshot};

/// A row of `threads`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Thread {
    /// Where.
    pub conversation: ConversationId,
    /// The message that it began with.
    pub root: Seq,
    /// How many answers were ever sent.
    pub answers: u64,
    /// Position of the last: the order of lists.
    pub last_position: Position,
}

/// Names a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ThreadKey {
    /// Where.
    pub conversation: ConversationId,
    /// The message that it began with.
    pub root: Seq,
}

/// A row of `thread_followers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Follower {
    /// Where.
    pub conversation: ConversationId,
    /// The message that it began with.
    pub thread: Seq,
    /// Who.
    pub member: UserId,
    /// The event from which on they do: what came before is not new to them.
    pub since_seq: Seq,
}

/// Names a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FollowerKey {
    /// Where.
    pub conversation: ConversationId,
    /// Of which thread.
    pub thread: Seq,
    /// Who.
    pub member: UserId,
}

impl Thread {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            root: row.get("root")?,
            answers: row.get("answers")?,
            last_position: row.get("last_position")?,
        })
    }
}

/// The threads of `keys` as they stand in a generation.
pub async fn load_threads(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[ThreadKey],
) -> Result<Vec<Thread>, DatabaseError> {
    THREADS
        .load(transaction, generation, THREADS.key, keys)
        .await?
        .iter()
        .map(Thread::from_row)
        .collect()
}

/// The followers of `keys` that there are in a generation.
pub async fn load_followers(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[FollowerKey],
) -> Result<Vec<Follower>, DatabaseError> {
    FOLLOWERS
        .load(transaction, generation, FOLLOWERS.key, keys)
        .await?
        .iter()
        .map(|row| {
            Ok(Follower {
                conversation: row.get("conversation")?,
                thread: row.get("thread")?,
                member: row.get("member")?,
                since_seq: row.get("since_seq")?,
            })
        })
        .collect()
}

/// Writes what a batch changed of threads.
pub(super) async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    THREADS
        .upsert(transaction, generation, &changes.threads)
        .await?;
    FOLLOWERS
        .upsert(transaction, generation, &changes.followers)
        .await?;
    let gone = &changes.followers_gone;
    FOLLOWERS
        .delete(transaction, generation, FOLLOWERS.key, gone)
        .await
}

/// The threads of a conversation whose first message `viewer` sees, last answered first: up to
/// `limit`, those before position `before`. Needs this model and members.
pub async fn of_conversation(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    viewer: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Thread>, ReadError> {
    let sql = format!(
        "SELECT conversation, root, answers, last_position FROM threads AS t \
         WHERE t.conversation = $1 AND t.last_position < $2 AND {} \
         ORDER BY t.last_position DESC LIMIT $4",
        seen("t.root", "$3"),
    );
    let values = [
        conversation.into(),
        before.map_or(i64::MAX.into(), Value::from),
        viewer.into(),
        limit.into(),
    ];
    threads(snapshot, &sql, &values).await
}

/// The threads that `member` follows in conversations of which they are a member, last answered
/// first: up to `limit`, those before position `before`. Needs this model and members.
pub async fn followed(
    snapshot: &mut Snapshot,
    member: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Thread>, ReadError> {
    let sql = "SELECT t.conversation, t.root, t.answers, t.last_position \
               FROM thread_followers AS f \
               JOIN members AS m ON m.conversation = f.conversation AND m.member = f.member \
                AND m.left_seq IS NULL \
               JOIN threads AS t ON t.conversation = f.conversation AND t.root = f.thread \
               WHERE f.member = $1 AND t.last_position < $2 \
               ORDER BY t.last_position DESC LIMIT $3";
    let values = [
        member.into(),
        before.map_or(i64::MAX.into(), Value::from),
        limit.into(),
    ];
    threads(snapshot, sql, &values).await
}

async fn threads(
    snapshot: &mut Snapshot,
    sql: &str,
    values: &[Value],
) -> Result<Vec<Thread>, ReadError> {
    let rows = snapshot.all(sql, values).await?;
    Ok(rows
        .iter()
        .map(Thread::from_row)
        .collect::<Result<_, _>>()?)
}

/// What a thread comes to, as far as somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The message that it began with.
    pub root: Seq,
    /// How many answers it has that are not deleted.
    pub answers: u64,
    /// The last of them.
    pub last: Option<LastAnswer>,
}

/// The last answer in a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAnswer {
    /// Which message.
    pub seq: Seq,
    /// Whose.
    pub author: UserId,
    /// When.
    pub at: DateTime<Utc>,
}

fn keys(conversation: ConversationId, roots: &[Seq]) -> Vec<ThreadKey> {
    let key = |root: &Seq| ThreadKey {
        conversation,
        root: *root,
    };
    roots.iter().map(key).collect()
}

/// The answers `x` of thread `t`.
const OF_THREAD: &str =
    "FROM messages AS x WHERE x.conversation = t.conversation AND x.thread = t.root";

/// What those of `roots` come to that threads began with: of the answers from the first to the last
/// of `bounds`.
pub async fn summaries(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    roots: &[Seq],
    (first, last): (Seq, Seq),
) -> Result<Vec<Summary>, ReadError> {
    let keys_of = THREADS.keys_of(snapshot.dialect(), THREADS.key);
    let ordinal = |condition: &str| {
        format!(
            "COALESCE((SELECT x.thread_ordinal {OF_THREAD} AND {condition} \
             ORDER BY x.seq DESC LIMIT 1), 0)"
        )
    };
    let sql = format!(
        "WITH t AS MATERIALIZED (SELECT t.conversation, t.root FROM {keys_of} CROSS JOIN threads AS t \
            WHERE t.conversation = k.conversation AND t.root = k.root), \
         s AS MATERIALIZED (SELECT t.*, {} AS start, {} AS upto, \
            (SELECT x.seq {OF_THREAD} AND x.deleted_seq IS NULL AND x.seq >= $2 AND x.seq <= $3 \
                ORDER BY x.seq DESC LIMIT 1) AS last_seq FROM t) \
         SELECT t.root, t.upto - t.start - (SELECT count(*) {OF_THREAD} \
                AND x.deleted_seq IS NOT NULL AND x.thread_ordinal > t.start \
                AND x.thread_ordinal <= t.upto) AS answers, \
            t.last_seq, l.author AS last_author, l.sent_at AS last_at \
         FROM s AS t LEFT JOIN messages AS l \
            ON l.conversation = t.conversation AND l.seq = t.last_seq ORDER BY t.root",
        ordinal("x.seq < $2"),
        ordinal("x.seq <= $3"),
    );
    let values = [json(&keys(conversation, roots))?, first.into(), last.into()];
    let mut summaries = Vec::new();
    for row in snapshot.all(&sql, &values).await? {
        let last = match (
            row.get("last_seq")?,
            row.get("last_author")?,
            row.get("last_at")?,
        ) {
            (Some(seq), Some(author), Some(at)) => Some(LastAnswer { seq, author, at }),
            _ => None,
        };
        summaries.push(Summary {
            root: row.get("root")?,
            answers: row.get("answers")?,
            last,
        });
    }
    Ok(summaries)
}

/// How somebody stands to a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The message that it began with.
    pub root: Seq,
    /// Whether they follow it.
    pub follows: bool,
    /// Up to where they have seen it.
    pub seen_seq: Seq,
    /// How many answers by others, not deleted, came after that, and after they joined and began to
    /// follow; none where they do not follow.
    pub unread: u64,
}

/// How `member`, who joined the conversation with event `joined` and sees nothing after `last`, stands
/// to the threads of `roots`. Needs this model and receipts.
pub async fn standings(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    roots: &[Seq],
    member: UserId,
    (joined, last): (Seq, Seq),
) -> Result<Vec<Standing>, ReadError> {
    let keys_of = THREADS.keys_of(snapshot.dialect(), THREADS.key);
    // Steps, so that each is computed once for a thread: the mark, the seq and the ordinal up to which
    // all is seen.
    let sql = format!(
        "WITH t AS MATERIALIZED (SELECT t.conversation, t.root, f.since_seq, \
            COALESCE((SELECT max(r.seq) FROM thread_receipts AS r \
                WHERE r.conversation = t.conversation AND r.thread = t.root AND r.member = $2), 0) \
                AS seen_seq \
            FROM {keys_of} CROSS JOIN threads AS t LEFT JOIN thread_followers AS f \
                ON f.conversation = t.conversation AND f.thread = t.root AND f.member = $2 \
            WHERE t.conversation = k.conversation AND t.root = k.root), \
         s AS MATERIALIZED (SELECT t.*, (SELECT max(v.seq) FROM (SELECT t.seen_seq AS seq \
            UNION ALL SELECT t.since_seq UNION ALL SELECT $3) AS v) AS base_seq FROM t), \
         b AS MATERIALIZED (SELECT t.*, COALESCE((SELECT x.thread_ordinal {OF_THREAD} \
            AND x.seq <= t.base_seq ORDER BY x.seq DESC LIMIT 1), 0) AS base FROM s AS t) \
         SELECT t.root, t.since_seq, t.seen_seq, \
            COALESCE((SELECT x.thread_ordinal {OF_THREAD} AND x.seq <= $4 \
                ORDER BY x.seq DESC LIMIT 1), 0) - t.base \
            - (SELECT count(*) {OF_THREAD} AND x.author = $2 AND x.thread_ordinal > t.base) \
            - (SELECT count(*) {OF_THREAD} AND x.deleted_seq IS NOT NULL \
                AND x.thread_ordinal > t.base AND x.author <> $2) AS unread \
         FROM b AS t ORDER BY t.root"
    );
    let values = [
        json(&keys(conversation, roots))?,
        member.into(),
        joined.into(),
        last.into(),
    ];
    let mut standings = Vec::new();
    for row in snapshot.all(&sql, &values).await? {
        let follows = row.get::<Option<Seq>>("since_seq")?.is_some();
        let unread: i64 = row.get("unread")?;
        standings.push(Standing {
            root: row.get("root")?,
            follows,
            seen_seq: row.get("seen_seq")?,
            unread: if follows {
                u64::try_from(unread).unwrap_or(0)
            } else {
                0
            },
        });
    }
    Ok(standings)
}
