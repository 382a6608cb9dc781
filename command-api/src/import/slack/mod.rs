//! Slack's export (a folder, or a zip of one) made into users, conversations, messages, edits and
//! reactions.
//!
//! What is made of what:
//!
//! - Everybody in `users.json`, deleted users and bots included, becomes a user without a password,
//!   with their address where it is free. Who is mentioned but not listed (bots, users of other
//!   workspaces) becomes one too, named as well as the export allows. Handles are made from Slack's
//!   names; where one is taken, it gets a suffix.
//! - Channels, private groups and group messages become groups, titled by their Slack name; a
//!   direct message between two becomes their direct conversation. The importer's `owner` joins
//!   public channels as owner, as imported users cannot log in; private ones stay with their
//!   members. What the export lists as archived is archived after its messages.
//! - Messages keep their text as Slack wrote it, markup and all, and their time. A message in a
//!   thread is in the thread of its first message, if that is before it. Files are not imported, a
//!   message without text is imported empty, and Slack's own notices (joined, renamed, …) are
//!   counted and left out.
//! - An export has only the last text of a message: that is what is sent, and if the export says
//!   that the message was edited, an edit to the same text follows at the time of the edit. A
//!   `message_changed` record becomes an edit too. A reaction has no time of its own.
//! - Within a file messages come by their time, and edits and reactions after all messages of the
//!   file, so that an import that was interrupted and taken up makes the same streams as one that
//!   was not. (But when the log itself fails in the middle, the few messages under way may be
//!   stored out of order.)
//!
//! Every id is derived from Slack's (see `ids`): a second import of the same export changes
//! nothing, one that was interrupted goes on, and a newer export adds what is new. Members and
//! profiles that changed in between stay as they were imported first.
//!
//! Memory: one file of the export, the list of users, and about 50 bytes for each event of the
//! conversation that is being written.

mod channel;
mod day;
mod door;
mod export;
mod ids;
mod people;
mod records;
mod report;
mod run;
mod shapes;
mod talk;
#[cfg(test)]
mod tests;

pub use door::{SlackDoor, routes};
pub use export::{EXPORT_BYTES_MAX, Export, ExportUnreadable, FILE_BYTES_MAX, FILES_MAX};
pub use report::{Count, Line, Progress, Reason, Report, SKIPPED_NAMED_MAX, Skipped};
pub use run::{Importer, import};
