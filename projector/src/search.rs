//! The fold behind `infra::read_models::search`. New messages only add to what tokens have, without
//! looking at what was there; an edit adds those of its text; a delete takes its message from every token.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::conversation::{ConversationEvent, MessageEdited, MessageSent};
use domain::{ConversationId, Position, Seq};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::search::{self, ANY, ATTACHMENT, Changes, Part, PartKey, Seqs, TokenKey};

use crate::Projection;
use crate::conversations::conversation_event;
use crate::fact::{Fact, Parking, Unfit};

/// Folds what messages are found by.
pub(crate) struct Search;

#[async_trait]
impl Projection for Search {
    fn model(&self) -> &'static Model {
        &search::MODEL
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
        let keys: Vec<&PartKey> = touched.parts.iter().collect();
        for part in search::load_parts(transaction, generation, &keys).await? {
            let key = PartKey {
                conversation: part.conversation,
                number: part.number,
            };
            fold.parts.insert(key, part);
        }
        let name = |key: &PartKey| fold.parts.get(key).map(|part| part.part);
        let whole: Vec<Position> = touched.deleted_from.iter().filter_map(name).collect();
        let edited: Vec<TokenKey> = touched
            .edited
            .into_iter()
            .filter(|(key, _)| !touched.deleted_from.contains(key))
            .filter_map(|(key, tokens)| Some((name(&key)?, tokens)))
            .flat_map(|(part, tokens)| {
                let key = move |token| TokenKey { part, token };
                tokens.into_iter().map(key)
            })
            .collect();
        for (key, seqs) in search::load_whole(transaction, generation, &whole).await? {
            fold.known(key, seqs);
        }
        fold.whole.extend(whole);
        for (key, seqs) in search::load_tokens(transaction, generation, &edited).await? {
            fold.known(key, seqs);
        }
        // Those that were not there are known to be empty.
        for key in edited {
            fold.known(key, Seqs::default());
        }
        parking.fold(facts, |fact| fold.fold(fact));
        search::store(transaction, generation, &fold.into_changes()).await
    }
}

/// What a batch needs to know of before.
#[derive(Default)]
struct Touched {
    parts: BTreeSet<PartKey>,
    /// The tokens of what edits say.
    edited: BTreeMap<PartKey, BTreeSet<String>>,
    deleted_from: BTreeSet<PartKey>,
}

impl Touched {
    fn by(facts: &[Fact]) -> Self {
        let mut touched = Self::default();
        for fact in facts {
            let Ok((conversation, event)) = conversation_event(fact) else {
                continue;
            };
            let key = match event {
                ConversationEvent::MessageSent(_) => PartKey::of(conversation, fact.version),
                ConversationEvent::MessageEdited(edited) => {
                    let key = PartKey::of(conversation, edited.message);
                    let tokens = touched.edited.entry(key).or_default();
                    tokens.insert(ANY.to_owned());
                    tokens.extend(tokens_of(edited));
                    key
                }
                ConversationEvent::MessageDeleted(deleted) => {
                    let key = PartKey::of(conversation, deleted.message);
                    touched.deleted_from.insert(key);
                    key
                }
                ConversationEvent::Started(_)
                | ConversationEvent::Renamed(_)
                | ConversationEvent::SettingsChanged(_)
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
                | ConversationEvent::Archived(_)
                | ConversationEvent::Unarchived(_)
                | ConversationEvent::SpaceFollowed(_) => continue,
            };
            touched.parts.insert(key);
        }
        touched
    }
}

/// By what an edit is found.
fn tokens_of(edited: &MessageEdited) -> BTreeSet<String> {
    let mut tokens = edited.said.text().map(search::tokens).unwrap_or_default();
    if edited
        .attachments
        .as_ref()
        .is_some_and(|files| !files.is_empty())
    {
        tokens.insert(ATTACHMENT.to_owned());
    }
    tokens
}

/// The messages that have a token.
#[derive(Default)]
struct Holders {
    seqs: Seqs,
    /// Whether these are all of them, and not only those of this batch.
    all: bool,
    changed: bool,
}

