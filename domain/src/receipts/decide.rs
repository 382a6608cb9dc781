//! The rules of marks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{Seq, UserId, Version};
use crate::receipts::event::{MarkKind, MarkedUpTo, ReceiptsEvent, ThreadMarkedUpTo};
use crate::user::ShownTo;

/// Decides for streams `receipts-{conversation}`.
#[derive(Clone, Copy, Debug)]
pub struct Receipts;

/// How many threads' marks of a member are remembered: those of the threads that began last. A mark
/// in an older one that is there already, or further, is stored again and folds to nothing.
const THREADS_REMEMBERED_MAX: usize = 16;

/// Which mark is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkOf {
    /// The one of a kind in the conversation.
    Conversation(MarkKind),
    /// The seen mark in the thread that began with this message, of which is known that it may.
    Thread(Seq),
}

/// A member's mark to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which.
    pub of: MarkOf,
    /// Whose. That they are a member is known when this is asked.
    pub member: UserId,
    /// Up to which seq.
    pub seq: Seq,
    /// The last seq of the conversation when this was asked.
    pub head: Seq,
    /// Who learns of it, where it says what was seen.
    pub shown_to: ShownTo,
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
    /// Seen marks in threads, by the message that each began with: of each member at most 16.
    pub threads: BTreeMap<UserId, BTreeMap<Seq, Seq>>,
}

impl State {
    /// How far `member` is, as far as it is remembered.
    pub fn mark(&self, of: MarkOf, member: UserId) -> Seq {
        let mark = match of {
            MarkOf::Conversation(MarkKind::Delivered) => self.delivered.get(&member),
            MarkOf::Conversation(MarkKind::Seen) => self.seen.get(&member),
            MarkOf::Thread(thread) => self
                .threads
                .get(&member)
                .and_then(|threads| threads.get(&thread)),
        };
        mark.copied().unwrap_or(Seq::ZERO)
    }

