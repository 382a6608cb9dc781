//! Members: one row for each time somebody was in a conversation, with what they may see of it.

use chrono::{DateTime, Utc};
use domain::conversation::{HistoryVisibility, Role};
use domain::{ConversationId, Position, Seq, UserId};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, Value, id, int, micros, micros_if_any, text,
    time,
};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "members",
    version: 1,
    category: "conversation",
    tables: &[&MEMBERS, &VISIBILITY],
};

const MEMBERS: Table = Table {
    name: "members",
    columns: &[
        id("conversation"),
        id("member"),
        int("joined_seq"),
        int("joined_position"),
        time("joined_at"),
        int("visible_from"),
        text("role"),
        int("left_seq").nullable(),
        int("left_position").nullable(),
        time("left_at").nullable(),
        id("removed_by").nullable(),
    ],
    key: &["conversation", "member", "joined_seq"],
    indexes: &[Index {
        name: "by_member",
        columns: "member, conversation",
        condition: None,
    }],
};

/// What the next member of a conversation will see.
const VISIBILITY: Table = Table {
    name: "member_visibility",
    columns: &[id("conversation"), text("history_visibility")],
    key: &["conversation"],
    indexes: &[],
};

/// A row of `members`: somebody was in a conversation, from joining to leaving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub member: UserId,
    /// The event by which they joined.
    pub joined_seq: Seq,
    /// Its position.
    pub joined_position: Position,
    /// Its time.
    #[serde(serialize_with = "micros")]
    pub joined_at: DateTime<Utc>,
    /// The first event that they see.
    pub visible_from: Seq,
    /// As what they are in it, or were when they left.
    pub role: Role,
    /// The event by which they left, which is the last that they see.
    pub left_seq: Option<Seq>,
    /// Its position.
    pub left_position: Option<Position>,
    /// Its time.
    #[serde(serialize_with = "micros_if_any")]
    pub left_at: Option<DateTime<Utc>>,
    /// Who put them out, if they did not go by themselves.
    pub removed_by: Option<UserId>,
}

impl Membership {
    /// Whether they saw the event `seq` by this membership.
    pub fn sees(&self, seq: Seq) -> bool {
        self.visible_from <= seq && self.left_seq.is_none_or(|left| seq <= left)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            member: row.get("member")?,
            joined_seq: row.get("joined_seq")?,
            joined_position: row.get("joined_position")?,
            joined_at: row.get("joined_at")?,
            visible_from: row.get("visible_from")?,
            role: parse_stored(&row.get::<String>("role")?)?,
            left_seq: row.get("left_seq")?,
            left_position: row.get("left_position")?,
            left_at: row.get("left_at")?,
            removed_by: row.get("removed_by")?,
        })
    }
}

/// What later members of a conversation see, as it is set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Visibility {
    /// Where.
    pub conversation: ConversationId,
    /// What.
    pub history_visibility: HistoryVisibility,
}

#[derive(Serialize)]
struct MemberKey {
    conversation: ConversationId,
    member: UserId,
}

#[derive(Serialize)]
struct ConversationKey {
    conversation: ConversationId,
}

/// The memberships of `members` that are not over, as they stand in a generation.
pub async fn load_open(
    transaction: &mut Transaction,
    generation: u64,
    members: impl IntoIterator<Item = (ConversationId, UserId)>,
) -> Result<Vec<Membership>, DatabaseError> {
    let keys: Vec<MemberKey> = members
        .into_iter()
        .map(|(conversation, member)| MemberKey {
            conversation,
            member,
        })
        .collect();
    let rows = MEMBERS
        .load(transaction, generation, &["conversation", "member"], &keys)
        .await?;
    let mut open = Vec::new();
    for row in &rows {
        let membership = Membership::from_row(row)?;
        if membership.left_seq.is_none() {
            open.push(membership);
        }
    }
    Ok(open)
}

