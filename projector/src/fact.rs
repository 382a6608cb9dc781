//! Stored events made ready for folding, and the streams that are left out because one of their
//! events cannot be folded.

use std::collections::{BTreeSet, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Actor, Event, Position, StreamName, Version};
use infra::event_store::RecordedEvent;
use infra::read_models::projections::Parked;
use serde::Deserialize;

/// An event as a fold takes it.
pub(crate) struct Fact {
    /// Where it is in the log.
    pub(crate) position: Position,
    /// Of which stream.
    pub(crate) stream: StreamName,
    /// Where it is in the stream: the seq, in a conversation.
    pub(crate) version: Version,
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
    /// Whether it happened elsewhere, and came here with an import.
    pub(crate) is_imported: bool,
    /// Who caused it.
    pub(crate) by: Option<Actor>,
    /// What happened.
    pub(crate) event: Event,
}

/// An event that does not fit what was before it, or cannot be read; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) String);

impl Unfit {
    pub(crate) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl Fact {
    /// The id that the fact's stream is named after; `whose` says of what, such as `a user`.
    pub(crate) fn id<I: FromStr>(&self, whose: &str) -> Result<I, Unfit> {
        let id = self.stream.key().parse();
        id.map_err(|_| Unfit(format!("the stream is not named after {whose}")))
    }

    fn decode(recorded: &RecordedEvent) -> Result<Self, Unfit> {
        /// The part of the metadata that a fold needs.
        #[derive(Deserialize)]
        struct Needed {
            #[serde(default)]
            actor: Option<Actor>,
            #[serde(default)]
            occurred_at: Option<DateTime<Utc>>,
        }
        let event = recorded.event().map_err(|error| Unfit(error.to_string()))?;
        let needed: Needed = serde_json::from_slice(&recorded.metadata)
            .map_err(|error| Unfit(format!("the metadata cannot be read: {error}")))?;
        Ok(Self {
            position: recorded.position,
            stream: recorded.stream.clone(),
            version: recorded.version,
            at: needed.occurred_at.unwrap_or(recorded.recorded_at),
            is_imported: needed.occurred_at.is_some(),
            by: needed.actor,
            event,
        })
    }
}

/// The ids that the streams of `facts` are named after.
pub(crate) fn ids<I: FromStr + Ord>(facts: &[Fact]) -> BTreeSet<I> {
    let ids = facts.iter().map(|fact| fact.stream.key().parse());
    ids.filter_map(Result::ok).collect()
}

/// The streams that one generation of a read model leaves out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parking {
    streams: HashSet<StreamName>,
    /// Parked since the last commit.
    fresh: Vec<Parked>,
}

impl Parking {
    /// What was parked in earlier runs.
    pub(crate) fn of(parked: &[Parked]) -> Self {
        let streams = parked
            .iter()
            .filter_map(|parked| StreamName::parse(&parked.stream).ok())
            .collect();
        Self {
            streams,
            fresh: Vec::new(),
        }
    }

    /// Leaves `stream` out from now on.
    pub(crate) fn park(&mut self, stream: &StreamName, position: Position, why: &Unfit) {
        if self.streams.insert(stream.clone()) {
            self.fresh.push(Parked::new(stream, position, why));
        }
    }

    /// What was parked since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.fresh)
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Decodes those of `events` that are of `category` and not of a parked stream. What other programs
    /// append to streams of their own is none of ours, whatever these are called.
    pub(crate) fn decode(&mut self, category: &str, events: &[Arc<RecordedEvent>]) -> Vec<Fact> {
        let mut facts = Vec::with_capacity(events.len());
        for recorded in events {
            let stream = &recorded.stream;
            let is_ours = stream.category() == category && stream.is_of_domain();
            if !is_ours || self.streams.contains(stream) {
                continue;
            }
            match Fact::decode(recorded) {
                Ok(fact) => facts.push(fact),
                Err(why) => self.park(stream, recorded.position, &why),
            }
        }
        facts
    }

    /// Folds each fact; one that does not fit parks its stream.
    pub(crate) fn fold<'a>(
        &mut self,
        facts: &'a [Fact],
        mut fold: impl FnMut(&'a Fact) -> Result<(), Unfit>,
    ) {
        for fact in facts {
            if self.streams.contains(&fact.stream) {
                let parked_here = self
                    .fresh
                    .iter()
                    .find(|parked| parked.stream == fact.stream.as_str());
                // What comes before the event that was parked while decoding still counts.
                if parked_here.is_none_or(|parked| parked.position <= fact.position) {
                    continue;
                }
            }
            if let Err(why) = fold(fact) {
                self.park(&fact.stream, fact.position, &why);
            }
        }
    }
}
