//! Reading what a connection missed from the log: several streams, merged by position, a bounded
//! number of events at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::sync::Arc;

use domain::{ConversationId, Position, StreamName, Version};
use futures::future::try_join_all;
use infra::event_store::{Direction, EventStore, RecordedEvent};
use infra::failure::Failure;

use crate::entry::Entry;
use crate::memberships::Membership;

/// Streams that are searched or read at once.
const STREAMS_AT_ONCE: usize = 16;

/// What is wanted of one conversation: its events after a position.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) conversation: ConversationId,
    pub(crate) after: Position,
    pub(crate) part: Part,
}

/// Which part of a conversation.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// While these memberships lasted.
    During(Vec<Membership>),
}

/// Some streams of the log, from somewhere each up to one position, in the order of the log. Holds
/// at most about `events_max` events, or one of each stream where those are more.
pub(crate) struct Replay {
    store: Arc<dyn EventStore>,
    up_to: Position,
    events_max: usize,
    wants: VecDeque<Want>,
    sources: Vec<Source>,
    /// Sources with an event in hand, by its position.
    ready: BinaryHeap<Reverse<(Position, usize)>>,
    /// Sources that have to be read before anything can be said of their order.
    dry: Vec<usize>,
    /// Gathered while there are wants, then told once.
    located: Option<Located>,
}

/// Part of one stream.
struct Source {
    stream: StreamName,
    next: Version,
    last: Version,
    page: VecDeque<Arc<RecordedEvent>>,
}

/// What a replay is about to yield.
#[derive(Debug, Default)]
pub(crate) struct Located {
    /// How many events there are.
    pub(crate) missed: u64,
    /// In which of the conversations that are wanted in part the user was at the start.
    pub(crate) inside: HashSet<ConversationId>,
}

/// What [`Replay::step`] came to.
pub(crate) enum Step {
    /// Everything has been found, nothing read yet. Comes once.
    Located(Located),
    /// The next events.
    Events(Vec<Arc<Entry>>),
    /// There are no more.
    Done,
    /// Go on: some work was done.
    Working,
}

impl Replay {
    /// Reads what is in `wants` up to `up_to`.
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        wants: Vec<Want>,
        up_to: Position,
        events_max: usize,
    ) -> Self {
        Self {
            store,
            up_to,
            events_max,
            wants: wants.into(),
            sources: Vec::new(),
            ready: BinaryHeap::new(),
            dry: Vec::new(),
            located: Some(Located::default()),
        }
    }

    /// Up to where it reads.
    pub(crate) const fn up_to(&self) -> Position {
        self.up_to
    }

    /// Works on. Safe to cancel: what was done so far is kept, except for the one read that was
    /// under way.
    pub(crate) async fn step(&mut self) -> Result<Step, Failure> {
        if !self.wants.is_empty() {
            self.locate_some().await?;
            return Ok(Step::Working);
        }
        if let Some(located) = self.located.take() {
            return Ok(Step::Located(located));
        }
        if !self.dry.is_empty() {
            self.read_some().await?;
            return Ok(Step::Working);
        }
        let events = self.merge();
        Ok(
            if events.is_empty() && self.ready.is_empty() && self.dry.is_empty() {
                Step::Done
            } else {
                Step::Events(events)
            },
        )
    }

    /// Takes events in order until a source has to be read again.
    fn merge(&mut self) -> Vec<Arc<Entry>> {
        let mut events = Vec::new();
        while events.len() < self.events_max && self.dry.is_empty() {
            let Some(Reverse((_, index))) = self.ready.pop() else {
                break;
            };
            let source = &mut self.sources[index];
            let recorded = source.page.pop_front();
            events.extend(
                recorded
                    .and_then(|event| Entry::encode(&event))
                    .map(Arc::new),
            );
            if let Some(next) = source.page.front() {
                self.ready.push(Reverse((next.position, index)));
            } else {
                source.page = VecDeque::new();
                if source.len() > 0 {
                    self.dry.push(index);
                }
            }
        }
        events
    }

    /// Reads the next page of some of the sources that need one.
    async fn read_some(&mut self) -> Result<(), Failure> {
        let start = self.dry.len().saturating_sub(STREAMS_AT_ONCE);
        let limit = (self.events_max / (self.ready.len() + self.dry.len())).max(1);
        let reads = self.dry[start..]
            .iter()
            .map(|index| self.sources[*index].read(self.store.as_ref(), limit));
        let pages = try_join_all(reads).await?;
        for (index, page) in self.dry.drain(start..).zip(pages) {
            let source = &mut self.sources[index];
            if let (Some(first), Some(last)) = (page.first(), page.last()) {
                source.next = last.version.next();
                self.ready.push(Reverse((first.position, index)));
                source.page = page.into();
            }
        }
        Ok(())
    }

    async fn locate_some(&mut self) -> Result<(), Failure> {
        let count = self.wants.len().min(STREAMS_AT_ONCE);
        let searches = self.wants.range(..count).map(|want| self.locate(want));
        let located = try_join_all(searches).await?;
        self.wants.drain(..count);
        let told = self.located.get_or_insert_default();
        for (conversation, inside, sources) in located {
            if inside {
                told.inside.insert(conversation);
            }
            told.missed += sources.iter().map(Source::len).sum::<u64>();
            for source in sources {
                self.dry.push(self.sources.len());
                self.sources.push(source);
            }
        }
        Ok(())
    }

    /// Finds the parts of the streams of one conversation, and whether the user was in it at the
    /// start.
    async fn locate(&self, want: &Want) -> Result<(ConversationId, bool, Vec<Source>), Failure> {
        let store = self.store.as_ref();
        let conversation = StreamName::conversation(want.conversation);
        let receipts = StreamName::receipts(want.conversation);
        let (first, last) = between(store, &conversation, want.after, self.up_to).await?;
        let mut sources = Vec::new();
        let mut inside = false;
        let memberships = match &want.part {
            Part::All => {
                let marks = between(store, &receipts, want.after, self.up_to).await?;
                sources.push(Source::new(&conversation, (first, last)));
                sources.push(Source::new(&receipts, marks));
                &[][..]
            }
            Part::During(memberships) => memberships,
        };
        for membership in memberships {
            let left = membership.left.unwrap_or(Version(u64::MAX));
            let joined_before = membership.joined < first;
            if left < first || (!joined_before && membership.joined > last) {
                continue;
            }
            inside |= joined_before;
            let from = membership.joined.max(first);
            sources.push(Source::new(&conversation, (from, left.min(last))));
            let after = if joined_before {
                want.after
            } else {
                position_at(store, &conversation, from)
                    .await?
                    .unwrap_or(want.after)
            };
            let up_to = if left <= last {
                position_at(store, &conversation, left)
                    .await?
                    .unwrap_or(self.up_to)
            } else {
                self.up_to
            };
            sources.push(Source::new(
                &receipts,
                between(store, &receipts, after, up_to).await?,
            ));
        }
        sources.retain(|source| source.len() > 0);
        Ok((want.conversation, inside, sources))
    }
}