    fn remember(&mut self, mark: &ThreadMarkedUpTo) {
        let threads = self.threads.entry(mark.member).or_default();
        let highest = threads.entry(mark.thread).or_default();
        *highest = mark.seq.max(*highest);
        if threads.len() > THREADS_REMEMBERED_MAX {
            threads.pop_first();
        }
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
            of,
            member,
            seq,
            head,
            shown_to,
        }) = *command;
        if seq > head {
            return Err(Refused::BeyondTheEnd { seq, head });
        }
        if seq <= state.mark(of, member) {
            return Ok(vec![]);
        }
        let private = match shown_to {
            ShownTo::Everyone => false,
            ShownTo::Nobody => true,
        };
        let mark = |private| MarkedUpTo {
            member,
            seq,
            private,
        };
        Ok(vec![match of {
            MarkOf::Conversation(MarkKind::Delivered) => ReceiptsEvent::Delivered(mark(false)),
            MarkOf::Conversation(MarkKind::Seen) => ReceiptsEvent::Seen(mark(private)),
            MarkOf::Thread(thread) => ReceiptsEvent::ThreadSeen(ThreadMarkedUpTo {
                member,
                thread,
                seq,
                private,
            }),
        }])
    }

    fn evolve(mut state: State, _version: Version, event: &ReceiptsEvent) -> State {
        let (marks, mark) = match event {
            ReceiptsEvent::Delivered(mark) => (&mut state.delivered, mark),
            ReceiptsEvent::Seen(mark) => (&mut state.seen, mark),
            ReceiptsEvent::ThreadSeen(mark) => {
                state.remember(mark);
                return state;
            }
        };
        let highest = marks.entry(mark.member).or_default();
        *highest = mark.seq.max(*highest);
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ALICE, BOB, Given, moment, user};

    const HEAD: Seq = Version(10);

    fn given(history: impl IntoIterator<Item = ReceiptsEvent>) -> Given<Receipts> {
        Given::history(history)
    }

    const SEEN: MarkOf = MarkOf::Conversation(MarkKind::Seen);
    const DELIVERED: MarkOf = MarkOf::Conversation(MarkKind::Delivered);

    fn mark(of: MarkOf, member: UserId, seq: u64) -> Command {
        Command::Mark(Mark {
            of,
            member,
            seq: Version(seq),
            head: HEAD,
            shown_to: ShownTo::Everyone,
        })
    }

    fn seen(member: UserId, seq: u64) -> ReceiptsEvent {
        let seq = Version(seq);
        ReceiptsEvent::Seen(MarkedUpTo {
            member,
            seq,
            private: false,
        })
    }

    fn delivered(member: UserId, seq: u64) -> ReceiptsEvent {
        let seq = Version(seq);
        ReceiptsEvent::Delivered(MarkedUpTo {
            member,
            seq,
            private: false,
        })
    }

    fn thread_seen(member: UserId, thread: u64, seq: u64) -> ReceiptsEvent {
        let (thread, seq) = (Version(thread), Version(seq));
        ReceiptsEvent::ThreadSeen(ThreadMarkedUpTo {
            member,
            thread,
            seq,
            private: false,
        })
    }

    #[test]
    fn what_was_seen_in_private_is_the_members_own_and_what_was_delivered_never_is() {
        let private = |of| {
            let Command::Mark(mark) = mark(of, ALICE, 5);
            Command::Mark(Mark {
                shown_to: ShownTo::Nobody,
                ..mark
            })
        };
        let only_for = |of| {
            let mut given = given([]);
            let events = given.accept(&private(of)).expect("it is moved");
            events.first().expect("a mark").only_for()
        };
        assert_eq!(only_for(SEEN), Some(ALICE));
        assert_eq!(only_for(MarkOf::Thread(Version(2))), Some(ALICE));
        assert_eq!(only_for(DELIVERED), None);
        // What is there already stays as it was made.
        given([seen(ALICE, 5)]).when(private(SEEN)).then([]);
    }

    #[test]
    fn a_mark_in_a_thread_is_its_own() {
        let thread = MarkOf::Thread(Version(2));
        given([
            seen(ALICE, 9),
            thread_seen(ALICE, 3, 9),
            thread_seen(BOB, 2, 9),
        ])
        .when(mark(thread, ALICE, 5))
        .then([thread_seen(ALICE, 2, 5)]);
        given([thread_seen(ALICE, 2, 5)])
            .when(mark(thread, ALICE, 5))
            .then([]);
        given([thread_seen(ALICE, 2, 5)])
            .when(mark(SEEN, ALICE, 5))
            .then([seen(ALICE, 5)]);
    }

    #[test]
    fn of_the_threads_those_that_began_last_are_remembered() {
        let all = 1..=THREADS_REMEMBERED_MAX as u64 + 1;
        let state = given(all.map(|thread| thread_seen(ALICE, thread, 9))).state;
        assert_eq!(state.threads[&ALICE].len(), THREADS_REMEMBERED_MAX);
        assert_eq!(state.mark(MarkOf::Thread(Version(1)), ALICE), Seq::ZERO);
        assert_eq!(state.mark(MarkOf::Thread(Version(2)), ALICE), Version(9));
    }

    #[test]
    fn a_mark_moves_forward() {
        given([]).when(mark(SEEN, ALICE, 3)).then([seen(ALICE, 3)]);
        given([seen(ALICE, 3)])
            .when(mark(SEEN, ALICE, HEAD.0))
            .then([seen(ALICE, HEAD.0)]);
    }

    #[test]
    fn a_mark_that_is_there_or_further_stays() {
        for seq in [0, 2, 3] {
            given([seen(ALICE, 3)])
                .when(mark(SEEN, ALICE, seq))
                .then([]);
        }
        given([]).when(mark(DELIVERED, ALICE, 0)).then([]);
    }

    #[test]
    fn marks_of_others_and_of_the_other_kind_are_their_own() {
        given([seen(ALICE, 3)])
            .when(mark(SEEN, BOB, 2))
            .then([seen(BOB, 2)]);
        given([seen(ALICE, 3)])
            .when(mark(DELIVERED, ALICE, 2))
            .then([delivered(ALICE, 2)]);
    }

    #[test]
    fn nobody_has_seen_what_is_not_there() {
        given([])
            .when(mark(SEEN, ALICE, 11))
            .then_refused(Refused::BeyondTheEnd {
                seq: Version(11),
                head: HEAD,
            });
    }

    #[test]
    fn a_mark_waits_for_a_second_after_the_last() {
        assert_eq!(Receipts::next_mark_at(moment(0)), moment(1));
    }

    fn marks() -> impl Strategy<Value = Vec<Command>> {
        let of = prop_oneof![
            Just(DELIVERED),
            Just(SEEN),
            (1..4_u64).prop_map(|thread| MarkOf::Thread(Version(thread))),
        ];
        let one = (of, 0..3_u128, 0..=HEAD.0 + 2)
            .prop_map(|(of, member, seq)| mark(of, user(member), seq));
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn marks_only_grow(marks in marks()) {
            let mut given = given([]);
            for command in &marks {
                let Command::Mark(Mark { of, member, seq, head, .. }) = *command;
                let before = given.state.clone();
                let accepted = given.accept(command).is_ok();
                prop_assert_eq!(accepted, seq <= head);
                let expected = if accepted { seq.max(before.mark(of, member)) } else { before.mark(of, member) };
                prop_assert_eq!(given.state.mark(of, member), expected);
                for (earlier, now) in [(&before.delivered, &given.state.delivered), (&before.seen, &given.state.seen)] {
                    prop_assert!(earlier.iter().all(|(member, seq)| now[member] >= *seq));
                }
                if accepted {
                    prop_assert!(given.accept(command).is_ok_and(|events| events.is_empty()));
                }
            }
        }

        /// Marks are appended without an expected version, so that events of several nodes may be
        /// stored in any order.
        #[test]
        fn the_order_in_which_marks_are_stored_does_not_matter(
            stored in prop::collection::vec((0..3_u128, 1..=HEAD.0, 0..40_u64), 0..60)
        ) {
            let events: Vec<_> = stored
                .into_iter()
                .map(|(member, seq, of)| match of {
                    0 => seen(user(member), seq),
                    1 => delivered(user(member), seq),
                    thread => thread_seen(user(member), thread, seq),
                })
                .collect();
            let forward = given(events.clone()).state;
            let backward = given(events.into_iter().rev()).state;
            prop_assert_eq!(forward, backward);
        }
    }
}
