//! Where the newest events of each stream are, before the file's index knows it.
//!
//! An index entry written with its event would touch a page per stream in every group, in the path
//! that everybody waits for. So entries are kept here first, and go into the file many at a time,
//! stream by stream. After a crash they are found again from the events themselves.

use std::collections::{BTreeMap, VecDeque};

use domain::{Position, Version};
use parking_lot::RwLock;

/// Entries that are kept; beyond it the writer moves the excess into the file with each group.
pub(super) const UNINDEXED_EVENTS_MAX: usize = 32_768;

/// Shared by the writer, which fills it, and the readers. It may be ahead of the file by the group
/// that is being written: readers pass over what is beyond the head of the log.
#[derive(Default)]
pub(super) struct Unindexed(RwLock<Runs>);

#[derive(Default)]
struct Runs {
    by_stream: BTreeMap<i64, Run>,
    events: usize,
}

/// An unbroken run of versions that ends where its stream ends.
struct Run {
    first: Version,
    positions: VecDeque<Position>,
}

impl Run {
    /// The version after the last one.
    fn end(&self) -> u64 {
        self.first.0 + self.positions.len() as u64
    }
}

impl Unindexed {
    /// Adds the next event of a stream.
    pub(super) fn push(&self, stream_id: i64, version: Version, position: Position) {
        let mut runs = self.0.write();
        let run = runs.by_stream.entry(stream_id).or_insert_with(|| Run {
            first: version,
            positions: VecDeque::new(),
        });
        run.positions.push_back(position);
        runs.events += 1;
    }

    /// Takes what another one has, in one step.
    pub(super) fn replace(&self, other: Self) {
        *self.0.write() = other.0.into_inner();
    }

    /// How many there are over all streams.
    pub(super) fn events(&self) -> usize {
        self.0.read().events
    }

    /// Where a stream ends, if its end is here.
    pub(super) fn version(&self, stream_id: i64) -> Option<Version> {
        let runs = self.0.read();
        runs.by_stream
            .get(&stream_id)
            .map(|run| Version(run.end() - 1))
    }

    /// Up to `limit` of the versions from `from` on, oldest first.
    pub(super) fn from(
        &self,
        stream_id: i64,
        from: Version,
        limit: usize,
    ) -> Vec<(Version, Position)> {
        let runs = self.0.read();
        let Some(run) = runs.by_stream.get(&stream_id) else {
            return Vec::new();
        };
        let start = from.max(run.first).0.min(run.end());
        (start..run.end())
            .take(limit)
            .filter_map(|version| run.at(version))
            .collect()
    }

    /// Up to `limit` of the versions down from `from` that are not beyond `head`, newest first.
    pub(super) fn down_from(
        &self,
        stream_id: i64,
        from: Version,
        head: Position,
        limit: usize,
    ) -> Vec<(Version, Position)> {
        let runs = self.0.read();
        let Some(run) = runs.by_stream.get(&stream_id) else {
            return Vec::new();
        };
        let end = from.0.saturating_add(1).min(run.end());
        (run.first.0..end)
            .rev()
            .filter_map(|version| run.at(version))
            .skip_while(|(_, position)| *position > head)
            .take(limit)
            .collect()
    }

    /// The first stream whose number is at least `stream_id`, and how many of its events are here.
    pub(super) fn next_stream(&self, stream_id: i64) -> Option<(i64, usize)> {
        let runs = self.0.read();
        let (id, run) = runs.by_stream.range(stream_id..).next()?;
        Some((*id, run.positions.len()))
    }

    /// Forgets the `count` oldest of a stream, which the file's index has now.
    pub(super) fn remove(&self, stream_id: i64, count: usize) {
        let mut runs = self.0.write();
        let Some(run) = runs.by_stream.get_mut(&stream_id) else {
            return;
        };
        let count = count.min(run.positions.len());
        run.positions.drain(..count);
        run.first = run.first.plus(count);
        if run.positions.is_empty() {
            runs.by_stream.remove(&stream_id);
        }
        runs.events -= count;
    }
}

impl Run {
    fn at(&self, version: u64) -> Option<(Version, Position)> {
        let index = usize::try_from(version.checked_sub(self.first.0)?).ok()?;
        let position = self.positions.get(index)?;
        Some((Version(version), *position))
    }
}
