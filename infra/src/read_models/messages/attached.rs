//! Which files come with which messages, and which no more: those are collected.

use domain::{AttachmentId, ConversationId, Position, Seq, UserId};
use serde::Serialize;

use super::MessageKey;
use super::read::keys;
use crate::database::{DatabaseError, Index, Row, Table, Transaction, id, int};
use crate::read_models::{ReadError, Snapshot};

pub(super) const ATTACHED: Table = Table {
    name: "message_attachments",
    columns: &[
        id("conversation"),
        int("message"),
        id("attachment"),
        int("ordinal"),
        int("seq"),
        int("ended_position").nullable(),
    ],
    key: &["conversation", "message", "attachment"],
    indexes: &[
        Index {
            name: "by_attachment",
            columns: "attachment",
            condition: None,
        },
        Index {
            name: "ended",
            columns: "ended_position",
            condition: Some("ended_position IS NOT NULL"),
        },
    ],
};

/// A row of `message_attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// Where.
    pub conversation: ConversationId,
    /// To which message.
    pub message: Seq,
    /// Which.
    pub attachment: AttachmentId,
    /// The how-manieth of the message's, from 1.
    pub ordinal: u64,
    /// The event that made it so: the message itself, or an edit.
    pub seq: Seq,
    /// Where in the log that ended, by an edit or with the message.
    pub ended_position: Option<Position>,
}

impl Attached {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            attachment: row.get("attachment")?,
            ordinal: row.get("ordinal")?,
            seq: row.get("seq")?,
            ended_position: row.get("ended_position")?,
        })
    }
}

/// The files of `messages` that were ever theirs, as they stand in a generation.
pub async fn load_attached(
    transaction: &mut Transaction,
    generation: u64,
    messages: &[MessageKey],
) -> Result<Vec<Attached>, DatabaseError> {
    let by = ["conversation", "message"];
    ATTACHED
        .load(transaction, generation, &by, messages)
        .await?
        .iter()
        .map(Attached::from_row)
        .collect()
}

/// Writes what a batch changed of files.
pub(super) async fn store(
    transaction: &mut Transaction,
    generation: u64,
    attached: &[Attached],
) -> Result<(), DatabaseError> {
    ATTACHED.upsert(transaction, generation, attached).await
}

/// The files that come with any of `messages`, in no order.
pub async fn attached_to(
    snapshot: &mut Snapshot,
    messages: &[MessageKey],
) -> Result<Vec<Attached>, ReadError> {
    let by = ["conversation", "message"];
    let rows = snapshot.keyed(&ATTACHED, &by, messages).await?;
    let mut found: Vec<Attached> = rows
        .iter()
        .map(Attached::from_row)
        .collect::<Result<_, _>>()?;
    found.retain(|attached| attached.ended_position.is_none());
    Ok(found)
}

/// The files that come with `messages`, in their order.
pub async fn attached(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    messages: &[Seq],
) -> Result<Vec<Attached>, ReadError> {
    let mut found = attached_to(snapshot, &keys(conversation, messages)).await?;
    found.sort_unstable_by_key(|attached| (attached.message, attached.ordinal));
    Ok(found)
}

/// Every use of `attachments` in a message, also those that ended.
pub async fn uses(
    snapshot: &mut Snapshot,
    attachments: &[AttachmentId],
) -> Result<Vec<Attached>, ReadError> {
    #[derive(Serialize)]
    struct Key {
        attachment: AttachmentId,
    }
    let keys: Vec<Key> = attachments
        .iter()
        .map(|attachment| Key {
            attachment: *attachment,
        })
        .collect();
    let rows = snapshot.keyed(&ATTACHED, &["attachment"], &keys).await?;
    Ok(rows
        .iter()
        .map(Attached::from_row)
        .collect::<Result<_, _>>()?)
}

/// Whether `viewer` sees a message that has `attachment`. Needs this model and members.
pub async fn is_seen(
    snapshot: &mut Snapshot,
    attachment: AttachmentId,
    viewer: UserId,
) -> Result<bool, ReadError> {
    let sql = "SELECT u.message FROM message_attachments AS u WHERE u.attachment = $1 \
               AND u.ended_position IS NULL AND EXISTS (SELECT 1 FROM members AS v \
               WHERE v.conversation = u.conversation AND v.member = $2 \
               AND v.visible_from <= u.seq AND (v.left_seq IS NULL OR v.left_seq >= u.seq)) LIMIT 1";
    let values = [attachment.into(), viewer.into()];
    Ok(snapshot.first(sql, &values).await?.is_some())
}
