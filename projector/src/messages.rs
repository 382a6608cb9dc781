//! The fold behind `infra::read_models::messages`. A delete wins over any edit, of the edits the
//! last wins, a reaction or pin is there or it is not; what changes nothing folds to nothing.

mod attached;
mod notices;
mod threads;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::conversation::{
    ConversationEvent, MessageDeleted, MessageEdited, MessageSent, PinChanged,
    Reaction as ReactionFact,
};
use domain::{Actor, ConversationId, UserId};
use infra::database::{AsJson, DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::messages::{
    self, Changes, Mentioned, Message, MessageKey, Pin, Reaction, ReactionKey, Revision, System,
    Wording,
};

use crate::Projection;
use crate::conversations::conversation_event;
use crate::fact::{Fact, Parking, Unfit};

/// Folds messages.
pub(crate) struct Messages;

#[async_trait]
impl Projection for Messages {
    fn model(&self) -> &'static Model {
        &messages::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let touched = Touched::by(facts);
        let mut fold = Fold::default();
        for row in messages::load(transaction, generation, touched.messages).await? {
            fold.messages.insert(key_of(&row), row);
        }
        let reactions: Vec<&ReactionKey> = touched.reactions.iter().collect();
        for row in messages::load_reactions(transaction, generation, &reactions).await? {
            let key = ReactionKey {
                conversation: row.conversation,
                message: row.message,
                emoji: row.emoji.clone(),
                member: row.member,
            };
            fold.reactions.insert(key, Some(row));
        }
        let pinned: Vec<MessageKey> = touched.pinned.into_iter().collect();
        for row in messages::load_pins(transaction, generation, &pinned).await? {
            let key = MessageKey {
                conversation: row.conversation,
                message: row.message,
            };
            fold.pins.insert(key, Some(row));
        }
        fold.attached = self::attached::load(transaction, generation, touched.carriers).await?;
        self::threads::load(transaction, generation, &touched.threads, &mut fold).await?;
        let ordinals =
            messages::load_ordinals(transaction, generation, touched.conversations).await?;
        fold.ordinals.extend(ordinals);
        parking.fold(facts, |fact| fold.fold(fact));
        messages::store(transaction, generation, &fold.into_changes()).await
    }
}

/// What a batch needs to know of before.
#[derive(Default)]
struct Touched {
    messages: BTreeSet<MessageKey>,
    reactions: BTreeSet<ReactionKey>,
    pinned: BTreeSet<MessageKey>,
    threads: threads::Touched,
    /// Messages whose files may change.
    carriers: BTreeSet<MessageKey>,
    conversations: BTreeSet<ConversationId>,
}

impl Touched {
    fn by(facts: &[Fact]) -> Self {
        let mut touched = Self::default();
        for fact in facts {
            let Ok((conversation, event)) = conversation_event(fact) else {
                continue;
            };
            let message = match event {
                ConversationEvent::MessageSent(sent) => {
                    touched.conversations.insert(conversation);
                    // Whose message is answered.
                    touched
                        .messages
                        .extend(sent.reply_to.map(|message| MessageKey {
                            conversation,
                            message,
                        }));
                    let Some(root) = sent.thread else { continue };
                    touched.threads.written(conversation, root, sent.author);
                    root
                }
                ConversationEvent::MemberAdded(_)
                | ConversationEvent::MemberRemoved(_)
                | ConversationEvent::MemberLeft(_)
                | ConversationEvent::MemberRoleChanged(_) => {
                    touched.conversations.insert(conversation);
                    continue;
                }
                ConversationEvent::ThreadFollowed(changed)
                | ConversationEvent::ThreadUnfollowed(changed) => {
                    touched.threads.followed(conversation, changed);
                    continue;
                }
                ConversationEvent::MessageEdited(MessageEdited { message, .. })
                | ConversationEvent::MessageDeleted(MessageDeleted { message, .. }) => {
                    touched.carriers.insert(MessageKey {
                        conversation,
                        message: *message,
                    });
                    *message
                }
                ConversationEvent::ReactionAdded(reaction)
                | ConversationEvent::ReactionRemoved(reaction) => {
                    touched
                        .reactions
                        .insert(reaction_key(conversation, reaction));
                    reaction.message
                }
                ConversationEvent::MessagePinned(pin) | ConversationEvent::MessageUnpinned(pin) => {
                    touched.pinned.insert(MessageKey {
                        conversation,
                        message: pin.message,
                    });
                    pin.message
                }
                ConversationEvent::Started(_)
                | ConversationEvent::Renamed(_)
                | ConversationEvent::SettingsChanged(_)
                | ConversationEvent::Archived(_)
                | ConversationEvent::Unarchived(_)
                | ConversationEvent::SpaceFollowed(_) => continue,
            };
            touched.messages.insert(MessageKey {
                conversation,
                message,
            });
        }
        touched
    }
}

