//! How much somebody has not seen, of what came within a stretch of the log: by conversation, and by how it
//! gets at them.

use chrono::{DateTime, Utc};
use domain::conversation::Kind;
use domain::{ConversationId, Position, UserId};

use crate::database::{DatabaseError, Row};
use crate::read_models::messages::ROLE_TARGET;
use crate::read_models::spaces::called_roles;
use crate::read_models::{ReadError, Snapshot, parse_stored};

/// Of each conversation so many messages, the last ones, are looked at.
const MESSAGES_MAX: usize = 500;

/// What counts: what was said at `since` or later, after position `after` and up to `up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub since: DateTime<Utc>,
    /// The position before the first.
    pub after: Position,
    /// The last position.
    pub up_to: Position,
}

impl Window {
    /// All that there is since a moment.
    pub const fn since(since: DateTime<Utc>) -> Self {
        Self {
            since,
            after: Position::ZERO,
            up_to: Position(i64::MAX.cast_unsigned()),
        }
    }
}

/// What somebody has not seen in a conversation: messages by others, whom they do not block, that are not
/// deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Where.
    pub conversation: ConversationId,
    /// What that is.
    pub kind: Kind,
    /// All of it, threads and all.
    pub all: u64,
    /// What is outside threads, or gets at them.
    pub plain: u64,
    /// What gets at them: calls them, answers a message of theirs or is in a thread that they follow.
    pub calls: u64,
}

/// What `user` has not seen of what is in `window`, in the conversations that they are in; those with the
/// newest messages first, up to `limit`. Needs this model, conversations, members, receipts, spaces and
/// users.
pub async fn unseen(
    snapshot: &mut Snapshot,
    user: UserId,
    window: Window,
    limit: usize,
) -> Result<Vec<Unseen>, ReadError> {
    let sql = format!(
        "WITH page AS MATERIALIZED (SELECT c.id AS conversation, c.kind, c.space, c.activity, \
            m.role, m.joined_seq, COALESCE((SELECT max(r.seq) FROM receipts AS r \
                WHERE r.conversation = c.id AND r.member = $1 AND r.kind = 'seen'), 0) AS seen_seq \
            FROM members AS m JOIN conversations AS c ON c.id = m.conversation \
            WHERE m.member = $1 AND m.left_seq IS NULL \
                AND (c.activity > $3 AND c.last_message_at >= $2 OR EXISTS (SELECT 1 FROM threads AS t \
                    WHERE t.conversation = c.id AND t.last_position > $3)) \
            ORDER BY c.activity DESC LIMIT $5), \
         based AS MATERIALIZED (SELECT p.*, \
            CASE WHEN p.seen_seq > p.joined_seq THEN p.seen_seq ELSE p.joined_seq END AS base_seq, \
            COALESCE((SELECT z.seq FROM messages AS z WHERE z.conversation = p.conversation \
                ORDER BY z.seq DESC LIMIT 1 OFFSET {MESSAGES_MAX}), 0) AS floor_seq FROM page AS p), \
         news AS MATERIALIZED (SELECT b.conversation, b.kind, b.activity, x.thread, CASE \
            WHEN EXISTS (SELECT 1 FROM mentions AS y WHERE y.conversation = x.conversation \
                AND y.message = x.seq AND y.target IN (CAST($1 AS TEXT), 'everyone', \
                    CASE WHEN b.role IN ('admin', 'owner') THEN 'admin' END, \
                    CASE WHEN b.role = 'owner' THEN 'owner' END)) THEN 1 \
            WHEN EXISTS (SELECT 1 FROM mentions AS y WHERE y.conversation = x.conversation \
                AND y.message = x.seq AND y.target LIKE '{ROLE_TARGET}%' AND y.target IN {}) THEN 1 \
            WHEN EXISTS (SELECT 1 FROM messages AS a WHERE a.conversation = x.conversation \
                AND a.seq = x.reply_to AND a.author = $1) THEN 1 \
            WHEN EXISTS (SELECT 1 FROM thread_followers AS f WHERE f.conversation = x.conversation \
                AND f.thread = x.thread AND f.member = $1) THEN 1 ELSE 0 END AS calls \
            FROM based AS b CROSS JOIN messages AS x \
            WHERE x.conversation = b.conversation AND x.seq > b.base_seq AND x.seq > b.floor_seq \
                AND x.position > $3 AND x.position <= $4 AND x.sent_at >= $2 \
                AND x.author <> $1 AND x.system IS NULL AND x.deleted_seq IS NULL \
                AND NOT EXISTS (SELECT 1 FROM blocks AS k \
                    WHERE k.blocker = $1 AND k.blocked = x.author) \
                AND NOT EXISTS (SELECT 1 FROM thread_receipts AS r \
                    WHERE r.conversation = x.conversation AND r.thread = x.thread \
                        AND r.member = $1 AND r.seq >= x.seq)) \
         SELECT n.conversation, n.kind, count(*) AS all_of_it, sum(n.calls) AS calls, \
            sum(CASE WHEN n.thread IS NULL OR n.calls = 1 THEN 1 ELSE 0 END) AS plain \
         FROM news AS n GROUP BY n.conversation, n.kind, n.activity ORDER BY n.activity DESC",
        called_roles("b.space"),
    );
    let values = [
        user.into(),
        window.since.into(),
        window.after.into(),
        window.up_to.into(),
        limit.into(),
    ];
    let rows = snapshot.all(&sql, &values).await?;
    let unseen = |row: &Row| -> Result<Unseen, DatabaseError> {
        Ok(Unseen {
            conversation: row.get("conversation")?,
            kind: parse_stored(&row.get::<String>("kind")?)?,
            all: row.get("all_of_it")?,
            plain: row.get("plain")?,
            calls: row.get("calls")?,
        })
    };
    Ok(rows.iter().map(unseen).collect::<Result<_, _>>()?)
}
