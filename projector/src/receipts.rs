//! The fold behind `infra::read_models::receipts`. Marks only grow: one that is behind its member's
//! last of the same kind folds to nothing.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::receipts::{MarkKind, MarkedUpTo, ReceiptsEvent};
use domain::{ConversationId, Event, Seq};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::receipts::{self, Mark, MarkKey};

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
        let keys: BTreeSet<MarkKey> = facts
            .iter()
            .filter_map(|fact| mark(fact).ok())
            .map(|(key, _)| key)
            .collect();
        let keys: Vec<MarkKey> = keys.into_iter().collect();
        let highest = receipts::load_highest(transaction, generation, &keys).await?;
        let mut highest: BTreeMap<MarkKey, Seq> = highest.into_iter().collect();
        let mut marks = Vec::new();
        parking.fold(facts, |fact| {
            let (key, seq) = mark(fact)?;
            let highest = highest.entry(key).or_default();
            if seq > *highest {
                *highest = seq;
                marks.push(Mark {
                    conversation: key.conversation,
                    member: key.member,
                    kind: key.kind,
                    seq,
                    position: fact.position,
                    at: fact.at,
                });
            }
            Ok(())
        });
        receipts::store(transaction, generation, &marks).await
    }
}

fn mark(fact: &Fact) -> Result<(MarkKey, Seq), Unfit> {
    let conversation: ConversationId = fact
        .stream
        .conversation_id()
        .ok_or_else(|| Unfit::new("the stream is not named after a conversation"))?;
    let (kind, MarkedUpTo { member, seq }) = match &fact.event {
        Event::Receipts(ReceiptsEvent::Delivered(mark)) => (MarkKind::Delivered, mark),
        Event::Receipts(ReceiptsEvent::Seen(mark)) => (MarkKind::Seen, mark),
        Event::Conversation(_)
        | Event::User(_)
        | Event::Session(_)
        | Event::Service(_)
        | Event::Owners(_)
        | Event::Reservation(_)
        | Event::Mail(_)
        | Event::Audit(_) => return Err(Unfit::new("the event is of another category")),
    };
    let key = MarkKey {
        conversation,
        member: *member,
        kind,
    };
    Ok((key, *seq))
}