fn key_of(message: &Message) -> MessageKey {
    MessageKey {
        conversation: message.conversation,
        message: message.seq,
    }
}

/// U+0000 is stored as U+FFFD, so that the key is looked up so too.
fn reaction_key(conversation: ConversationId, reaction: &ReactionFact) -> ReactionKey {
    ReactionKey {
        conversation,
        message: reaction.message,
        emoji: reaction.emoji.as_str().replace('\0', "\u{fffd}"),
        member: reaction.member,
    }
}

/// What somebody wrote and nobody deleted.
fn may_change(message: &Message) -> bool {
    message.deleted_seq.is_none() && message.system.is_none()
}

/// A message without words.
fn empty(fact: &Fact, conversation: ConversationId, ordinal: u64, author: UserId) -> Message {
    Message {
        conversation,
        seq: fact.version,
        position: fact.position,
        ordinal,
        author,
        wording: Wording::none(),
        reply_to: None,
        thread: None,
        thread_ordinal: None,
        mentions: None,
        origin: None,
        system: None,
        sent_at: fact.at,
        edited_seq: None,
        edited_at: None,
        deleted_seq: None,
        deleted_by: None,
        deleted_reason: None,
        deleted_at: None,
    }
}

#[derive(Default)]
struct Fold {
    messages: BTreeMap<MessageKey, Message>,
    changed: BTreeSet<MessageKey>,
    revisions: Vec<Revision>,
    mentions: Vec<Mentioned>,
    reactions: BTreeMap<ReactionKey, Option<Reaction>>,
    reactions_changed: BTreeSet<ReactionKey>,
    pins: BTreeMap<MessageKey, Option<Pin>>,
    pins_changed: BTreeSet<MessageKey>,
    stripped: BTreeSet<MessageKey>,
    threads: threads::Fold,
    attached: attached::Fold,
    notices: notices::Fold,
    ordinals: BTreeMap<ConversationId, u64>,
}

