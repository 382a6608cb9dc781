//! A conversation of the export, from its start to its last day.

use std::collections::HashSet;

use chrono::DateTime;
use domain::conversation::{Act, Command, Conversation, ImportedFact};
use domain::values::Title;
use domain::{ConversationId, StreamName, UserId};
use infra::problem::Problem;

use super::day::{Day, Note, What};
use super::export::ExportFile;
use super::ids;
use super::people::Person;
use super::records::At;
use super::report::{Progress, Reason};
use super::run::Run;
use super::shapes::{SlackConversation, SlackMessage};
use super::talk::{Found, Talk};
use crate::execute::Envelope;

const TITLE_CHARACTERS_MAX: usize = 120;

/// What sort of conversation, by the list that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A channel that everybody in the workspace could join.
    Public,
    /// A private group, or a message to several.
    Private,
    /// Between two.
    Direct,
}

/// A conversation of the export with its days, in order.
pub(super) struct Channel {
    pub(super) kind: Kind,
    pub(super) slack: SlackConversation,
    pub(super) days: Vec<ExportFile>,
}

/// How a conversation starts.
struct Start {
    conversation: ConversationId,
    command: Command,
    /// Of a group.
    owner: Option<UserId>,
}

impl<F: FnMut(Progress) + Send> Run<'_, F> {
    /// Imports one conversation.
    pub(super) async fn channel(&mut self, channel: Channel) -> Result<(), Problem> {
        let Channel { kind, slack, days } = channel;
        let mentioned = slack.members.iter().chain(&slack.creator);
        let mentioned = mentioned.map(|id| Person::mentioned(id)).collect();
        self.placeholders(mentioned).await?;
        let Start {
            conversation,
            command,
            owner,
        } = self.start_of(kind, &slack);
        let stream = StreamName::conversation(conversation);
        let mut talk = Talk::open(self.api, stream.clone()).await?;
        let id = ids::command("start", &slack.id);
        let mut made = false;
        if talk.find(id) == Found::New {
            let mut envelope =
                Envelope::new(self.by.actor, id, &("import_conversation", &slack.id))?;
            if let Some(at) = slack.created.and_then(|at| DateTime::from_timestamp(at, 0)) {
                envelope = envelope.occurred_at(at);
            }
            let executor = self.api.conversations();
            made = executor.execute(&stream, envelope, command).await?.changed;
        }
        self.report.conversations.add(made);
        let mut newest = None;
        for file in &days {
            if let Some(mut messages) = self.read::<SlackMessage>(file).await? {
                messages.sort_by_key(|(_, message)| message.ts);
                let day = Day {
                    channel: &slack.id,
                    path: file.path().into(),
                };
                self.day(&mut talk, &day, messages, &mut newest).await?;
            }
            self.progress.files += 1;
            self.tell();
        }
        if let (true, Some(owner)) = (slack.is_archived, owner) {
            self.archive(&mut talk, &slack.id, owner).await?;
        }
        talk.settle_all().await?;
        self.count(&mut talk);
        self.tell();
        Ok(())
    }

    fn start_of(&mut self, kind: Kind, slack: &SlackConversation) -> Start {
        if let (Kind::Direct, Some((one, other))) = (kind, two_of(&slack.members)) {
            return Start {
                conversation: ConversationId::direct(one, other),
                command: Command::by(one, Act::StartDirect { with: other }),
                owner: None,
            };
        }
        let creator = slack.creator.as_ref().map(|id| ids::user(id));
        let in_it: Vec<UserId> = slack.members.iter().map(|id| ids::user(id)).collect();
        let first = creator.filter(|creator| in_it.is_empty() || in_it.contains(creator));
        let mut seen = HashSet::new();
        let mut members: Vec<UserId> = self
            .by
            .owner
            .filter(|_| kind == Kind::Public)
            .into_iter()
            .chain(first)
            .chain(in_it)
            .filter(|user| seen.insert(*user))
            .collect();
        let too_many = members.len().saturating_sub(Conversation::MEMBERS_MAX);
        self.report
            .count_skipped(Reason::TooManyMembers, too_many as u64);
        members.truncate(Conversation::MEMBERS_MAX);
        let owner = members.first().copied();
        let titled_by = creator
            .or(owner)
            .unwrap_or_else(|| Person::mentioned(Person::UNKNOWN).id());
        Start {
            conversation: ids::conversation(&slack.id),
            command: Command::Import(ImportedFact::Started {
                title: title(slack),
                titled_by,
                members,
            }),
            owner,
        }
    }

    async fn archive(
        &mut self,
        talk: &mut Talk<'_, Note>,
        channel: &str,
        owner: UserId,
    ) -> Result<(), Problem> {
        let id = ids::command("archive", channel);
        if talk.find(id) == Found::New {
            let envelope = Envelope::new(self.by.actor, id, &("archive", channel))?;
            let note = Note {
                path: channel.into(),
                at: At { record: 0, line: 0 },
                what: What::Archive,
            };
            let command = Command::by(owner, Act::Archive);
            talk.submit(envelope, command, note).await?;
        }
        Ok(())
    }
}

/// The two users of a direct conversation; `None` where there are not two.
fn two_of(members: &[String]) -> Option<(UserId, UserId)> {
    match members {
        [one, other] if one != other => Some((ids::user(one), ids::user(other))),
        _ => None,
    }
}

/// Slack's name of the conversation, cleaned and cut; its id where it has none.
fn title(slack: &SlackConversation) -> Title {
    let cleaned = |text: &str| -> String {
        let printed = text.trim().chars().filter(|c| !c.is_control());
        printed.take(TITLE_CHARACTERS_MAX).collect()
    };
    [slack.name.as_deref(), Some(slack.id.as_str())]
        .into_iter()
        .flatten()
        .find_map(|text| Title::parse(&cleaned(text)).ok())
        .unwrap_or_else(untitled)
}

#[expect(clippy::expect_used, reason = "the title is a constant and valid")]
fn untitled() -> Title {
    Title::parse("Untitled").expect("a valid title")
}
