//! A day of a conversation: its messages, then their edits and reactions.

use std::sync::Arc;

use domain::conversation::{Command, ContentKind, ImportedFact, MessageFact};
use domain::values::{Emoji, MessageBody};
use domain::{CommandId, Seq, UserId};
use infra::problem::Problem;

use super::ids;
use super::people::Person;
use super::records::At;
use super::report::{Count, Place, Progress, Reason, Report};
use super::run::Run;
use super::shapes::{SlackMessage, Sort, Timestamp};
use super::talk::{Found, Settled, Talk};
use crate::execute::Envelope;

/// The longest text that is imported, in bytes: written as JSON it still fits into an event. Slack
/// itself takes 40,000 characters.
const TEXT_BYTES_MAX: usize = 128 * 1024;

/// How often progress is told within a file.
const PROGRESS_EVERY_MESSAGES: u64 = 500;

/// What a command was about, to be counted once it is carried out.
pub(super) struct Note {
    pub(super) path: Arc<str>,
    pub(super) at: At,
    pub(super) what: What,
}

pub(super) enum What {
    Message(MessageNote),
    Edit,
    Reaction,
    Archive,
}

/// What the report counts of a message.
pub(super) struct MessageNote {
    thread: Thread,
    without_text: bool,
    attachments: u64,
    out_of_order: bool,
}

/// How a message stands to a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    No,
    Answers(Seq),
    RootMissing,
}

/// The day that is being written.
pub(super) struct Day<'a> {
    pub(super) channel: &'a str,
    pub(super) path: Arc<str>,
}

impl Day<'_> {
    fn place(&self, at: At) -> Place<'_> {
        Place::record(&self.path, at)
    }

    fn note(&self, at: At, what: What) -> Note {
        let path = Arc::clone(&self.path);
        Note { path, at, what }
    }
}

