//! The newest events, kept in memory: those who follow the log get what was just written without
//! asking the file.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::Position;
use parking_lot::RwLock;

use crate::event_store::RecordedEvent;

/// Most events that are kept; older ones are read from the file.
const TAIL_EVENTS_MAX: usize = 16_384;

/// Most bytes of data and metadata that are kept; older events are read from the file.
const TAIL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An unbroken run of events that ends at the head of the log; empty when nothing was appended yet.
#[derive(Default)]
pub(super) struct Tail(RwLock<Run>);

#[derive(Default)]
struct Run {
    events: VecDeque<Arc<RecordedEvent>>,
    bytes: usize,
}

impl Tail {
    /// Takes committed events, which follow those that it has.
    pub(super) fn extend(&self, events: Vec<Arc<RecordedEvent>>) {
        let mut run = self.0.write();
        run.bytes += events.iter().map(|event| bytes_of(event)).sum::<usize>();
        run.events.extend(events);
        while run.events.len() > TAIL_EVENTS_MAX || run.bytes > TAIL_BYTES_MAX {
            let Some(oldest) = run.events.pop_front() else {
                break;
            };
            run.bytes -= bytes_of(&oldest);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        *self.0.write() = Run::default();
    }

    /// The event at `position`, if it is recent.
    pub(super) fn at(&self, position: Position) -> Option<Arc<RecordedEvent>> {
        let run = self.0.read();
        let first = run.events.front()?.position.0;
        let index = usize::try_from(position.0.checked_sub(first)?).ok()?;
        run.events.get(index).cloned()
    }

    /// Up to `limit` events after `after`; `None` where it does not reach back so far.
    pub(super) fn after(&self, after: Position, limit: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        let run = self.0.read();
        let first = run.events.front()?.position.0;
        // Positions of this store have no gaps, so that the place in the run is a difference.
        let skipped = after.0.saturating_add(1).checked_sub(first)?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Some(
            run.events
                .range(skipped.min(run.events.len())..)
                .take(limit)
                .cloned()
                .collect(),
        )
    }
}

fn bytes_of(event: &RecordedEvent) -> usize {
    event.data.len() + event.metadata.len()
}
