//! The fold behind `infra::read_models::receipts`. Marks only grow: one that is behind its member's
//! last of the same kind, or in the same thread, folds to nothing.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::receipts::{MarkKind, ReceiptsEvent};
use domain::{ConversationId, Event, Seq};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::receipts::{self, Mark, MarkKey, ThreadMark, ThreadMarkKey};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit};

/// Folds marks.
pub(crate) struct Receipts;

#[async_trait]
impl Projection for Receipts {
    fn model(&self) -> &'static Model {
        &receipts::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let mut keys = BTreeSet::new();
        let mut thread_keys = BTreeSet::new();
        for (name, _) in facts.iter().filter_map(|fact| mark(fact).ok()) {
            match name {
                Name::Conversation(key) => keys.insert(key),
                Name::Thread(key) => thread_keys.insert(key),
            };
        }
        let keys: Vec<MarkKey> = keys.into_iter().collect();
        let thread_keys: Vec<ThreadMarkKey> = thread_keys.into_iter().collect();
        let highest = receipts::load_highest(transaction, generation, &keys).await?;
        let in_threads =
            receipts::load_highest_in_threads(transaction, generation, &thread_keys).await?;
        let mut fold = Fold {
            highest: highest.into_iter().collect(),
            highest_in_threads: in_threads.into_iter().collect(),
            ..Fold::default()
        };
        parking.fold(facts, |fact| fold.fold(fact));
        receipts::store(transaction, generation, &fold.marks, &fold.in_threads).await
    }
}

/// Names the mark that a fact moves.
enum Name {
    Conversation(MarkKey),
    Thread(ThreadMarkKey),
}

#[derive(Default)]
struct Fold {
    highest: BTreeMap<MarkKey, Seq>,
    highest_in_threads: BTreeMap<ThreadMarkKey, Seq>,
    marks: Vec<Mark>,
    in_threads: Vec<ThreadMark>,
}

impl Fold {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let (name, seq) = mark(fact)?;
        match name {
            Name::Conversation(key) => {
                if grows(self.highest.entry(key).or_default(), seq) {
                    self.marks.push(Mark {
                        conversation: key.conversation,
                        member: key.member,
                        kind: key.kind,
                        seq,
                        position: fact.position,
                        at: fact.at,
                    });
                }
            }
            Name::Thread(key) => {
                if grows(self.highest_in_threads.entry(key).or_default(), seq) {
                    self.in_threads.push(ThreadMark {
                        conversation: key.conversation,
                        thread: key.thread,
                        member: key.member,
                        seq,
                        position: fact.position,
                        at: fact.at,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Moves the mark to `seq` if that is further.
fn grows(highest: &mut Seq, seq: Seq) -> bool {
    let grows = seq > *highest;
    if grows {
        *highest = seq;
    }
    grows
}

fn mark(fact: &Fact) -> Result<(Name, Seq), Unfit> {
    let conversation: ConversationId = fact
        .stream
        .conversation_id()
        .ok_or_else(|| Unfit::new("the stream is not named after a conversation"))?;
    let (kind, mark) = match &fact.event {
        Event::Receipts(ReceiptsEvent::Delivered(mark)) => (MarkKind::Delivered, mark),
        Event::Receipts(ReceiptsEvent::Seen(mark)) => (MarkKind::Seen, mark),
        Event::Receipts(ReceiptsEvent::ThreadSeen(mark)) => {
            let key = ThreadMarkKey {
                conversation,
                thread: mark.thread,
                member: mark.member,
            };
            return Ok((Name::Thread(key), mark.seq));
        }
        Event::Conversation(_)
        | Event::User(_)
        | Event::Session(_)
        | Event::Service(_)
        | Event::Owners(_)
        | Event::Reservation(_)
        | Event::Attachment(_)
        | Event::Mail(_)
        | Event::Audit(_) => return Err(Unfit::new("the event is of another category")),
    };
    let key = MarkKey {
        conversation,
        member: mark.member,
        kind,
    };
    Ok((Name::Conversation(key), mark.seq))
}
