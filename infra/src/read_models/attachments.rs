//! Attachments: what there is, whose, and what is to be erased. Which messages have them is in
//! `messages`, whose pictures they are in `users`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::attachment::RemovedBecause;
use domain::{AttachmentId, Position, UserId};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, id, int, micros, micros_if_any, text, time,
};
use crate::read_models::{Model, ReadError, Snapshot, messages, users};

/// The read model.
pub const MODEL: Model = Model {
    name: "attachments",
    version: 1,
    category: "attachment",
    tables: &[&ATTACHMENTS],
};

/// What is needed to know which attachments nothing has.
pub const WITH_USES: [&Model; 3] = [&MODEL, &messages::MODEL, &users::MODEL];

const ATTACHMENTS: Table = Table {
    name: "attachments",
    columns: &[
        id("id"),
        id("owner"),
        text("name").nullable(),
        text("media_type"),
        int("size"),
        text("sha256"),
        int("width").nullable(),
        int("height").nullable(),
        text("thumbnail_media_type").nullable(),
        int("thumbnail_size").nullable(),
        int("thumbnail_width").nullable(),
        int("thumbnail_height").nullable(),
        time("uploaded_at"),
        int("uploaded_position"),
        time("removed_at").nullable(),
        text("removed_because").nullable(),
        time("erased_at").nullable(),
    ],
    key: &["id"],
    indexes: &[
        Index {
            name: "by_owner",
            columns: "owner",
            condition: Some("removed_at IS NULL"),
        },
        Index {
            name: "kept",
            columns: "uploaded_position",
            condition: Some("removed_at IS NULL"),
        },
        Index {
            name: "to_erase",
            columns: "uploaded_position",
            condition: Some("removed_at IS NOT NULL AND erased_at IS NULL"),
        },
    ],
};

/// A row of `attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Which.
    pub id: AttachmentId,
    /// Whose.
    pub owner: UserId,
    /// What its owner calls it; nothing once it was removed.
    pub name: Option<String>,
    /// What it is.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes, in hex.
    pub sha256: String,
    /// Of a picture, in pixels.
    pub width: Option<u64>,
    /// Likewise.
    pub height: Option<u64>,
    /// Of its small picture.
    pub thumbnail_media_type: Option<String>,
    /// In bytes.
    pub thumbnail_size: Option<u64>,
    /// In pixels.
    pub thumbnail_width: Option<u64>,
    /// Likewise.
    pub thumbnail_height: Option<u64>,
    /// When it was there.
    #[serde(serialize_with = "micros")]
    pub uploaded_at: DateTime<Utc>,
    /// In the log.
    pub uploaded_position: Position,
    /// Since when nobody gets it.
    #[serde(serialize_with = "micros_if_any")]
    pub removed_at: Option<DateTime<Utc>>,
    /// Why.
    pub removed_because: Option<String>,
    /// Since when its bytes are gone.
    #[serde(serialize_with = "micros_if_any")]
    pub erased_at: Option<DateTime<Utc>>,
}

impl Attachment {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("owner")?,
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            size: row.get("size")?,
            sha256: row.get("sha256")?,
            width: row.get("width")?,
            height: row.get("height")?,
            thumbnail_media_type: row.get("thumbnail_media_type")?,
            thumbnail_size: row.get("thumbnail_size")?,
            thumbnail_width: row.get("thumbnail_width")?,
            thumbnail_height: row.get("thumbnail_height")?,
            uploaded_at: row.get("uploaded_at")?,
            uploaded_position: row.get("uploaded_position")?,
            removed_at: row.get("removed_at")?,
            removed_because: row.get("removed_because")?,
            erased_at: row.get("erased_at")?,
        })
    }
}

#[derive(Serialize)]
struct Key {
    id: AttachmentId,
}

