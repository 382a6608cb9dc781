//! What the writer remembers of streams, so that the usual append asks the file nothing.

use std::collections::VecDeque;

use domain::{EventId, StreamName, Version};
use lru::LruCache;

/// Most streams that are remembered; of the others the file is asked.
const STREAMS_MAX: usize = 65_536;

/// How far back a retried append is recognised whatever it expected: this many of the last events
/// of its stream. The port promises at least 1,000.
pub(super) const RECENT_EVENTS_MAX: usize = 1_024;

/// Most marks of recent events that are remembered over all streams (4 bytes each); beyond it the
/// stream that was longest without an append is forgotten.
const RECENT_EVENTS_TOTAL_MAX: usize = 8 * 1024 * 1024;

/// A stream that exists.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number in the file.
    pub(super) id: i64,
    /// Where it ends.
    pub(super) version: Version,
    /// Its last events, once somebody needed them.
    pub(super) recent: Option<Recent>,
}

/// Marks of the last events of a stream, oldest first: too small to name an event, enough to tell
/// that an event is not among them.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<u32>);

impl Recent {
    /// Remembers the next event; forgets the oldest beyond [`RECENT_EVENTS_MAX`].
    fn push(&mut self, id: EventId) {
        if self.0.len() == RECENT_EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(mark(id));
    }

    /// The versions at which `id` may stand, newest first, where the stream ends at `end`.
    pub(super) fn candidates(&self, id: EventId, end: Version) -> Vec<Version> {
        let mark = mark(id);
        (0..)
            .map(|back| Version(end.0 - back))
            .zip(self.0.iter().rev())
            .filter(|(_, recent)| **recent == mark)
            .map(|(version, _)| version)
            .collect()
    }
}

impl FromIterator<EventId> for Recent {
    fn from_iter<I: IntoIterator<Item = EventId>>(ids: I) -> Self {
        let mut recent = Self::default();
        ids.into_iter().for_each(|id| recent.push(id));
        recent
    }
}

/// The last four bytes: random in ids of every version that is in use.
fn mark(id: EventId) -> u32 {
    let bytes = id.0.as_bytes();
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

/// Streams by name, the longest unused forgotten first.
pub(super) struct Streams {
    known: LruCache<StreamName, Stream>,
    recent_events: usize,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            known: LruCache::unbounded(),
            recent_events: 0,
        }
    }

    /// What is known of a stream.
    pub(super) fn get(&mut self, name: &StreamName) -> Option<&Stream> {
        self.known.get(name)
    }

    /// Remembers a stream that was found or made.
    pub(super) fn insert(&mut self, name: StreamName, stream: Stream) {
        self.recent_events += stream.recent.as_ref().map_or(0, |recent| recent.0.len());
        if let Some(replaced) = self.known.push(name, stream) {
            self.forgotten(&replaced.1);
        }
        self.shrink();
    }

    /// Remembers the last events of a stream that is known.
    pub(super) fn set_recent(&mut self, name: &StreamName, recent: Recent) {
        if let Some(stream) = self.known.get_mut(name) {
            self.recent_events += recent.0.len();
            if let Some(replaced) = stream.recent.replace(recent) {
                self.recent_events -= replaced.0.len();
            }
        }
        self.shrink();
    }

    /// Notes that `id` was appended to a stream that is known, at the returned version.
    pub(super) fn append(&mut self, name: &StreamName, id: EventId) {
        if let Some(stream) = self.known.get_mut(name) {
            stream.version = stream.version.next();
            if let Some(recent) = &mut stream.recent {
                self.recent_events -= recent.0.len();
                recent.push(id);
                self.recent_events += recent.0.len();
            }
        }
    }

    /// Keeps at least the stream that is in use.
    fn shrink(&mut self) {
        while self.known.len() > 1
            && (self.known.len() > STREAMS_MAX || self.recent_events > RECENT_EVENTS_TOTAL_MAX)
        {
            if let Some((_, stream)) = self.known.pop_lru() {
                self.forgotten(&stream);
            }
        }
    }

    fn forgotten(&mut self, stream: &Stream) {
        self.recent_events -= stream.recent.as_ref().map_or(0, |recent| recent.0.len());
    }
}
