//! What concerned somebody, in the order of the log: who called them, answered or reacted to what they
//! wrote, and made them something else. One row for each person whom an event is about, at most as many as
//! a message calls by name; what is for many (a call for everyone, an answer in a thread, members who were
//! added) is found in the rows that there are of it once.

use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Changes, NOTICES};
use crate::database::{DatabaseError, Dialect, Row, Transaction, Value, micros};
use crate::read_models::spaces::{GIVEN_ROLES, ROLE_IS_THERE, target_of_role};
use crate::read_models::{ReadError, Snapshot, parse_stored};

/// Of the calls for everyone, or for a role, in one conversation so many are listed.
const CALLS_MAX: usize = 100;

/// What is unread is counted up to this.
pub const UNREAD_MAX: usize = 100;

/// What concerned somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A message calls them: by name, by role or everyone.
    Mention,
    /// A message answers one of theirs.
    Reply,
    /// Somebody answered in a thread that they follow; of each thread the last answer.
    ThreadAnswer,
    /// Somebody reacted to a message of theirs.
    Reaction,
    /// Somebody added them to a group.
    Added,
    /// Somebody made them something else in a group.
    RoleChanged,
}

/// A row of `notices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Whom it concerned.
    pub user_id: UserId,
    /// Of the event.
    pub position: Position,
    /// Where.
    pub conversation: ConversationId,
    /// The event.
    pub seq: Seq,
    /// What it was to them.
    pub kind: NoticeKind,
    /// The message that it is about; the event itself where there is none.
    pub message: Seq,
    /// In which thread.
    pub thread: Option<Seq>,
    /// Who did it.
    pub actor: UserId,
    /// When.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// The emoji, or the role.
    pub detail: Option<String>,
}

/// What concerned somebody, in their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What.
    pub notice: Notice,
    /// Whether they know: the list is read up to there, or they have seen it where it is.
    pub is_read: bool,
}

/// Names an event about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EventKey {
    /// Where.
    pub conversation: ConversationId,
    /// The message.
    pub message: Seq,
    /// The event.
    pub seq: Seq,
}

/// Names all that concerned somebody in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemberKey {
    /// Whom.
    pub user_id: UserId,
    /// Where.
    pub conversation: ConversationId,
}

/// Writes what a batch adds, after taking away what concerns nobody any more: of what the batch itself
/// adds that is left out.
pub(super) async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    let by = ["conversation", "message", "seq"];
    let gone = &changes.notices_taken_back;
    NOTICES.delete(transaction, generation, &by, gone).await?;
    let by = ["conversation", "message"];
    NOTICES
        .delete(transaction, generation, &by, &changes.stripped)
        .await?;
    let by = ["user_id", "conversation"];
    let gone = &changes.notices_left;
    NOTICES.delete(transaction, generation, &by, gone).await?;
    NOTICES
        .upsert(transaction, generation, &changes.notices)
        .await
}

/// That `$1` is in the conversation of `of` and sees its event `seq`.
fn is_in(of: &str, seq: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM members AS v WHERE v.conversation = {of}.conversation \
         AND v.member = $1 AND v.left_seq IS NULL AND v.visible_from <= {seq})"
    )
}

/// That `$1` does not block `actor`.
fn is_free(actor: &str) -> String {
    format!("NOT EXISTS (SELECT 1 FROM blocks AS b WHERE b.blocker = $1 AND b.blocked = {actor})")
}

/// What is of theirs alone.
fn personal() -> String {
    format!(
        "SELECT n.position, n.conversation, n.seq, n.kind, n.message, n.thread, n.actor, n.at, \
            n.detail, 0 AS rank FROM notices AS n \
         WHERE n.user_id = $1 AND n.position < $2 AND n.position > $3 AND {} AND {}",
        is_in("n", "n.seq"),
        is_free("n.actor"),
    )
}

/// Calls for `target`, where `$1` is that by `role`, a condition on their membership `m`.
fn calls(dialect: Dialect, target: &str, role: &str) -> String {
    calls_among(dialect, "members AS m", &format!("'{target}'"), role)
}

/// Calls for the roles that `$1` has in the spaces of channels. A message may call several of them.
fn role_calls(dialect: Dialect) -> String {
    let calls = calls_among(
        dialect,
        &format!("members AS m CROSS JOIN conversations AS c CROSS JOIN {GIVEN_ROLES}"),
        &target_of_role(),
        &format!(
            "c.id = m.conversation AND h.space = c.space AND h.member = m.member AND {ROLE_IS_THERE}"
        ),
    );
    format!("SELECT DISTINCT * FROM ({calls}) AS called")
}

/// Calls for `target` in what `$1` is in by their membership `m`, which is one of `among`, where `role` is
/// so. The bound is one, so that what is before it is not even looked at.
fn calls_among(dialect: Dialect, among: &str, target: &str, role: &str) -> String {
    format!(
        "SELECT x.position, x.conversation, x.seq, 'mention' AS kind, x.seq AS message, x.thread, \
            x.author AS actor, x.sent_at AS at, CAST(NULL AS TEXT) AS detail, 1 AS rank \
         FROM {among} CROSS JOIN mentions AS y CROSS JOIN messages AS x \
         WHERE m.member = $1 AND m.left_seq IS NULL AND {role} \
            AND y.conversation = m.conversation AND y.target = {target} AND y.author <> $1 \
            AND y.message >= {}(m.joined_seq + 1, COALESCE((SELECT z.message FROM mentions AS z \
                WHERE z.conversation = m.conversation AND z.target = {target} \
                ORDER BY z.message DESC LIMIT 1 OFFSET {}), 0)) \
            AND x.conversation = y.conversation AND x.seq = y.message \
            AND x.position < $2 AND x.position > $3 AND {}",
        dialect.greatest(),
        CALLS_MAX - 1,
        is_free("x.author"),
    )
}

