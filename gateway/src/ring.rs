//! The recent events of one conversation, encoded, in the order of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::Position;

use crate::entry::Entry;

/// All events of a conversation after [`Ring::complete_after`]. Costs next to nothing while empty.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    complete_after: Position,
}

/// What [`Ring::collect`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Events between the asked positions are gone: the log has them. Nothing was collected.
    pub(crate) fell_off: bool,
    /// There are more of them than were asked for.
    pub(crate) cut: bool,
    /// There are, or were, events after the asked positions.
    pub(crate) beyond: bool,
}

impl Ring {
    /// A ring for events after `position`.
    pub(crate) const fn after(position: Position) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            complete_after: position,
        }
    }

    /// Adds the newest event, and lets go of the oldest while there are too many.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, entries_max: usize, bytes_max: usize) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > entries_max || self.bytes > bytes_max {
            self.pop();
        }
    }

    /// Lets go of the oldest event if it is the one at `position`.
    pub(crate) fn let_go(&mut self, position: Position) {
        if self
            .entries
            .front()
            .is_some_and(|entry| entry.position == position)
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.complete_after = entry.position;
            self.bytes -= entry.bytes();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Adds to `into` the events after `after` up to and with `up_to`, at most `limit`.
    pub(crate) fn collect(
        &self,
        after: Position,
        up_to: Position,
        limit: usize,
        into: &mut Vec<Arc<Entry>>,
    ) -> Collected {
        let newest = self
            .entries
            .back()
            .map_or(self.complete_after, |e| e.position);
        let beyond = newest > up_to;
        if after < self.complete_after {
            return Collected {
                fell_off: true,
                cut: false,
                beyond,
            };
        }
        let start = self
            .entries
            .partition_point(|entry| entry.position <= after);
        let end = self
            .entries
            .partition_point(|entry| entry.position <= up_to);
        let cut = end.saturating_sub(start) > limit;
        let end = if cut { start + limit } else { end.max(start) };
        into.extend(self.entries.range(start..end).cloned());
        Collected {
            fell_off: false,
            cut,
            beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::Position;

    use super::{Collected, Ring};
    use crate::entry::tests::entry_at;

    /// A ring for three, with the events 12, 14, 16, 18 of which the first is gone.
    fn ring() -> Ring {
        let mut ring = Ring::after(Position(10));
        for position in [12, 14, 16, 18] {
            ring.push(Arc::new(entry_at(position)), 3, usize::MAX);
        }
        ring
    }

    fn collect(ring: &Ring, after: u64, up_to: u64, limit: usize) -> (Vec<u64>, Collected) {
        let mut into = Vec::new();
        let found = ring.collect(Position(after), Position(up_to), limit, &mut into);
        (into.iter().map(|entry| entry.position.0).collect(), found)
    }

    #[test]
    fn what_is_asked_for_is_collected_in_order() {
        let ring = ring();
        let found = |cut, beyond| Collected {
            fell_off: false,
            cut,
            beyond,
        };
        assert_eq!(
            collect(&ring, 12, 18, 9),
            (vec![14, 16, 18], found(false, false))
        );
        assert_eq!(collect(&ring, 14, 17, 9), (vec![16], found(false, true)));
        assert_eq!(
            collect(&ring, 12, 18, 2),
            (vec![14, 16], found(true, false))
        );
        assert_eq!(collect(&ring, 18, 30, 2), (vec![], found(false, false)));
        assert_eq!(collect(&ring, 20, 12, 2), (vec![], found(false, true)));
    }

    #[test]
    fn who_needs_what_is_gone_fell_off() {
        let mut ring = ring();
        assert!(collect(&ring, 11, 18, 9).1.fell_off);
        ring.let_go(Position(13));
        assert!(!collect(&ring, 12, 18, 9).1.fell_off);
        ring.let_go(Position(14));
        assert!(collect(&ring, 12, 18, 9).1.fell_off);
        ring.let_go(Position(16));
        ring.let_go(Position(18));
        let (entries, found) = collect(&ring, 17, 17, 9);
        assert!(entries.is_empty() && found.fell_off && found.beyond);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::after(Position(0));
        let bytes_max = entry_at(1).bytes() * 2;
        for position in 1..=5 {
            ring.push(Arc::new(entry_at(position)), 99, bytes_max);
        }
        assert_eq!(collect(&ring, 3, 5, 9).0, [4, 5]);
        assert!(collect(&ring, 2, 5, 9).1.fell_off);
    }
}