#[derive(Default)]
struct Fold {
    parts: BTreeMap<PartKey, Part>,
    parts_changed: BTreeSet<PartKey>,
    /// Parts of which every token is known: what is not here is not there.
    whole: BTreeSet<Position>,
    tokens: BTreeMap<Position, BTreeMap<String, Holders>>,
}

impl Fold {
    /// Notes which messages have a token, unless that is known already.
    fn known(&mut self, key: TokenKey, seqs: Seqs) {
        let holders = Holders {
            seqs,
            all: true,
            changed: false,
        };
        let tokens = self.tokens.entry(key.part).or_default();
        tokens.entry(key.token).or_insert(holders);
    }

    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let (conversation, event) = conversation_event(fact)?;
        match event {
            ConversationEvent::MessageSent(sent) => self.sent(fact, conversation, sent),
            ConversationEvent::MessageEdited(edited) => self.edited(conversation, edited),
            ConversationEvent::MessageDeleted(deleted) => {
                self.deleted(conversation, deleted.message);
            }
            ConversationEvent::Started(_)
            | ConversationEvent::Renamed(_)
            | ConversationEvent::SettingsChanged(_)
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
            | ConversationEvent::Archived(_)
            | ConversationEvent::Unarchived(_)
            | ConversationEvent::SpaceFollowed(_) => {}
        }
        Ok(())
    }

    fn sent(&mut self, fact: &Fact, conversation: ConversationId, sent: &MessageSent) {
        let Some(text) = sent.said.text() else {
            return;
        };
        let mut tokens = search::tokens(text);
        tokens.insert(ANY.to_owned());
        tokens.insert(search::author(sent.author));
        if !sent.attachments.is_empty() {
            tokens.insert(ATTACHMENT.to_owned());
        }
        tokens.extend(sent.mentions.iter().copied().filter_map(search::mention));
        let key = PartKey::of(conversation, fact.version);
        let part = self.parts.entry(key).or_insert_with(|| {
            self.whole.insert(fact.position);
            Part {
                conversation,
                number: key.number,
                part: fact.position,
                last_position: fact.position,
                earliest: fact.at,
                latest: fact.at,
            }
        });
        part.last_position = fact.position;
        part.earliest = part.earliest.min(fact.at);
        part.latest = part.latest.max(fact.at);
        let name = part.part;
        self.parts_changed.insert(key);
        self.insert(name, tokens, fact.version);
    }

    fn insert(&mut self, part: Position, tokens: BTreeSet<String>, seq: Seq) {
        let all = self.whole.contains(&part);
        let holders = self.tokens.entry(part).or_default();
        for token in tokens {
            let holders = holders.entry(token).or_insert_with(|| Holders {
                all,
                ..Holders::default()
            });
            holders.seqs.insert(seq);
            holders.changed = true;
        }
    }

    fn edited(&mut self, conversation: ConversationId, edited: &MessageEdited) {
        let key = PartKey::of(conversation, edited.message);
        let Some(part) = self.parts.get(&key).map(|part| part.part) else {
            return;
        };
        let any = self.tokens.get(&part).and_then(|tokens| tokens.get(ANY));
        // What was deleted, or has no text, is not in the index.
        if !any.is_some_and(|any| any.seqs.contains(edited.message)) {
            return;
        }
        self.insert(part, tokens_of(edited), edited.message);
    }

    fn deleted(&mut self, conversation: ConversationId, message: Seq) {
        let key = PartKey::of(conversation, message);
        let part = self.parts.get(&key).map(|part| part.part);
        let Some(tokens) = part.and_then(|part| self.tokens.get_mut(&part)) else {
            return;
        };
        for holders in tokens.values_mut() {
            holders.changed |= holders.seqs.remove(message);
        }
    }

    fn into_changes(mut self) -> Changes {
        let mut changes = Changes::default();
        for key in self.parts_changed {
            changes.parts.extend(self.parts.remove(&key));
        }
        for (part, tokens) in self.tokens {
            for (token, holders) in tokens.into_iter().filter(|(_, holders)| holders.changed) {
                let of = if holders.all {
                    &mut changes.now
                } else {
                    &mut changes.more
                };
                of.push((TokenKey { part, token }, holders.seqs));
            }
        }
        changes
    }
}
