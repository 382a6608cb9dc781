//! Collecting: finds attachments that nothing has any more, in the read models, puts on record that they are
//! removed, then erases their bytes, and puts that on record. Both are in the log, so that nothing else has
//! to be kept to go on after a restart, and whoever does it twice does no harm. Uploads that nobody goes on
//! with are erased too.
//!
//! What is collected cannot be brought back, so that nothing is while a read model leaves something out.

mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::attachment::{Command, RemovedBecause};
use domain::{AttachmentId, Position, StreamName, Version};
use infra::blobs::Blobs;
use infra::clock::Clock;
use infra::database::Database;
use infra::event_store::{EventStore, version_of};
use infra::failure::Failure;
use infra::read_models::attachments::{self, WITH_USES};
use infra::read_models::{ReadError, Snapshot, WAIT_MAX, projections, wait_for};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collecting::record::record;
use crate::generation::Retry;

/// How long an upload is kept of which nothing comes, and an attachment that nothing has yet. An hour more
/// than clients are told, for clocks that differ.
const UNUSED_MAX: TimeDelta = TimeDelta::hours(25);

/// Attachments that are looked at together; further ones wait for their turn.
const PAGE: usize = 200;

/// The shortest time from one look to the next, where much happens.
const EVERY_MIN: Duration = Duration::from_millis(500);

/// The longest, where nothing does: what grows too old makes no event.
const EVERY_MAX: Duration = Duration::from_mins(1);

/// How often unfinished uploads are looked through.
const UPLOADS_EVERY: Duration = Duration::from_mins(30);

/// Erases what nothing has any more.
pub struct Collecting {
    store: Arc<dyn EventStore>,
    database: Database,
    blobs: Blobs,
    clock: Clock,
}

/// How far this process has looked. It begins anew with each start.
#[derive(Default)]
struct Looked {
    /// Up to where what ended was looked at.
    ended: Position,
    /// Up to where what grew too old was.
    uploaded: Position,
    /// When unfinished uploads were looked through.
    uploads_at: Option<Instant>,
    /// Whether it was said that nothing is collected.
    told_parked: bool,
}

