//! What an import tells: how far it is, and in the end what came of it.

use std::collections::BTreeMap;

use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::records::At;

/// How many left-out records are named one by one; further ones are only counted.
pub const SKIPPED_NAMED_MAX: usize = 1_000;

/// Longest explanation of why a record was left out, in characters; the rest is cut.
const DETAIL_CHARACTERS_MAX: usize = 300;

/// Why something in the export was left out.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A name in the zip that leads out of it.
    UnsafeName,
    /// A file that cannot be read, or is too large.
    UnreadableFile,
    /// A JSON file that is neither a list nor a day of messages, or a list that is not imported.
    UnknownFile,
    /// A folder of a conversation that no list names.
    UnlistedFolder,
    /// A record that is no JSON or does not have the shape of its kind.
    MalformedRecord,
    /// A second user or conversation with the same id, or a second message with the same time.
    Repeated,
    /// A line that Slack writes by itself: joined, left, renamed, pinned and the like.
    Notice,
    /// That a message was deleted; the message itself is imported where the export has it.
    Deletion,
    /// An edit or deletion of a message that the export does not have.
    NoSuchMessage,
    /// A text of more bytes than an event may hold.
    TextTooLong,
    /// A reaction whose name is no valid one here.
    InvalidReaction,
    /// Reactions that Slack counts without saying whose they are.
    ReactionWithoutUser,
    /// Members beyond the most that a conversation may have.
    TooManyMembers,
    /// Refused by the rules.
    Refused,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// In which file of the export.
    pub file: String,
    /// Number of the record in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What sort of reason.
    pub reason: Reason,
    /// The reason in words.
    pub detail: String,
}

/// Things that the import made, and those that were there from an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// Made by this import.
    pub made: u64,
    /// There already.
    pub existing: u64,
}

impl Count {
    pub(super) fn add(&mut self, made: bool) {
        if made {
            self.made += 1;
        } else {
            self.existing += 1;
        }
    }

    /// Both together.
    pub const fn total(self) -> u64 {
        self.made + self.existing
    }
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Users, placeholders and bots included.
    pub users: Count,
    /// Of all users, those that the export mentions but does not describe.
    pub placeholders: u64,
    /// Users that were made under another handle than their Slack name, as it was taken.
    pub handles_changed: u64,
    /// Users that were made without their address, as another account has it or it is none.
    pub emails_left_out: u64,
    /// Conversations.
    pub conversations: Count,
    /// Messages.
    pub messages: Count,
    /// Of the messages made, those that answer another one.
    pub replies: u64,
    /// Of the messages made, those that belong to a thread whose first message is not before them
    /// in the conversation; they answer nothing.
    pub replies_without_root: u64,
    /// Of the messages made, those without text.
    pub messages_without_text: u64,
    /// Files and attachments of the messages made; they are not imported.
    pub attachments_left_out: u64,
    /// Of the messages made, those in a later file than a newer message.
    pub messages_out_of_order: u64,
    /// Edits.
    pub edits: Count,
    /// Reactions.
    pub reactions: Count,
    /// How often something was left out, by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// What was left out, one by one; at most 1,000 of them, and no notices.
    pub skipped_named: Vec<Skipped>,
}

/// Where something that is left out stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    file: &'a str,
    at: Option<At>,
}

impl<'a> Place<'a> {
    pub(super) const fn file(file: &'a str) -> Self {
        Self { file, at: None }
    }

    pub(super) const fn record(file: &'a str, at: At) -> Self {
        Self { file, at: Some(at) }
    }
}

impl Report {
    /// Counts something that is left out, and names it.
    pub(super) fn skip(&mut self, reason: Reason, place: Place<'_>, detail: impl Into<String>) {
        self.count_skipped(reason, 1);
        if self.skipped_named.len() < SKIPPED_NAMED_MAX {
            let mut detail = detail.into();
            if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARACTERS_MAX) {
                detail.truncate(end);
            }
            self.skipped_named.push(Skipped {
                file: place.file.to_owned(),
                record: place.at.map(|at| at.record).filter(|record| *record > 0),
                line: place.at.map(|at| at.line),
                reason,
                detail,
            });
        }
    }

    /// Counts what is left out without naming it.
    pub(super) fn count_skipped(&mut self, reason: Reason, count: u64) {
        if count > 0 {
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Users done.
    pub users: u64,
    /// Files of messages done.
    pub files: u64,
    /// Files of messages in the export.
    pub files_total: u64,
    /// Messages done, those that were there already included.
    pub messages: u64,
}

/// One line of what an import over HTTP answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// It goes on.
    Progress(Progress),
    /// It is done; the last line.
    Done(Box<Report>),
    /// It stopped; the last line. What was imported stays, and the same import again goes on.
    Problem(Problem),
}
