//! One user with connections to this node: what they do, what they chose, and which conversations they
//! are in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::user::{PresenceChoice, Shown};
use domain::{ConversationId, Position};
use infra::bus::HereState;

use crate::frames::Activity;

/// Of a user's conversations only so many are told of their coming and going: the first by id, so that
/// all nodes choose the same.
pub(super) const CONVERSATIONS_MAX: usize = 200;

/// The least time between two changes of a user that a node tells; of those between the last counts.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A user with connections to this node, or without any since a moment ago.
pub(super) struct Local {
    /// Connections on which they do something, and on which not.
    online: usize,
    idle: usize,
    /// When the last connection ended, and how it was; `None` while there are some.
    left: Option<(Instant, Activity)>,
    pub(super) choice: PresenceChoice,
    /// Up to here it was asked which conversations they are in.
    asked_at: Position,
    /// Conversations that they are in, and those that they left since it was asked.
    places: BTreeMap<ConversationId, Place>,
    /// Where they are told, in order; nowhere while they are not shown.
    pub(super) told: Vec<ConversationId>,
    /// Other nodes were told of other conversations.
    moved: bool,
    /// As what they are shown as far as this node is concerned; `None` where they are not.
    pub(super) shown: Option<HereState>,
    /// When others were told.
    changed: Option<Instant>,
}

/// Whether they are in a conversation, and as of where in the log that is known.
#[derive(Clone, Copy)]
struct Place {
    is_in: bool,
    at: Position,
}

/// They are in a conversation from now on, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) conversation: ConversationId,
    pub(super) is_in: bool,
}

impl Local {
    /// One without connections yet.
    pub(super) const fn new() -> Self {
        Self {
            online: 0,
            idle: 0,
            left: None,
            choice: PresenceChoice {
                shown: Shown::Automatic,
                until: None,
            },
            asked_at: Position::ZERO,
            places: BTreeMap::new(),
            told: Vec::new(),
            moved: false,
            shown: None,
            changed: None,
        }
    }

    const fn count(&mut self, activity: Activity) -> &mut usize {
        match activity {
            Activity::Online => &mut self.online,
            Activity::Idle => &mut self.idle,
        }
    }

    /// There is one more connection.
    pub(super) const fn comes(&mut self, activity: Activity) {
        *self.count(activity) += 1;
        self.left = None;
    }

    /// There is one less.
    pub(super) const fn goes(&mut self, activity: Activity, now: Instant) {
        *self.count(activity) -= 1;
        if self.online + self.idle == 0 {
            self.left = Some((now, activity));
        }
    }

    /// On a connection they do something else.
    pub(super) const fn turns(&mut self, from: Activity, to: Activity) {
        *self.count(from) -= 1;
        *self.count(to) += 1;
    }

    /// Whether the last connection ended so long ago that they are gone.
    pub(super) fn is_gone(&self, now: Instant, offline_after: Duration) -> bool {
        let is_over = |(since, _)| now.duration_since(since) >= offline_after;
        self.left.is_some_and(is_over)
    }

    /// What they do; after their last connection, what they did then.
    fn activity(&self) -> Activity {
        match self.left {
            Some((_, activity)) => activity,
            None if self.online > 0 => Activity::Online,
            None => Activity::Idle,
        }
    }

    /// As what they should be shown at the moment `time`. Who is leaving is not shown any more if they
    /// were not.
    pub(super) fn due(&self, time: DateTime<Utc>) -> Option<HereState> {
        if self.left.is_some() && self.shown.is_none() {
            return None;
        }
        match self.choice.at(time) {
            Shown::Invisible => None,
            Shown::Away => Some(HereState::Away),
            Shown::Automatic => Some(match self.activity() {
                Activity::Online => HereState::Online,
                Activity::Idle => HereState::Idle,
            }),
        }
    }

    /// Whether others are to be told of something, at the moment `time`.
    pub(super) fn has_news(&self, time: DateTime<Utc>) -> bool {
        let due = self.due(time);
        due != self.shown || (self.moved && due.is_some())
    }

    /// Whether they may be told again.
    pub(super) fn may_be_told(&self, now: Instant) -> bool {
        let is_over = |changed| now.duration_since(changed) >= TOLD_EVERY;
        self.changed.is_none_or(is_over)
    }