impl Fold {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let (id, event) = conversation_event(fact)?;
        match event {
            ConversationEvent::MessageSent(sent) => self.sent(fact, id, sent),
            ConversationEvent::MessageEdited(edited) => self.edited(fact, id, edited),
            ConversationEvent::MessageDeleted(deleted) => self.deleted(fact, id, deleted),
            ConversationEvent::ReactionAdded(reaction) => self.reacted(fact, id, reaction),
            ConversationEvent::ReactionRemoved(reaction) => {
                let key = reaction_key(id, reaction);
                if let Some(there) = self.reactions.get_mut(&key)
                    && let Some(there) = there.take()
                {
                    self.notices.taken_back(&there);
                    self.reactions_changed.insert(key);
                }
            }
            ConversationEvent::MemberAdded(added) => {
                let (user, role) = (added.user, added.role);
                self.told(fact, id, user, System::MemberAdded { user, role });
            }
            ConversationEvent::MemberRemoved(removed) => {
                let user = removed.user;
                self.notices.left(id, user);
                self.told(fact, id, removed.by, System::MemberRemoved { user });
            }
            ConversationEvent::MemberLeft(left) => {
                let user = left.user;
                self.notices.left(id, user);
                self.told(fact, id, user, System::MemberLeft { user });
            }
            ConversationEvent::MemberRoleChanged(changed) => {
                self.notices.add(notices::of_role(fact, id, changed));
                let (user, role) = (changed.user, changed.role);
                self.told(fact, id, user, System::MemberRoleChanged { user, role });
            }
            ConversationEvent::ThreadFollowed(changed) => {
                self.threads.follow(id, changed, fact.version);
            }
            ConversationEvent::ThreadUnfollowed(changed) => self.threads.unfollow(id, changed),
            ConversationEvent::MessagePinned(pinned) => self.pinned(fact, id, pinned),
            ConversationEvent::MessageUnpinned(unpinned) => {
                let key = MessageKey {
                    conversation: id,
                    message: unpinned.message,
                };
                if let Some(there) = self.pins.get_mut(&key)
                    && there.take().is_some()
                {
                    self.pins_changed.insert(key);
                }
            }
            ConversationEvent::Started(_)
            | ConversationEvent::Renamed(_)
            | ConversationEvent::SettingsChanged(_)
            | ConversationEvent::Archived(_)
            | ConversationEvent::Unarchived(_)
            | ConversationEvent::SpaceFollowed(_) => {}
        }
        Ok(())
    }

    fn sent(&mut self, fact: &Fact, conversation: ConversationId, sent: &MessageSent) {
        let ordinal = self.ordinals.entry(conversation).or_default();
        if sent.thread.is_none() {
            *ordinal += 1;
        }
        let ordinal = *ordinal;
        let thread_ordinal = sent.thread.map(|message| {
            let root = self.messages.get(&MessageKey {
                conversation,
                message,
            });
            let begun_by = root.map(|root| root.author);
            self.threads
                .written(fact, (conversation, message), begun_by, sent.author)
        });
        let message = Message {
            wording: Wording::of(&sent.said),
            reply_to: sent.reply_to,
            thread: sent.thread,
            thread_ordinal,
            mentions: (!sent.mentions.is_empty()).then(|| AsJson(sent.mentions.clone())),
            origin: sent.origin.map(AsJson),
            ..empty(fact, conversation, ordinal, sent.author)
        };
        let targets = sent.mentions.iter().copied().filter_map(messages::target);
        self.mentions.extend(targets.map(|target| Mentioned {
            conversation,
            target,
            message: fact.version,
            author: sent.author,
            thread: sent.thread,
        }));
        let answered = sent.reply_to.and_then(|message| {
            let key = MessageKey {
                conversation,
                message,
            };
            self.messages.get(&key).map(|answered| answered.author)
        });
        let concerned = notices::of_message(fact, conversation, sent, answered);
        self.notices.add(concerned);
        let key = key_of(&message);
        self.attached.set(fact, key, &sent.attachments);
        self.messages.insert(key, message);
        self.changed.insert(key);
    }

    /// Folds what nobody wrote. Its author is the user who caused it; `otherwise` where that was none.
    fn told(&mut self, fact: &Fact, id: ConversationId, otherwise: UserId, system: System) {
        let ordinal = *self.ordinals.entry(id).or_default();
        let author = fact.by.and_then(Actor::user).unwrap_or(otherwise);
        let message = Message {
            system: Some(AsJson(system)),
            ..empty(fact, id, ordinal, author)
        };
        let key = key_of(&message);
        self.messages.insert(key, message);
        self.changed.insert(key);
    }

    fn edited(&mut self, fact: &Fact, conversation: ConversationId, edited: &MessageEdited) {
        let key = MessageKey {
            conversation,
            message: edited.message,
        };
        let Some(message) = self.messages.get_mut(&key) else {
            return;
        };
        if !may_change(message) {
            return;
        }
        let wording = std::mem::replace(&mut message.wording, Wording::of(&edited.said));
        self.revisions.push(Revision {
            conversation,
            message: message.seq,
            seq: message.edited_seq.unwrap_or(message.seq),
            wording,
            at: message.edited_at.unwrap_or(message.sent_at),
        });
        if let Some(files) = &edited.attachments {
            self.attached.set(fact, key, files);
        }
        message.edited_seq = Some(fact.version);
        message.edited_at = Some(fact.at);
        self.changed.insert(key);
    }

    fn deleted(&mut self, fact: &Fact, conversation: ConversationId, deleted: &MessageDeleted) {
        let key = MessageKey {
            conversation,
            message: deleted.message,
        };
        let Some(message) = self.messages.get_mut(&key) else {
            return;
        };
        if !may_change(message) {
            return;
        }
        self.attached.end(fact.position, key, &[]);
        message.wording.clear();
        message.mentions = None;
        message.deleted_seq = Some(fact.version);
        message.deleted_by = Some(deleted.by);
        message.deleted_reason = deleted
            .reason
            .as_ref()
            .map(|reason| reason.value.as_str().to_owned());
        message.deleted_at = Some(fact.at);
        self.changed.insert(key);
        self.notices.deleted(key);
        self.stripped.insert(key);
    }

    /// Whether there is a message to which something may be added.
    fn is_there(&self, key: MessageKey) -> bool {
        let message = self.messages.get(&key);
        message.is_some_and(may_change)
    }

    fn pinned(&mut self, fact: &Fact, conversation: ConversationId, pinned: &PinChanged) {
        let key = MessageKey {
            conversation,
            message: pinned.message,
        };
        if !self.is_there(key) || matches!(self.pins.get(&key), Some(Some(_))) {
            return;
        }
        let pin = Pin {
            conversation,
            message: pinned.message,
            seq: fact.version,
            pinned_by: pinned.by,
            pinned_at: fact.at,
        };
        self.pins.insert(key, Some(pin));
        self.pins_changed.insert(key);
    }

    fn reacted(&mut self, fact: &Fact, conversation: ConversationId, reaction: &ReactionFact) {
        let message = self.messages.get(&MessageKey {
            conversation,
            message: reaction.message,
        });
        let Some(message) = message.filter(|message| may_change(message)) else {
            return;
        };
        let key = reaction_key(conversation, reaction);
        if matches!(self.reactions.get(&key), Some(Some(_))) {
            return;
        }
        let concerned = notices::of_reaction(fact, conversation, reaction, message.author);
        self.notices.add(concerned);
        let added = Reaction {
            conversation,
            message: reaction.message,
            emoji: key.emoji.clone(),
            member: reaction.member,
            seq: fact.version,
            reacted_at: fact.at,
        };
        self.reactions.insert(key.clone(), Some(added));
        self.reactions_changed.insert(key);
    }

    fn into_changes(mut self) -> Changes {
        let mut changes = Changes {
            revisions: self.revisions,
            mentions: self.mentions,
            stripped: self.stripped.into_iter().collect(),
            attached: self.attached.into_changes(),
            ..Changes::default()
        };
        self.notices.into_changes(&mut changes);
        self.threads.into_changes(&mut changes);
        for key in self.changed {
            changes.messages.extend(self.messages.remove(&key));
        }
        for key in self.reactions_changed {
            match self.reactions.remove(&key).flatten() {
                Some(reaction) => changes.reactions.push(reaction),
                None => changes.reactions_gone.push(key),
            }
        }
        for key in self.pins_changed {
            match self.pins.remove(&key).flatten() {
                Some(pin) => changes.pins.push(pin),
                None => changes.pins_gone.push(key),
            }
        }
        changes
    }
}