/// The last answers of others in threads that `$1` follows.
fn answers() -> String {
    format!(
        "SELECT x.position, x.conversation, x.seq, 'thread_answer' AS kind, x.seq AS message, \
            x.thread, x.author AS actor, x.sent_at AS at, CAST(NULL AS TEXT) AS detail, 2 AS rank \
         FROM thread_followers AS f CROSS JOIN messages AS x \
         WHERE f.member = $1 AND {} AND x.conversation = f.conversation \
            AND x.seq = (SELECT w.seq FROM messages AS w \
                WHERE w.conversation = f.conversation AND w.thread = f.thread \
                    AND w.author <> $1 AND w.deleted_seq IS NULL AND w.seq > f.since_seq AND {} \
                ORDER BY w.seq DESC LIMIT 1) \
            AND x.position < $2 AND x.position > $3",
        is_in("f", "f.thread"),
        is_free("w.author"),
    )
}

/// The groups to which somebody else added `$1`.
fn added() -> String {
    format!(
        "SELECT m.joined_position AS position, m.conversation, m.joined_seq AS seq, \
            'added' AS kind, m.joined_seq AS message, CAST(NULL AS BIGINT) AS thread, \
            COALESCE(x.author, c.creator) AS actor, m.joined_at AS at, \
            CAST(NULL AS TEXT) AS detail, 3 AS rank \
         FROM members AS m CROSS JOIN conversations AS c LEFT JOIN messages AS x \
            ON x.conversation = m.conversation AND x.seq = m.joined_seq AND x.system IS NOT NULL \
         WHERE m.member = $1 AND m.left_seq IS NULL AND c.id = m.conversation \
            AND c.kind = 'group' AND COALESCE(x.author, c.creator) <> $1 \
            AND m.joined_position < $2 AND m.joined_position > $3 AND {}",
        is_free("COALESCE(x.author, c.creator)"),
    )
}

/// That `$1` knows `e`: the list is read up to there, or they have seen it where it is.
const IS_READ: &str = "\
    (e.position <= COALESCE((SELECT s.read_position FROM notification_settings AS s \
        WHERE s.user_id = $1), 0) \
    OR EXISTS (SELECT 1 FROM receipts AS r WHERE r.conversation = e.conversation \
        AND r.member = $1 AND r.kind = 'seen' AND r.seq >= e.seq) \
    OR EXISTS (SELECT 1 FROM thread_receipts AS r WHERE r.conversation = e.conversation \
        AND r.thread = e.thread AND r.member = $1 AND r.seq >= e.seq))";

/// All of it of which `condition` holds, newest first: `$4` at most, before position `$2` and after `$3`.
/// What is one event is told once.
fn all(dialect: Dialect, condition: &str) -> String {
    let parts = [
        personal(),
        calls(dialect, "everyone", "TRUE"),
        calls(dialect, "admin", "m.role IN ('admin', 'owner')"),
        calls(dialect, "owner", "m.role = 'owner'"),
        role_calls(dialect),
        answers(),
        added(),
    ];
    // Each part alone is in order and short, so that what is put together is.
    let parts = parts.map(|part| {
        format!(
            "SELECT * FROM (SELECT e.* FROM ({part}) AS e WHERE {condition} \
             ORDER BY e.position DESC LIMIT $4) AS one"
        )
    });
    format!(
        "SELECT p.*, row_number() OVER (PARTITION BY p.position ORDER BY p.rank) AS nth FROM ({}) AS p",
        parts.join(" UNION ALL ")
    )
}

/// What concerned `user` in the conversations that they are in, newest first: up to `limit`, before
/// position `before`. Needs this model, conversations, members, notifications, receipts, spaces and users.
pub async fn list(
    snapshot: &mut Snapshot,
    user: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Listed>, ReadError> {
    let values = [
        user.into(),
        before.map_or(i64::MAX.into(), Value::from),
        Position::ZERO.into(),
        limit.into(),
    ];
    let sql = format!(
        "SELECT e.*, {IS_READ} AS is_read FROM ({}) AS e \
         WHERE e.nth = 1 ORDER BY e.position DESC LIMIT $4",
        all(snapshot.dialect(), "TRUE")
    );
    let rows = snapshot.all(&sql, &values).await?;
    let listed = |row: &Row| -> Result<Listed, DatabaseError> {
        Ok(Listed {
            notice: Notice {
                user_id: user,
                position: row.get("position")?,
                conversation: row.get("conversation")?,
                seq: row.get("seq")?,
                kind: parse_stored(&row.get::<String>("kind")?)?,
                message: row.get("message")?,
                thread: row.get("thread")?,
                actor: row.get("actor")?,
                at: row.get("at")?,
                detail: row.get("detail")?,
            },
            is_read: row.get("is_read")?,
        })
    };
    Ok(rows.iter().map(listed).collect::<Result<_, _>>()?)
}

/// How much of that they do not know, up to [`UNREAD_MAX`], where the list is read up to `read`. Needs the
/// same.
pub async fn unread(
    snapshot: &mut Snapshot,
    user: UserId,
    read: Position,
) -> Result<u64, ReadError> {
    let sql = format!(
        "SELECT count(*) AS unread FROM (SELECT 1 FROM ({}) AS a WHERE a.nth = 1 LIMIT $4) AS b",
        all(snapshot.dialect(), &format!("NOT {IS_READ}"))
    );
    let values = [user.into(), i64::MAX.into(), read.into(), UNREAD_MAX.into()];
    let row = snapshot.first(&sql, &values).await?;
    Ok(row.map_or(Ok(0), |row| row.get("unread"))?)
}