    /// Others are told now that they are shown as they should be.
    pub(super) fn show(&mut self, now: Instant, time: DateTime<Utc>) {
        self.shown = self.due(time);
        self.moved = false;
        self.changed = Some(now);
    }

    /// Whether time alone will change something.
    pub(super) fn waits(&self, time: DateTime<Utc>) -> bool {
        self.left.is_some()
            || self.has_news(time)
            || self.choice.until.is_some_and(|until| time < until)
    }

    /// The conversations that they are in.
    pub(super) fn inside(&self) -> impl Iterator<Item = ConversationId> {
        let inside = self.places.iter().filter(|(_, place)| place.is_in);
        inside.map(|(conversation, _)| *conversation)
    }

    /// Where they should be told.
    pub(super) fn due_in(&self) -> Vec<ConversationId> {
        match self.shown {
            Some(_) => self.inside().take(CONVERSATIONS_MAX).collect(),
            None => Vec::new(),
        }
    }

    /// Notes what the event at `at` did. Returns whether that is news.
    pub(super) fn moves(&mut self, what: Move, at: Position) -> bool {
        let Move {
            conversation,
            is_in,
        } = what;
        let place = self.places.get(&conversation).copied();
        if at <= place.map_or(self.asked_at, |place| place.at) {
            return false;
        }
        self.places.insert(conversation, Place { is_in, at });
        let was_in = place.is_some_and(|place| place.is_in);
        self.moved |= was_in != is_in;
        was_in != is_in
    }

    /// Notes that at `at` they were in `conversations` and in no others. What happened later stays.
    /// Returns what is news.
    pub(super) fn is_in(&mut self, conversations: &[ConversationId], at: Position) -> Vec<Move> {
        if at < self.asked_at {
            return Vec::new();
        }
        self.asked_at = at;
        let mut moves = Vec::new();
        let mut later = BTreeMap::new();
        let mut before = std::mem::take(&mut self.places);
        for conversation in conversations {
            let (conversation, place) = (*conversation, before.remove(conversation));
            let known = place.filter(|place| place.at > at);
            let is_in = known.is_none_or(|place| place.is_in);
            if is_in && !place.is_some_and(|place| place.is_in) {
                moves.push(Move {
                    conversation,
                    is_in,
                });
            }
            later.insert(conversation, known.unwrap_or(Place { is_in, at }));
        }
        for (conversation, place) in before {
            if place.at > at {
                later.insert(conversation, place);
            } else if place.is_in {
                moves.push(Move {
                    conversation,
                    is_in: false,
                });
            }
        }
        self.places = later;
        self.moved |= !moves.is_empty();
        moves
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const fn conversation(number: u128) -> ConversationId {
        ConversationId(Uuid::from_u128(number))
    }

    fn inside(local: &Local) -> Vec<u128> {
        local.inside().map(|id| id.0.as_u128()).collect()
    }

    fn moved(local: &mut Local, number: u128, is_in: bool, at: u64) -> bool {
        let conversation = conversation(number);
        let what = Move {
            conversation,
            is_in,
        };
        local.moves(what, Position(at))
    }

    #[test]
    fn an_answer_counts_up_to_where_it_was_asked_and_what_came_later_stays() {
        let mut local = Local::new();
        local.is_in(&[conversation(1), conversation(2)], Position(10));
        assert!(!moved(&mut local, 1, false, 9), "the answer is newer");
        assert!(moved(&mut local, 3, true, 12));
        assert!(moved(&mut local, 2, false, 15));
        assert_eq!(inside(&local), [1, 3]);
        // In 2 they were at 13, and are no longer; of 1 they were put out without a word.
        let came = local.is_in(
            &[conversation(2), conversation(3), conversation(4)],
            Position(13),
        );
        let moves: Vec<_> = came
            .iter()
            .map(|it| (it.conversation.0.as_u128(), it.is_in))
            .collect();
        assert_eq!(moves, [(4, true), (1, false)]);
        assert_eq!(inside(&local), [3, 4]);
        assert!(local.is_in(&[conversation(1)], Position(11)).is_empty());
        assert!(!moved(&mut local, 2, true, 15), "the same again");
        assert!(!moved(&mut local, 5, true, 13), "before the answer");
        assert!(moved(&mut local, 2, true, 16));
        assert_eq!(inside(&local), [2, 3, 4]);
    }
}
