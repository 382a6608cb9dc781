//! Finding messages newest first: the parts of all conversations are opened in the order of their last
//! messages, and none before what it may have is wanted. What the index gives is looked at in the text
//! that the asker sees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::{AttachmentId, ConversationId, Position, Seq};
use infra::problem::Problem;
use infra::read_models::messages::{self, Message, MessageKey};
use infra::read_models::search::{self as model, Lookup, Match, Part, PartKey};
use infra::read_models::{Snapshot, attachments};

use super::{Has, Search};
use crate::access::Sight;
use crate::messages::visible_bodies;

/// Parts that are opened first; each time after that it is twice as many.
const OPENED_MIN: usize = 8;

/// Parts that are opened at a time at most.
const OPENED_MAX: usize = 256;

/// Parts of one answer at most: about four million messages. More are on the next page.
const PARTS_MAX: usize = 4_096;

/// Messages that are looked at for one answer at most. More are on the next page.
const EXAMINED_MAX: usize = 500;

/// Messages of a part that are loaded first, at most; each time after that it is twice as many.
const CHUNK_MAX: usize = 32;

/// What was found.
pub(super) struct Found {
    /// Newest first.
    pub(super) hits: Vec<Hit>,
    /// Where there is more: below this position. `None` where everything was looked at.
    pub(super) next: Option<Position>,
}

/// A message that matches, in the wording that the asker sees.
pub(super) struct Hit {
    pub(super) message: Message,
    pub(super) found: Match,
}

/// The newest messages below position `below` that match: `wanted` of them, or fewer where there are no
/// more or where it takes too long.
pub(super) async fn find(
    snapshot: &mut Snapshot,
    search: &Search,
    sights: &BTreeMap<ConversationId, Sight>,
    below: Position,
    wanted: usize,
) -> Result<Found, Problem> {
    let mut parts = model::parts(snapshot, sights.keys().copied()).await?;
    parts.retain(|part| may_have(part, search, sights, below));
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.last_position));
    let mut walk = Walk {
        sights,
        lookups: search.lookups(),
        only_with_files: search.has == Some(Has::Attachment),
        below,
        unopened: parts.into(),
        opened: 0,
        opens: OPENED_MIN,
        open: Vec::new(),
        chunk: wanted.min(CHUNK_MAX),
        loaded: BTreeMap::new(),
    };
    let mut hits = Vec::new();
    let mut examined = 0;
    loop {
        let bound = walk.bound();
        while let Some(message) = walk.newest_from(bound) {
            let position = message.position;
            let sight = sights.get(&message.conversation);
            if let Some(found) = sight.and_then(|sight| search.matches(&message, sight)) {
                hits.push(Hit { message, found });
            }
            examined += 1;
            if hits.len() >= wanted || examined >= EXAMINED_MAX {
                let next = Some(position);
                return Ok(Found { hits, next });
            }
        }
        let Some(horizon) = walk.horizon() else {
            if bound.is_none() {
                return Ok(Found { hits, next: None });
            }
            walk.load(snapshot).await?;
            continue;
        };
        if bound > Some(horizon) {
            walk.load(snapshot).await?;
        } else if walk.opened < PARTS_MAX {
            walk.open(snapshot).await?;
        } else {
            let next = Some(Position(horizon.0.saturating_add(1)));
            return Ok(Found { hits, next });
        }
    }
}

/// Whether a part may have what is looked for and seen.
fn may_have(
    part: &Part,
    search: &Search,
    sights: &BTreeMap<ConversationId, Sight>,
    below: Position,
) -> bool {
    let Some(sight) = sights.get(&part.conversation) else {
        return false;
    };
    let ((first, last), (from, to)) = (part.seqs(), sight.bounds());
    part.part < below
        && first <= to
        && from <= last
        && search.after.is_none_or(|after| part.latest >= after)
        && search.before.is_none_or(|before| part.earliest < before)
}

struct Walk<'a> {
    sights: &'a BTreeMap<ConversationId, Sight>,
    lookups: Vec<Lookup>,
    /// Whether messages without a file are left out.
    only_with_files: bool,
    below: Position,
    /// The one with the newest message first.
    unopened: VecDeque<Part>,
    opened: usize,
    /// How many are opened next.
    opens: usize,
    /// Those with messages that are not loaded.
    open: Vec<Open>,
    chunk: usize,
    /// What was not looked at yet, by position.
    loaded: BTreeMap<Position, Message>,
}

struct Open {
    key: PartKey,
    /// Oldest first.
    seqs: Vec<Seq>,
    /// No message that is not loaded has a position above this.
    bound: Position,
    /// No message has one below this.
    first: Position,
    /// How many are loaded next.
    chunk: usize,
}