impl Source {
    fn new(stream: &StreamName, (first, last): (Version, Version)) -> Self {
        Self {
            stream: stream.clone(),
            next: first,
            last,
            page: VecDeque::new(),
        }
    }

    const fn len(&self) -> u64 {
        (self.last.0 + 1).saturating_sub(self.next.0)
    }

    async fn read(
        &self,
        store: &dyn EventStore,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let left = usize::try_from(self.len()).unwrap_or(usize::MAX);
        let page = store
            .read_stream(&self.stream, self.next, Direction::Forward, limit.min(left))
            .await?;
        if page.is_empty() {
            return Err(Failure::internal("replay a stream", "an event is gone"));
        }
        Ok(page)
    }
}

/// The versions of `stream` whose positions are after `after` and not after `up_to`, as (first,
/// last); where there are none, last is one before first.
async fn between(
    store: &dyn EventStore,
    stream: &StreamName,
    after: Position,
    up_to: Position,
) -> Result<(Version, Version), Failure> {
    let end = store
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    let Some(end) = end.first() else {
        return Ok((Version(1), Version::ZERO));
    };
    let beyond = end.version.next();
    if end.position <= after {
        return Ok((beyond, end.version));
    }
    let first = first_after(store, stream, after, end.version).await?;
    let beyond = if end.position <= up_to {
        beyond
    } else {
        first_after(store, stream, up_to, end.version).await?
    };
    Ok((first, Version(beyond.0 - 1).max(Version(first.0 - 1))))
}

/// The first version of `stream` whose position is after `position`; `later` is one such. Searches
/// from there, with steps that double, as most clients are only a little behind.
pub(crate) async fn first_after(
    store: &dyn EventStore,
    stream: &StreamName,
    position: Position,
    later: Version,
) -> Result<Version, Failure> {
    let mut high = later.0;
    let mut low = 0;
    let mut step = 1;
    while high - low > 1 {
        let probe = if step == 0 {
            low + (high - low) / 2
        } else {
            later.0.saturating_sub(step)
        };
        if probe <= low {
            step = 0;
            continue;
        }
        let there = position_at(store, stream, Version(probe)).await?;
        if there.is_some_and(|there| there > position) {
            high = probe;
            step *= 2;
        } else {
            low = probe;
            step = 0;
        }
    }
    Ok(Version(high))
}

/// The position of the event at `version`.
async fn position_at(
    store: &dyn EventStore,
    stream: &StreamName,
    version: Version,
) -> Result<Option<Position>, Failure> {
    let there = store
        .read_stream(stream, version, Direction::Forward, 1)
        .await?;
    Ok(there.first().map(|event| event.position))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{EventId, Position, StreamName, Version};
    use infra::clock::{Clock, fresh_id};
    use infra::event_store::{EventStore as _, Expected, MemoryEventStore, NewEvent};

    use super::between;

    #[tokio::test]
    async fn the_versions_between_any_two_positions_are_found() {
        let store = MemoryEventStore::new(Clock::system());
        let (stream, other) = (
            StreamName::parse("one-1").unwrap(),
            StreamName::parse("other-1").unwrap(),
        );
        let mut positions = Vec::new();
        for round in 0..40_u64 {
            let is_ours = round % 3 == 1 || (20..30).contains(&round);
            let event = NewEvent {
                id: EventId(fresh_id()),
                event_type: "something".into(),
                schema: 1,
                data: Bytes::from_static(b"{}"),
                metadata: Bytes::from_static(b"{}"),
            };
            let to = if is_ours { &stream } else { &other };
            let appended = store.append(to, Expected::Any, vec![event]).await.unwrap();
            if is_ours {
                positions.push(appended.position());
            }
        }
        for after in (0..=41).map(Position) {
            for up_to in (after.0..=41).map(Position) {
                let count = |position| positions.iter().filter(|p| **p <= position).count();
                let wanted = (Version(1).plus(count(after)), Version(0).plus(count(up_to)));
                let found = between(&store, &stream, after, up_to).await.unwrap();
                assert_eq!(found, wanted, "after {after} up to {up_to}");
            }
        }
        let absent = StreamName::parse("absent-1").unwrap();
        let found = between(&store, &absent, Position(0), Position(41)).await;
        assert_eq!(found.unwrap(), (Version(1), Version(0)));
    }
}
