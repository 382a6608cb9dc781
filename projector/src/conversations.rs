//! The fold behind `infra::read_models::conversations`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::conversation::{ConversationEvent, WhoMayPost};
use domain::{ConversationId, Event, Seq};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::conversations::{self, Conversation, Settings, preview};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit};

/// Folds conversations.
pub(crate) struct Conversations;

#[async_trait]
impl Projection for Conversations {
    fn model(&self) -> &'static Model {
        &conversations::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids: BTreeSet<ConversationId> = facts
            .iter()
            .filter_map(|fact| fact.stream.conversation_id())
            .collect();
        let mut fold = Fold::default();
        for row in conversations::load(transaction, generation, ids).await? {
            fold.conversations.insert(row.id, row);
        }
        parking.fold(facts, |fact| fold.fold(fact));
        let conversations: Vec<Conversation> = fold.conversations.into_values().collect();
        let settings: Vec<Settings> = fold.settings.into_values().collect();
        conversations::store(transaction, generation, &conversations, &settings).await
    }
}

#[derive(Default)]
struct Fold {
    conversations: BTreeMap<ConversationId, Conversation>,
    settings: BTreeMap<(ConversationId, Seq), Settings>,
}

impl Fold {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let (id, event) = conversation_event(fact)?;
        if let ConversationEvent::Started(started) = event
            && !self.conversations.contains_key(&id)
        {
            let row = Conversation {
                id,
                kind: started.kind,
                space: started.channel.map(|channel| channel.space),
                channel_kind: started.channel.map(|channel| channel.kind),
                creator: started.creator,
                started_at: fact.at,
                title: started
                    .title
                    .as_ref()
                    .map(|title| title.value.as_str().to_owned()),
                history_visibility: started.history_visibility,
                archived: false,
                slow_mode_s: 0,
                who_may_post: WhoMayPost::default(),
                head_seq: fact.version,
                message_count: 0,
                activity: fact.position,
                last_message_seq: None,
                last_message_author: None,
                last_message_format: None,
                last_message_preview: None,
                last_message_at: None,
            };
            self.settings.insert((id, fact.version), settings_of(&row));
            self.conversations.insert(id, row);
        }
        let row = self
            .conversations
            .get_mut(&id)
            .ok_or_else(|| Unfit::new("the conversation was not started"))?;
        row.head_seq = fact.version;
        if change(row, event, fact) {
            self.settings.insert((id, fact.version), settings_of(row));
        }
        Ok(())
    }
}

/// What is set for the whole conversation, as of its last event.
fn settings_of(row: &Conversation) -> Settings {
    Settings {
        conversation: row.id,
        seq: row.head_seq,
        title: row.title.clone(),
        history_visibility: row.history_visibility,
        archived: row.archived,
        slow_mode_s: row.slow_mode_s,
        who_may_post: row.who_may_post,
    }
}

/// Folds `event` into its conversation; says whether what is set for the whole of it changed.
fn change(row: &mut Conversation, event: &ConversationEvent, fact: &Fact) -> bool {
    match event {
        ConversationEvent::Renamed(renamed) => {
            row.title = Some(renamed.title.value.as_str().to_owned());
            return true;
        }
        ConversationEvent::SettingsChanged(changed) => {
            row.history_visibility = changed.history_visibility;
            row.slow_mode_s = changed.slow_mode_s.map_or(row.slow_mode_s, u64::from);
            row.who_may_post = changed.who_may_post.unwrap_or(row.who_may_post);
            return true;
        }
        ConversationEvent::Archived(_) => {
            row.archived = true;
            return true;
        }
        ConversationEvent::Unarchived(_) => {
            row.archived = false;
            return true;
        }
        ConversationEvent::MessageSent(sent) => {
            row.message_count += 1;
            if sent.thread.is_some() {
                return false;
            }
            row.activity = fact.position;
            row.last_message_seq = Some(fact.version);
            row.last_message_author = Some(sent.author);
            row.last_message_format = Some((&sent.said).into());
            row.last_message_preview = sent.said.text().map(preview);
            row.last_message_at = Some(fact.at);
        }
        ConversationEvent::MessageEdited(edited) => {
            // Once deleted there is no preview, and an edit brings none back.
            if row.last_message_seq == Some(edited.message) && row.last_message_preview.is_some() {
                row.last_message_format = Some((&edited.said).into());
                row.last_message_preview = edited.said.text().map(preview);
            }
        }
        ConversationEvent::MessageDeleted(deleted) => {
            if row.last_message_seq == Some(deleted.message) {
                row.last_message_preview = None;
            }
        }
        // A second start changes nothing.
        ConversationEvent::Started(_)
        | ConversationEvent::MemberAdded(_)
        | ConversationEvent::MemberRemoved(_)
        | ConversationEvent::MemberLeft(_)
        | ConversationEvent::MemberRoleChanged(_)
        | ConversationEvent::ReactionAdded(_)
        | ConversationEvent::ReactionRemoved(_)
        | ConversationEvent::MessagePinned(_)
        | ConversationEvent::MessageUnpinned(_)
        | ConversationEvent::ThreadFollowed(_)
        | ConversationEvent::ThreadUnfollowed(_)
        | ConversationEvent::SpaceFollowed(_) => {}
    }
    false
}

/// The conversation of a fact, and the event as one of a conversation.
pub(crate) fn conversation_event(
    fact: &Fact,
) -> Result<(ConversationId, &ConversationEvent), Unfit> {
    match (fact.stream.conversation_id(), &fact.event) {
        (Some(id), Event::Conversation(event)) => Ok((id, event)),
        (None, _) => Err(Unfit::new("the stream is not named after a conversation")),
        (Some(_), _) => Err(Unfit::new("the event is of another category")),
    }
}