impl Collecting {
    /// Collects what is in `blobs` by what `store` and the read models in `database` say. Nothing happens
    /// before [`Collecting::run`].
    pub const fn new(
        store: Arc<dyn EventStore>,
        database: Database,
        blobs: Blobs,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            database,
            blobs,
            clock,
        }
    }

    /// Collects until `stop` is cancelled. What fails is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = Retry::new("attachments");
        let mut looked = Looked::default();
        let mut head = self.store.head();
        loop {
            head.borrow_and_update();
            let wait = match self.look(&mut looked).await {
                Ok(()) => {
                    retry.succeeded();
                    EVERY_MIN
                }
                Err(failure) => retry.failed(&failure),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(EVERY_MAX) => {}
            }
        }
    }

    async fn look(&self, looked: &mut Looked) -> Result<(), Failure> {
        self.remove(looked).await?;
        self.erase().await?;
        let due = looked
            .uploads_at
            .is_none_or(|at| at.elapsed() >= UPLOADS_EVERY);
        if due {
            self.discard_uploads().await?;
            looked.uploads_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Puts on record that what nothing has any more is removed.
    async fn remove(&self, looked: &mut Looked) -> Result<(), Failure> {
        let Some(mut snapshot) = self.snapshot().await? else {
            return Ok(());
        };
        if self.is_parked(looked).await? {
            return Ok(());
        }
        loop {
            let found = attachments::ended(&mut snapshot, looked.ended, PAGE).await;
            let found = found.map_err(unread)?;
            let Some((_, last)) = found.last().copied() else {
                break;
            };
            self.remove_unused(&mut snapshot, &found).await?;
            // One event may end several, of which the last page has some.
            let is_last_page = found.len() < PAGE;
            let whole = |at: &Position| is_last_page || *at < last;
            let ended = found.iter().rev().map(|(_, at)| *at);
            looked.ended = ended.into_iter().find(whole).unwrap_or(last);
            if is_last_page {
                break;
            }
        }
        let moment = self.clock.now() - UNUSED_MAX;
        loop {
            let found = attachments::uploaded(&mut snapshot, looked.uploaded, moment, PAGE).await;
            let found = found.map_err(unread)?;
            let Some((_, last)) = found.last() else {
                return Ok(());
            };
            self.remove_unused(&mut snapshot, &found).await?;
            looked.uploaded = *last;
        }
    }

    async fn remove_unused(
        &self,
        snapshot: &mut Snapshot,
        found: &[(AttachmentId, Position)],
    ) -> Result<(), Failure> {
        let ids: Vec<AttachmentId> = found.iter().map(|(id, _)| *id).collect();
        let unused = attachments::unused(snapshot, &ids).await.map_err(unread)?;
        for (id, why) in unused {
            record(&*self.store, id, &Command::Collect { why }).await?;
            count(why);
        }
        Ok(())
    }

    /// The read models as of now; `None` where they are behind: then it is tried again later.
    async fn snapshot(&self) -> Result<Option<Snapshot>, Failure> {
        let head = *self.store.head().borrow();
        let taken = async {
            wait_for(&self.database, &WITH_USES, head, WAIT_MAX).await?;
            Snapshot::of(&self.database, &WITH_USES).await
        };
        match taken.await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(ReadError::Behind(_)) => Ok(None),
            Err(error @ ReadError::Database(_)) => Err(unread(error)),
        }
    }

    /// Whether a read model leaves something out, in which attachments may be.
    async fn is_parked(&self, looked: &mut Looked) -> Result<bool, Failure> {
        let checkpoints = projections::checkpoints(&self.database).await?;
        let names = WITH_USES.map(|model| model.name);
        let parked = checkpoints
            .iter()
            .any(|it| it.parked > 0 && names.contains(&it.name.as_str()));
        if parked && !looked.told_parked {
            tracing::warn!(
                "no attachments are collected while streams are parked; see `verbatim status`"
            );
        }
        looked.told_parked = parked;
        Ok(parked)
    }

    /// Erases what was removed, and puts that on record.
    async fn erase(&self) -> Result<(), Failure> {
        let snapshot = Snapshot::of(&self.database, &[&attachments::MODEL]).await;
        let mut snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(ReadError::Behind(_)) => return Ok(()),
            Err(error @ ReadError::Database(_)) => return Err(unread(error)),
        };
        let ids = attachments::to_erase(&mut snapshot, PAGE).await;
        for id in ids.map_err(unread)? {
            self.blobs.erase(id).await?;
            record(&*self.store, id, &Command::RecordErased).await?;
            metrics::counter!("verbatim_attachments_erased_total").increment(1);
        }
        Ok(())
    }

    /// Erases uploads of which nothing came for long.
    async fn discard_uploads(&self) -> Result<(), Failure> {
        let uploads = self.blobs.uploads();
        let idle = uploads.idle_since(self.clock.now() - UNUSED_MAX).await?;
        for upload in idle {
            let stream = StreamName::attachment(upload.id);
            if version_of(&*self.store, &stream).await? == Version::ZERO {
                // It may have been kept for good just before somebody was to put it on record.
                self.blobs.erase(upload.id).await?;
            }
            uploads.discard(upload).await?;
            metrics::counter!("verbatim_uploads_expired_total").increment(1);
        }
        Ok(())
    }
}

fn unread(error: ReadError) -> Failure {
    match error {
        ReadError::Behind(behind) => Failure::unavailable("look for unused attachments", behind),
        ReadError::Database(error) => error.into(),
    }
}

fn count(why: RemovedBecause) {
    let why = why.as_str();
    metrics::counter!("verbatim_attachments_collected_total", "why" => why).increment(1);
}