impl<F: FnMut(Progress) + Send> Run<'_, F> {
    /// Writes a day: all messages, then their edits and reactions.
    pub(super) async fn day(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        messages: Vec<(At, SlackMessage)>,
        newest: &mut Option<Timestamp>,
    ) -> Result<(), Problem> {
        self.placeholders(people_of(&messages)).await?;
        let newest_before = *newest;
        for (at, message) in &messages {
            if message.sort() == Sort::Message {
                let out_of_order = Some(message.ts) < newest_before;
                self.message(talk, day, *at, message, out_of_order).await?;
                *newest = (*newest).max(Some(message.ts));
                self.count(talk);
            }
        }
        for (at, message) in &messages {
            match message.sort() {
                Sort::Message => {
                    self.edit(talk, day, *at, message).await?;
                    self.reactions(talk, day, *at, message).await?;
                }
                Sort::Change => self.change(talk, day, *at, message).await?,
                Sort::Deletion => self.report.count_skipped(Reason::Deletion, 1),
                Sort::Notice => self.report.count_skipped(Reason::Notice, 1),
            }
            self.count(talk);
        }
        Ok(())
    }

    async fn message(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        at: At,
        message: &SlackMessage,
        out_of_order: bool,
    ) -> Result<(), Problem> {
        let ts = message.ts.key();
        let id = ids::message(day.channel, &ts);
        match talk.find(id) {
            Found::New => {}
            Found::Before => {
                self.report.messages.add(false);
                self.message_done();
                return Ok(());
            }
            Found::Repeated => {
                let place = day.place(at);
                let detail = format!("a second message at {ts}");
                self.report.skip(Reason::Repeated, place, detail);
                return Ok(());
            }
        }
        let text = message.text.clone().unwrap_or_default();
        if text.len() > TEXT_BYTES_MAX {
            let detail = format!("{} bytes; {TEXT_BYTES_MAX} are taken", text.len());
            let place = day.place(at);
            self.report.skip(Reason::TextTooLong, place, detail);
            return Ok(());
        }
        let thread = match message.thread_ts.filter(|root| *root != message.ts) {
            None => Thread::No,
            Some(root) => match talk.seq_of(ids::message(day.channel, &root.key())).await? {
                Some(seq) => Thread::Answers(seq),
                None => Thread::RootMissing,
            },
        };
        let what = What::Message(MessageNote {
            thread,
            without_text: text.is_empty(),
            attachments: (message.files.len() + message.attachments.len()) as u64,
            out_of_order,
        });
        let author = Person::author(&message.author).id();
        let body = ("import_message", day.channel, &ts, author, &text);
        let envelope = Envelope::new(self.by.actor, id, &body)?.occurred_at(message.ts.moment());
        let command = Command::Import(ImportedFact::Message {
            author,
            body: MessageBody::imported(text),
            thread: match thread {
                Thread::Answers(seq) => Some(seq),
                Thread::No | Thread::RootMissing => None,
            },
        });
        talk.submit(envelope, command, day.note(at, what)).await
    }

    /// That a message was edited: to the text that it has now, as the export has no other.
    async fn edit(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        at: At,
        message: &SlackMessage,
    ) -> Result<(), Problem> {
        let Some(edited) = &message.edited else {
            return Ok(());
        };
        let edit = Edit {
            of: message.ts,
            when: edited.ts,
            author: Person::author(&message.author).id(),
            text: message.text.as_deref().unwrap_or_default(),
        };
        self.edit_of(talk, day, at, edit).await
    }

    /// A record that says how a message of the export was changed.
    async fn change(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        at: At,
        record: &SlackMessage,
    ) -> Result<(), Problem> {
        let Some(changed) = &record.message else {
            let place = day.place(at);
            let detail = "a change without the message after it";
            self.report.skip(Reason::MalformedRecord, place, detail);
            return Ok(());
        };
        let edit = Edit {
            of: changed.ts,
            when: record.ts,
            author: Person::author(&changed.author).id(),
            text: changed.text.as_deref().unwrap_or_default(),
        };
        self.edit_of(talk, day, at, edit).await
    }

    async fn edit_of(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        at: At,
        edit: Edit<'_>,
    ) -> Result<(), Problem> {
        let (of, when) = (edit.of.key(), edit.when.key());
        let place = day.place(at);
        let key = format!("{}/{of}/{when}", day.channel);
        let id = ids::command("edit", &key);
        if !self.is_new(talk, id, |report| &mut report.edits) {
            return Ok(());
        }
        if edit.text.len() > TEXT_BYTES_MAX {
            let detail = format!("an edit of {} bytes", edit.text.len());
            self.report.skip(Reason::TextTooLong, place, detail);
            return Ok(());
        }
        let Some(seq) = talk.seq_of(ids::message(day.channel, &of)).await? else {
            let detail = format!("an edit of the message at {of}");
            self.report.skip(Reason::NoSuchMessage, place, detail);
            return Ok(());
        };
        let envelope = Envelope::new(self.by.actor, id, &("import_edit", key, edit.text))?
            .occurred_at(edit.when.moment());
        let command = Command::Import(ImportedFact::Edited {
            message: MessageFact {
                seq,
                author: edit.author,
                kind: ContentKind::Text,
                thread: None,
            },
            body: MessageBody::imported(edit.text.to_owned()),
        });
        let note = day.note(at, What::Edit);
        talk.submit(envelope, command, note).await
    }

    async fn reactions(
        &mut self,
        talk: &mut Talk<'_, Note>,
        day: &Day<'_>,
        at: At,
        message: &SlackMessage,
    ) -> Result<(), Problem> {
        if message.reactions.is_empty() {
            return Ok(());
        }
        let ts = message.ts.key();
        let Some(seq) = talk.seq_of(ids::message(day.channel, &ts)).await? else {
            // The message was left out, and that is reported.
            return Ok(());
        };
        for reaction in &message.reactions {
            let nameless = reaction.count.saturating_sub(reaction.users.len() as u64);
            self.report
                .count_skipped(Reason::ReactionWithoutUser, nameless);
            let Ok(emoji) = Emoji::parse(&reaction.name) else {
                let place = day.place(at);
                let name = reaction.name.as_str();
                self.report.skip(Reason::InvalidReaction, place, name);
                continue;
            };
            for user in &reaction.users {
                let key = format!("{}/{ts}/{}/{user}", day.channel, reaction.name);
                let id = ids::command("reaction", &key);
                if !self.is_new(talk, id, |report| &mut report.reactions) {
                    continue;
                }
                let envelope = Envelope::new(self.by.actor, id, &("import_reaction", key))?;
                let command = Command::Import(ImportedFact::Reaction {
                    message: seq,
                    member: ids::user(user),
                    emoji: emoji.clone(),
                });
                let note = day.note(at, What::Reaction);
                talk.submit(envelope, command, note).await?;
            }
        }
        Ok(())
    }

    /// Whether `command` is to be carried out; counts it where an earlier import did.
    fn is_new(
        &mut self,
        talk: &mut Talk<'_, Note>,
        command: CommandId,
        count: impl FnOnce(&mut Report) -> &mut Count,
    ) -> bool {
        match talk.find(command) {
            Found::New => true,
            Found::Before => {
                count(&mut self.report).add(false);
                false
            }
            Found::Repeated => false,
        }
    }

    fn message_done(&mut self) {
        self.progress.messages += 1;
        if self
            .progress
            .messages
            .is_multiple_of(PROGRESS_EVERY_MESSAGES)
        {
            self.tell();
        }
    }

    /// Counts what was carried out since this was last called.
    pub(super) fn count(&mut self, talk: &mut Talk<'_, Note>) {
        for Settled { note, refused } in talk.take_settled() {
            if let Some(why) = refused {
                let place = Place::record(&note.path, note.at);
                self.report.skip(Reason::Refused, place, why);
                continue;
            }
            match note.what {
                What::Message(message) => {
                    self.report.messages.add(true);
                    self.report.count_message(&message);
                    self.message_done();
                }
                What::Edit => self.report.edits.add(true),
                What::Reaction => self.report.reactions.add(true),
                What::Archive => {}
            }
        }
    }
}

impl Report {
    fn count_message(&mut self, message: &MessageNote) {
        match message.thread {
            Thread::No => {}
            Thread::Answers(_) => self.replies += 1,
            Thread::RootMissing => self.replies_without_root += 1,
        }
        self.messages_without_text += u64::from(message.without_text);
        self.attachments_left_out += message.attachments;
        self.messages_out_of_order += u64::from(message.out_of_order);
    }
}

/// An edit as the export tells it.
struct Edit<'a> {
    of: Timestamp,
    when: Timestamp,
    author: UserId,
    text: &'a str,
}

/// Everybody who wrote or reacted on a day; those first of whom a message tells more than an id.
fn people_of(messages: &[(At, SlackMessage)]) -> Vec<Person> {
    let (mut authors, mut reacting) = (Vec::new(), Vec::new());
    for (_, message) in messages {
        match message.sort() {
            Sort::Message => {
                authors.push(Person::author(&message.author));
                let users = message.reactions.iter().flat_map(|r| &r.users);
                reacting.extend(users.map(|id| Person::mentioned(id)));
            }
            Sort::Change => {
                let changed = message.message.as_ref();
                authors.extend(changed.map(|changed| Person::author(&changed.author)));
            }
            Sort::Deletion | Sort::Notice => {}
        }
    }
    authors.extend(reacting);
    authors
}