fn keys(ids: impl IntoIterator<Item = AttachmentId>) -> Vec<Key> {
    let ids: BTreeSet<AttachmentId> = ids.into_iter().collect();
    ids.into_iter().map(|id| Key { id }).collect()
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = AttachmentId>,
) -> Result<Vec<Attachment>, DatabaseError> {
    ATTACHMENTS
        .load(transaction, generation, &["id"], &keys(ids))
        .await?
        .iter()
        .map(Attachment::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    attachments: &[Attachment],
) -> Result<(), DatabaseError> {
    ATTACHMENTS
        .upsert(transaction, generation, attachments)
        .await
}

/// Those of `ids` that there are and nobody removed, in any order.
pub async fn kept(
    snapshot: &mut Snapshot,
    ids: impl IntoIterator<Item = AttachmentId>,
) -> Result<Vec<Attachment>, ReadError> {
    let rows = snapshot.keyed(&ATTACHMENTS, &["id"], &keys(ids)).await?;
    let all: Result<Vec<Attachment>, _> = rows.iter().map(Attachment::from_row).collect();
    let mut all = all?;
    all.retain(|attachment| attachment.removed_at.is_none());
    Ok(all)
}

/// How many bytes the attachments of `owner` have together.
pub async fn bytes_of(snapshot: &mut Snapshot, owner: UserId) -> Result<u64, ReadError> {
    let sql = "SELECT CAST(COALESCE(SUM(size), 0) AS bigint) AS bytes FROM attachments \
               WHERE owner = $1 AND removed_at IS NULL";
    let row = snapshot.first(sql, &[owner.into()]).await?;
    Ok(row.map_or(Ok(0), |row| row.get("bytes"))?)
}

/// Attachments that something had until some position after `after`: which, and where that ended, in the
/// order of the log; up to `limit`. Only what all of [`WITH_USES`] have come to.
pub async fn ended(
    snapshot: &mut Snapshot,
    after: Position,
    limit: usize,
) -> Result<Vec<(AttachmentId, Position)>, ReadError> {
    let sql = "SELECT attachment, ended_position FROM message_attachments \
               WHERE ended_position > $1 AND ended_position <= $2 \
               UNION ALL SELECT attachment, ended_position FROM avatars \
               WHERE ended_position > $1 AND ended_position <= $2 \
               ORDER BY ended_position LIMIT $3";
    let up_to = snapshot.position();
    let values = [after.into(), up_to.into(), limit.into()];
    let rows = snapshot.all(sql, &values).await?;
    let read = |row: &Row| Ok((row.get("attachment")?, row.get("ended_position")?));
    let ended: Result<_, DatabaseError> = rows.iter().map(read).collect();
    Ok(ended?)
}

/// Attachments that were uploaded after position `after` and before `moment` and that nobody removed, in
/// the order of the log: up to `limit`.
pub async fn uploaded(
    snapshot: &mut Snapshot,
    after: Position,
    moment: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<(AttachmentId, Position)>, ReadError> {
    let sql = "SELECT id, uploaded_position FROM attachments \
               WHERE removed_at IS NULL AND uploaded_position > $1 AND uploaded_at < $2 \
               ORDER BY uploaded_position LIMIT $3";
    let values = [after.into(), moment.into(), limit.into()];
    let rows = snapshot.all(sql, &values).await?;
    let read = |row: &Row| Ok((row.get("id")?, row.get("uploaded_position")?));
    let uploaded: Result<_, DatabaseError> = rows.iter().map(read).collect();
    Ok(uploaded?)
}

/// Those of `ids` that are there and nothing has, and whether something ever had them.
pub async fn unused(
    snapshot: &mut Snapshot,
    ids: &[AttachmentId],
) -> Result<Vec<(AttachmentId, RemovedBecause)>, ReadError> {
    let (mut had, mut has) = (BTreeSet::new(), BTreeSet::new());
    let ids: BTreeSet<AttachmentId> = ids.iter().copied().collect();
    let ids: Vec<AttachmentId> = ids.into_iter().collect();
    let in_messages = messages::uses(snapshot, &ids).await?;
    let in_messages = in_messages
        .iter()
        .map(|it| (it.attachment, it.ended_position));
    let of_users = users::avatars(snapshot, &ids).await?;
    let of_users = of_users.iter().map(|it| (it.attachment, it.ended_position));
    for (attachment, ended) in in_messages.chain(of_users) {
        had.insert(attachment);
        if ended.is_none() {
            has.insert(attachment);
        }
    }
    let kept = kept(snapshot, ids).await?;
    let unused = kept.into_iter().filter(|it| !has.contains(&it.id));
    Ok(unused
        .map(|it| {
            let why = if had.contains(&it.id) {
                RemovedBecause::NoLongerUsed
            } else {
                RemovedBecause::NeverUsed
            };
            (it.id, why)
        })
        .collect())
}

/// Attachments that were removed and whose bytes are still kept: up to `limit`.
pub async fn to_erase(
    snapshot: &mut Snapshot,
    limit: usize,
) -> Result<Vec<AttachmentId>, ReadError> {
    let sql = "SELECT id FROM attachments WHERE removed_at IS NOT NULL AND erased_at IS NULL \
               ORDER BY uploaded_position LIMIT $1";
    let rows = snapshot.all(sql, &[limit.into()]).await?;
    let ids: Result<_, DatabaseError> = rows.iter().map(|row| row.get("id")).collect();
    Ok(ids?)
}