/// What later members of `conversations` will see.
pub async fn load_visibility(
    transaction: &mut Transaction,
    generation: u64,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<Visibility>, DatabaseError> {
    let keys: Vec<ConversationKey> = conversations
        .into_iter()
        .map(|conversation| ConversationKey { conversation })
        .collect();
    VISIBILITY
        .load(transaction, generation, &["conversation"], &keys)
        .await?
        .iter()
        .map(|row| {
            Ok(Visibility {
                conversation: row.get("conversation")?,
                history_visibility: parse_stored(&row.get::<String>("history_visibility")?)?,
            })
        })
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    memberships: &[Membership],
    visibility: &[Visibility],
) -> Result<(), DatabaseError> {
    MEMBERS.upsert(transaction, generation, memberships).await?;
    VISIBILITY.upsert(transaction, generation, visibility).await
}

/// The memberships of `user` that last, or ended after `ended_after`, in a snapshot that has this
/// model.
pub async fn of_member(
    snapshot: &mut Snapshot,
    user: UserId,
    ended_after: Position,
) -> Result<Vec<Membership>, ReadError> {
    let wanted = "member = $1 AND (left_position IS NULL OR left_position > $2)";
    memberships(snapshot, wanted, &[user.into(), ended_after.into()]).await
}

/// Every membership `user` had in `conversation`, in the order of joining, in a snapshot that has
/// this model; none if they never were in it.
pub async fn within(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    user: UserId,
) -> Result<Vec<Membership>, ReadError> {
    let wanted = "conversation = $1 AND member = $2";
    memberships(snapshot, wanted, &[conversation.into(), user.into()]).await
}

/// Whether there is a conversation that both `one` and `other` are or were in, in a snapshot that has
/// this model.
pub async fn share(snapshot: &mut Snapshot, one: UserId, other: UserId) -> Result<bool, ReadError> {
    let sql = "SELECT 1 AS found FROM members AS a JOIN members AS b \
               ON b.conversation = a.conversation AND b.member = $2 WHERE a.member = $1 LIMIT 1";
    let row = snapshot.first(sql, &[one.into(), other.into()]).await?;
    Ok(row.is_some())
}

/// Whether there is a conversation that both `one` and `other` are in now, in a snapshot that has this
/// model.
pub async fn share_now(
    snapshot: &mut Snapshot,
    one: UserId,
    other: UserId,
) -> Result<bool, ReadError> {
    let sql = "SELECT 1 AS found FROM members AS a JOIN members AS b \
               ON b.conversation = a.conversation AND b.member = $2 AND b.left_seq IS NULL \
               WHERE a.member = $1 AND a.left_seq IS NULL LIMIT 1";
    let row = snapshot.first(sql, &[one.into(), other.into()]).await?;
    Ok(row.is_some())
}

/// The memberships of `conversation` that were there when its event `at` was the last, in the order
/// of members: up to `limit`, those after member `after`.
pub async fn at(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    at: Option<Seq>,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Membership>, ReadError> {
    let after = after.unwrap_or(UserId(uuid::Uuid::nil()));
    let mut values: Vec<Value> = vec![conversation.into(), after.into(), limit.into()];
    let then = match at {
        None => "left_seq IS NULL",
        // Who left by the very event was there until then.
        Some(at) => {
            values.push(at.into());
            "joined_seq <= $4 AND (left_seq IS NULL OR left_seq >= $4)"
        }
    };
    let wanted = format!("conversation = $1 AND member > $2 AND {then}");
    select(
        snapshot,
        &wanted,
        "ORDER BY member, joined_seq LIMIT $3",
        &values,
    )
    .await
}

async fn memberships(
    snapshot: &mut Snapshot,
    wanted: &str,
    values: &[Value],
) -> Result<Vec<Membership>, ReadError> {
    select(
        snapshot,
        wanted,
        "ORDER BY conversation, joined_seq",
        values,
    )
    .await
}

async fn select(
    snapshot: &mut Snapshot,
    wanted: &str,
    order: &str,
    values: &[Value],
) -> Result<Vec<Membership>, ReadError> {
    let columns: Vec<&str> = MEMBERS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM members WHERE {wanted} {order}",
        columns.join(", ")
    );
    let rows = snapshot.all(&sql, values).await?;
    Ok(rows
        .iter()
        .map(Membership::from_row)
        .collect::<Result<_, _>>()?)
}
