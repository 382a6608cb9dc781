//! The rules of marks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{Seq, UserId, Version};
use crate::receipts::event::{MarkKind, MarkedUpTo, ReceiptsEvent};

/// Decides for streams `receipts-{conversation}`.
#[derive(Clone, Copy, Debug)]
pub struct Receipts;

/// A member's mark to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Delivered or seen.
    pub kind: MarkKind,
    /// Whose. That they are a member is known when this is asked.
    pub member: UserId,
    /// Up to which seq.
    pub seq: Seq,
    /// The last seq of the conversation when this was asked.
    pub head: Seq,
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Move a mark. One that is at `seq` or further stays, and nothing is stored.
    Mark(Mark),
}

/// Why a mark is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The conversation has not come that far.
    #[error("the conversation has no seq {seq}; its last is {head}")]
    BeyondTheEnd {
        /// What was asked for.
        seq: Seq,
        /// What there is.
        head: Seq,
    },
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::BeyondTheEnd { .. } => "seq_beyond_the_end",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::BeyondTheEnd { .. } => RefusalKind::Invalid,
        }
    }
}

/// The marks of everybody who ever set one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// Delivered marks.
    pub delivered: BTreeMap<UserId, Seq>,
    /// Seen marks.
    pub seen: BTreeMap<UserId, Seq>,
}

impl State {
    /// How far `member` is.
    pub fn mark(&self, kind: MarkKind, member: UserId) -> Seq {
        let marks = match kind {
            MarkKind::Delivered => &self.delivered,
            MarkKind::Seen => &self.seen,
        };
        marks.get(&member).copied().unwrap_or(Seq::ZERO)
    }
}

impl Receipts {
    /// The least time between two stored marks of one kind and member. What comes sooner waits and
    /// is stored as one, the highest.
    pub const MARK_INTERVAL: TimeDelta = TimeDelta::seconds(1);

    /// When a mark may next be stored, if the last one was stored at `last`.
    pub fn next_mark_at(last: DateTime<Utc>) -> DateTime<Utc> {
        last + Self::MARK_INTERVAL
    }
}

impl Decider for Receipts {
    type State = State;
    type Command = Command;
    type Event = ReceiptsEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "receipts";

    fn decide(state: &State, command: &Command) -> Result<Vec<ReceiptsEvent>, Refused> {
        let Command::Mark(Mark {
            kind,
            member,
            seq,
            head,
        }) = *command;
        if seq > head {
            return Err(Refused::BeyondTheEnd { seq, head });
        }
        if seq <= state.mark(kind, member) {
            return Ok(vec![]);
        }
        let mark = MarkedUpTo { member, seq };
        Ok(vec![match kind {
            MarkKind::Delivered => ReceiptsEvent::Delivered(mark),
            MarkKind::Seen => ReceiptsEvent::Seen(mark),
        }])
    }

    fn evolve(mut state: State, _version: Version, event: &ReceiptsEvent) -> State {
        let (marks, mark) = match event {
            ReceiptsEvent::Delivered(mark) => (&mut state.delivered, mark),
            ReceiptsEvent::Seen(mark) => (&mut state.seen, mark),
        };
        let highest = marks.entry(mark.member).or_default();
        *highest = mark.seq.max(*highest);
        state
    }
}
