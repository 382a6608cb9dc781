//! The fold of files that come with messages: those of the message until an edit says otherwise, and none
//! once it is deleted.

use std::collections::{BTreeMap, BTreeSet};

use domain::{AttachmentId, Position};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::messages::{self, Attached, MessageKey};

use uuid::Uuid;

use crate::fact::Fact;

type Key = (MessageKey, AttachmentId);

/// Files of messages as the batch leaves them.
#[derive(Default)]
pub(super) struct Fold {
    rows: BTreeMap<Key, Attached>,
    changed: BTreeSet<Key>,
}

/// Loads the files of `messages`.
pub(super) async fn load(
    transaction: &mut Transaction,
    generation: u64,
    messages: BTreeSet<MessageKey>,
) -> Result<Fold, DatabaseError> {
    let messages: Vec<MessageKey> = messages.into_iter().collect();
    let mut fold = Fold::default();
    for row in messages::load_attached(transaction, generation, &messages).await? {
        let message = MessageKey {
            conversation: row.conversation,
            message: row.message,
        };
        fold.rows.insert((message, row.attachment), row);
    }
    Ok(fold)
}

impl Fold {
    /// Folds that from `fact` on these files come with `message`, and no others.
    pub(super) fn set(&mut self, fact: &Fact, message: MessageKey, files: &[AttachmentId]) {
        self.end(fact.position, message, files);
        for (index, attachment) in files.iter().enumerate() {
            let key = (message, *attachment);
            let there = self
                .rows
                .get(&key)
                .filter(|row| row.ended_position.is_none());
            let row = Attached {
                conversation: message.conversation,
                message: message.message,
                attachment: *attachment,
                ordinal: index as u64 + 1,
                seq: there.map_or(fact.version, |row| row.seq),
                ended_position: None,
            };
            self.rows.insert(key, row);
            self.changed.insert(key);
        }
    }

    /// Folds that at `position` the files of `message` came to an end, but for `kept`.
    pub(super) fn end(&mut self, position: Position, message: MessageKey, kept: &[AttachmentId]) {
        let [first, last] = [Uuid::nil(), Uuid::max()].map(|id| (message, AttachmentId(id)));
        for (key, row) in self.rows.range_mut(first..=last) {
            if row.ended_position.is_none() && !kept.contains(&key.1) {
                row.ended_position = Some(position);
                self.changed.insert(*key);
            }
        }
    }

    pub(super) fn into_changes(mut self) -> Vec<Attached> {
        let changed = self.changed.iter();
        changed.filter_map(|key| self.rows.remove(key)).collect()
    }
}