impl Walk<'_> {
    /// Where the newest message of a part that is not open is.
    fn horizon(&self) -> Option<Position> {
        self.unopened.front().map(|part| part.last_position)
    }

    /// What is loaded from here on is newer than all that is not; `None` if everything is loaded.
    fn bound(&self) -> Option<Position> {
        let open = self.open.iter().map(|open| open.bound).max();
        open.max(self.horizon())
    }

    /// Takes the newest of what is loaded, if it is newer than all that is not.
    fn newest_from(&mut self, bound: Option<Position>) -> Option<Message> {
        let newest = self.loaded.last_entry()?;
        (Some(*newest.key()) >= bound).then(|| newest.remove())
    }

    /// Opens the next parts: asks which of their messages have the tokens.
    async fn open(&mut self, snapshot: &mut Snapshot) -> Result<(), Problem> {
        let count = self.opens.min(self.unopened.len());
        self.opens = (self.opens * 2).min(OPENED_MAX);
        self.opened += count;
        let parts: Vec<Part> = self.unopened.drain(..count).collect();
        let names: Vec<Position> = parts.iter().map(|part| part.part).collect();
        let found = model::find(snapshot, &names, &self.lookups).await?;
        for part in parts {
            let sight = self.sights.get(&part.conversation);
            let Some((seqs, sight)) = found.get(&part.part).zip(sight) else {
                continue;
            };
            let seqs = seqs.of_part(part.number).filter(|seq| sight.sees(*seq));
            let open = Open {
                key: PartKey {
                    conversation: part.conversation,
                    number: part.number,
                },
                seqs: seqs.collect(),
                bound: part.last_position,
                first: part.part,
                chunk: self.chunk,
            };
            if !open.seqs.is_empty() {
                self.open.push(open);
            }
        }
        Ok(())
    }

    /// Loads the next messages of the part that has the newest, and of those whose messages may lie
    /// between them.
    async fn load(&mut self, snapshot: &mut Snapshot) -> Result<(), Problem> {
        let Some(newest) = self.open.iter().max_by_key(|open| open.bound) else {
            return Ok(());
        };
        let first = newest.first;
        let mut keys = Vec::new();
        for open in &mut self.open {
            if open.bound < first {
                continue;
            }
            let rest = open.seqs.len().saturating_sub(open.chunk);
            let conversation = open.key.conversation;
            keys.extend(open.seqs.drain(rest..).map(|message| MessageKey {
                conversation,
                message,
            }));
            open.chunk *= 2;
        }
        let found = messages::find(snapshot, keys).await?;
        let mut oldest: BTreeMap<PartKey, Position> = BTreeMap::new();
        for message in &found {
            let key = PartKey::of(message.conversation, message.seq);
            let oldest = oldest.entry(key).or_insert(message.position);
            *oldest = message.position.min(*oldest);
        }
        for open in &mut self.open {
            if let Some(oldest) = oldest.get(&open.key) {
                open.bound = *oldest;
            }
        }
        self.open.retain(|open| !open.seqs.is_empty());
        let below = self.below;
        let mut found: Vec<Message> = found
            .into_iter()
            .filter(|message| message.position < below)
            .collect();
        if self.only_with_files {
            found = self.with_files(snapshot, found).await?;
        }
        self.see(snapshot, &mut found).await?;
        let by_position = found.into_iter().map(|message| (message.position, message));
        self.loaded.extend(by_position);
        Ok(())
    }

    /// Those of `messages` that have a file, as the asker sees them.
    async fn with_files(
        &self,
        snapshot: &mut Snapshot,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Problem> {
        let key = |message: &Message| MessageKey {
            conversation: message.conversation,
            message: message.seq,
        };
        let keys: Vec<MessageKey> = messages.iter().map(key).collect();
        let mut attached = messages::attached_to(snapshot, &keys).await?;
        attached.retain(|it| {
            let sight = self.sights.get(&it.conversation);
            sight.is_some_and(|sight| sight.sees(it.seq))
        });
        let kept = attachments::kept(snapshot, attached.iter().map(|it| it.attachment)).await?;
        let kept: BTreeSet<AttachmentId> = kept.into_iter().map(|it| it.id).collect();
        let with: BTreeSet<(ConversationId, Seq)> = attached
            .iter()
            .filter(|it| kept.contains(&it.attachment))
            .map(|it| (it.conversation, it.message))
            .collect();
        let has = |message: &Message| with.contains(&(message.conversation, message.seq));
        Ok(messages.into_iter().filter(has).collect())
    }

    /// Undoes the edits that the asker does not see.
    async fn see(&self, snapshot: &mut Snapshot, messages: &mut [Message]) -> Result<(), Problem> {
        messages.sort_unstable_by_key(|message| message.conversation);
        let of_one = |one: &Message, other: &Message| one.conversation == other.conversation;
        for messages in messages.chunk_by_mut(of_one) {
            let Some(conversation) = messages.first().map(|message| message.conversation) else {
                continue;
            };
            if let Some(sight) = self.sights.get(&conversation) {
                visible_bodies(snapshot, conversation, sight, messages).await?;
            }
        }
        Ok(())
    }
}
