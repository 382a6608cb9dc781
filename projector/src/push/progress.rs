//! How far pushing is, in mind and on record.

use chrono::{DateTime, TimeDelta, Utc};
use domain::pushes::{Command, Part, Progress, Pushes, QuietPart, Settled};
use domain::{Position, StreamName, UserId};
use infra::event_store::{AppendError, EventStore};
use infra::failure::Failure;
use uuid::Uuid;

use crate::record::Loaded;

/// Keeps how far it is, and puts it on record.
pub(super) struct Recorder {
    recorded: Loaded<Pushes>,
    progress: Progress,
    /// Pushes that were taken since the last record.
    sent: u32,
    /// Whether anything was settled since that is not to be looked at again.
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

    /// Everything up to `position` is settled.
    pub(super) fn reached(&mut self, position: Position) {
        self.progress.up_to = self.progress.up_to.max(position);
        self.progress.part = self
            .progress
            .part
            .filter(|part| part.position > self.progress.up_to);
    }

    /// Of the message at `position`, users up to `user` are settled.
    pub(super) const fn reached_part(&mut self, position: Position, user: UserId) {
        self.progress.part = Some(Part { position, user });
    }

    /// Up to whom the message at `position` is settled.
    pub(super) fn settled_of(&self, position: Position) -> UserId {
        let part = self.progress.part.filter(|part| part.position == position);
        part.map_or(UserId(Uuid::nil()), |part| part.user)
    }

    /// Quiet hours that ended up to `until` are settled.
    pub(super) fn reached_quiet(&mut self, until: DateTime<Utc>) {
        self.progress.quiet_until = self.progress.quiet_until.max(until);
        self.progress.quiet_part = None;
    }

    /// Of those that ended up to `until`, those of users up to `user` are settled.
    pub(super) const fn reached_quiet_part(&mut self, until: DateTime<Utc>, user: UserId) {
        self.progress.quiet_part = Some(QuietPart { until, user });
    }

    /// A push was taken.
    pub(super) const fn sent(&mut self) {
        self.is_dirty = true;
        self.sent = self.sent.saturating_add(1);
    }

    /// Something was settled that is not to be looked at again. That time passed, or that the log is
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
