//! The fold behind `infra::read_models::receipts`. Marks only grow: one that is behind its member's
//! last of the same kind, or in the same thread, folds to nothing.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::receipts::{MarkKind, ReceiptsEvent};
use domain::{ConversationId, Event, Seq, UserId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::receipts::{
    self, Changes, LastMark, Mark, MarkKey, ThreadMark, ThreadMarkKey,
};

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
        let mut members = BTreeSet::new();
        for mark in facts.iter().filter_map(|fact| mark(fact).ok()) {
            members.insert(mark.member());
            match mark.name {
                Name::Conversation(key) => keys.insert(key),
                Name::Thread(key) => thread_keys.insert(key),
            };
        }
        let keys: Vec<MarkKey> = keys.into_iter().collect();
        let thread_keys: Vec<ThreadMarkKey> = thread_keys.into_iter().collect();
        let highest = receipts::load_highest(transaction, generation, &keys).await?;
        let in_threads =
            receipts::load_highest_in_threads(transaction, generation, &thread_keys).await?;
        let last = receipts::load_last(transaction, generation, members).await?;
        let mut fold = Fold {
            highest: highest.into_iter().collect(),
            highest_in_threads: in_threads.into_iter().collect(),
            last: last
                .into_iter()
                .map(|last| (last.member, last.at))
                .collect(),
            ..Fold::default()
        };
        parking.fold(facts, |fact| fold.fold(fact));
        let later = fold.later.iter();
        fold.changes.last = later
            .map(|member| LastMark {
                member: *member,
                at: fold.last[member],
            })
            .collect();
        receipts::store(transaction, generation, &fold.changes).await
    }
}

/// Names the mark that a fact moves.
#[derive(Clone, Copy)]
enum Name {
    Conversation(MarkKey),
    Thread(ThreadMarkKey),
}

/// A mark as a fact moves it.
#[derive(Clone, Copy)]
struct Moved {
    name: Name,
    seq: Seq,
    private: bool,
}

impl Moved {
    const fn member(self) -> UserId {
        match self.name {
            Name::Conversation(key) => key.member,
            Name::Thread(key) => key.member,
        }
    }

    /// Whether it says to everybody that something was seen.
    fn tells_of_seeing(self) -> bool {
        let sees = match self.name {
            Name::Conversation(key) => key.kind == MarkKind::Seen,
            Name::Thread(_) => true,
        };
        sees && !self.private
    }
}

#[derive(Default)]
struct Fold {
    highest: BTreeMap<MarkKey, Seq>,
    highest_in_threads: BTreeMap<ThreadMarkKey, Seq>,
    last: BTreeMap<UserId, DateTime<Utc>>,
    /// Whose last mark is later than before.
    later: BTreeSet<UserId>,
    changes: Changes,
}

impl Fold {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let moved = mark(fact)?;
        let Moved { name, seq, private } = moved;
        let is_new = match name {
            Name::Conversation(key) => {
                let grows = grows(self.highest.entry(key).or_default(), seq);
                if grows {
                    self.changes.marks.push(Mark {
                        conversation: key.conversation,
                        member: key.member,
                        kind: key.kind,
                        seq,
                        position: fact.position,
                        at: fact.at,
                        private,
                    });
                }
                grows
            }
            Name::Thread(key) => {
                let grows = grows(self.highest_in_threads.entry(key).or_default(), seq);
                if grows {
                    self.changes.in_threads.push(ThreadMark {
                        conversation: key.conversation,
                        thread: key.thread,
                        member: key.member,
                        seq,
                        position: fact.position,
                        at: fact.at,
                        private,
                    });
                }
                grows
            }
        };
        if is_new && moved.tells_of_seeing() {
            self.was_here(moved.member(), fact.at);
        }
        Ok(())
    }

    /// Notes the minute of a member's mark, where it is later than that of the last.
    fn was_here(&mut self, member: UserId, at: DateTime<Utc>) {
        // Only a moment beyond what can be counted in nanoseconds has no minute; it stays itself.
        let minute = at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
        let last = self.last.entry(member).or_insert(DateTime::<Utc>::MIN_UTC);
        if minute > *last {
            *last = minute;
            self.later.insert(member);
        }
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

fn mark(fact: &Fact) -> Result<Moved, Unfit> {
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
            return Ok(Moved {
                name: Name::Thread(key),
                seq: mark.seq,
                private: mark.private,
            });
        }
        Event::Conversation(_)
        | Event::User(_)
        | Event::Session(_)
        | Event::Service(_)
        | Event::Owners(_)
        | Event::Space(_)
        | Event::Reservation(_)
        | Event::Attachment(_)
        | Event::Mail(_)
        | Event::Notifications(_)
        | Event::Pushes(_)
        | Event::Audit(_) => return Err(Unfit::new("the event is of another category")),
    };
    let key = MarkKey {
        conversation,
        member: mark.member,
        kind,
    };
    Ok(Moved {
        name: Name::Conversation(key),
        seq: mark.seq,
        private: mark.private,
    })
}
