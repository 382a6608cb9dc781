//! How far pushing is, in mind and on record.

use chrono::{DateTime, TimeDelta, Utc};
use domain::pushes::{Command, Part, Progress, Pushes, QuietPart, Settled};
use domain::{Position, StreamName, UserId};
use infra::event_store::{AppendError, EventStore};
use infra::failure::Failure;
use uuid::Uuid;

use super::under_way::Goal;
use crate::record::Loaded;

/// Keeps how far it is, and puts it on record.
pub(super) struct Recorder {
    recorded: Loaded<Pushes>,
    progress: Progress,
    /// Pushes that were taken since the last record.
    sent: u32,
    /// Whether a push was taken since, or anything was looked at that takes time to look at again.
    is_dirty: bool,
    recorded_at: DateTime<Utc>,
}

impl Recorder {
    /// As it is on record; where nothing is, everything up to now is settled.
    pub(super) async fn load(store: &dyn EventStore, now: DateTime<Utc>) -> Result<Self, Failure> {
        let recorded = Loaded::<Pushes>::last(store, &StreamName::pushes_sent()).await?;
        let progress = recorded.state.progress.unwrap_or(Progress {
            up_to: Position::ZERO,
            part: None,
            quiet_until: now,
            quiet_part: None,
        });
        Ok(Self {
            recorded,
            progress,
            sent: 0,
            is_dirty: false,
            recorded_at: now,
        })
    }

    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// This is settled.
    pub(super) fn reached(&mut self, goal: Goal) {
        let progress = &mut self.progress;
        match goal {
            Goal::Log(position) => {
                progress.up_to = progress.up_to.max(position);
                let up_to = progress.up_to;
                progress.part = progress.part.filter(|part| part.position > up_to);
            }
            Goal::Part(position, user) => progress.part = Some(Part { position, user }),
            Goal::Quiet(until) => {
                progress.quiet_until = progress.quiet_until.max(until);
                progress.quiet_part = None;
            }
            Goal::QuietPart(until, user) => progress.quiet_part = Some(QuietPart { until, user }),
        }
    }

    /// Up to whom the message at `position` is settled.
    pub(super) fn settled_of(&self, position: Position) -> UserId {
        let part = self.progress.part.filter(|part| part.position == position);
        part.map_or(UserId(Uuid::nil()), |part| part.user)
    }

    /// A push was taken.
    pub(super) const fn sent(&mut self) {
        self.is_dirty = true;
        self.sent = self.sent.saturating_add(1);
    }

    /// Something was looked at that takes time to look at again. That time passed, or that the log is
    /// longer, is nothing to be recorded.
    pub(super) const fn worked(&mut self) {
        self.is_dirty = true;
    }

    /// Whether something is settled for so long that is not on record.
    pub(super) fn is_stale(&self, now: DateTime<Utc>, after: TimeDelta) -> bool {
        self.is_dirty && self.recorded_at + after <= now
    }

    /// It was put on record at `now`.
    pub(super) const fn recorded_at(&mut self, now: DateTime<Utc>) {
        self.recorded_at = now;
    }

    /// Puts it on record, where there is anything to be recorded. That fails where another process did
    /// meanwhile.
    pub(super) async fn record(&mut self, store: &dyn EventStore) -> Result<(), AppendError> {
        if !self.is_dirty {
            return Ok(());
        }
        let settled = Settled {
            progress: self.progress,
            sent: self.sent,
        };
        let stream = StreamName::pushes_sent();
        let command = Command::Settle(settled);
        self.recorded.ask(store, &stream, &command).await?;
        self.sent = 0;
        self.is_dirty = false;
        Ok(())
    }
}
