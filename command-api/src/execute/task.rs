//! The task of one active stream.

use std::sync::Arc;

use domain::{Decider, StreamName, Version};
use infra::event_store::{AppendError, Appended, Expected};
use infra::failure::{Failure, FailureSort};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::group::Plan;
use super::load::Loaded;
use super::{ExecuteError, GROUP_MAX, Queued, Shared};

/// How often a group is decided because others wrote in between; then its commands are answered
/// [`ExecuteError::Conflict`].
const CONFLICTS_MAX: usize = 16;

/// How often a group is tried when the store fails; then its commands are answered with the
/// failure. Trying a second time finds out whether the first came through.
const FAILURES_MAX: usize = 2;

/// Serialises the commands of one stream and keeps its state.
pub(super) struct StreamTask<D: Decider> {
    shared: Arc<Shared<D>>,
    stream: StreamName,
    number: u64,
    queue: mpsc::Receiver<Queued<D>>,
    /// `None` until the first command, and after a failure that leaves in doubt what is stored.
    loaded: Option<Loaded<D>>,
    /// Version of the last snapshot that was read, or given to be written.
    snapshot_at: Version,
}

/// How an attempt to carry out a group ended.
enum Attempt<D: Decider> {
    Answered,
    /// Others wrote to the stream.
    Conflict(Plan<D>),
    /// The store cannot take these events together.
    Inseparable(Plan<D>, Failure),
    /// The store failed.
    Failed(Option<Plan<D>>, Failure),
}

impl<D: Decider> StreamTask<D> {
    pub(super) fn new(
        shared: Arc<Shared<D>>,
        stream: StreamName,
        number: u64,
        queue: mpsc::Receiver<Queued<D>>,
    ) -> Self {
        Self {
            shared,
            stream,
            number,
            queue,
            loaded: None,
            snapshot_at: Version::ZERO,
        }
    }

    /// Works until nothing came for a while, or the executor dropped the stream and all is done.
    pub(super) async fn run(mut self) {
        let mut group = Vec::new();
        loop {
            let idle_max = self.shared.limits.idle_max;
            match timeout(idle_max, self.queue.recv_many(&mut group, GROUP_MAX)).await {
                Ok(0) => return,
                Ok(_) => {
                    self.carry_out(std::mem::take(&mut group)).await;
                    self.write_snapshot();
                }
                Err(_) => {
                    if self.shared.retire(&self.stream, self.number, &self.queue) {
                        return;
                    }
                }
            }
        }
    }

    /// Carries out `group`, if need be one by one.
    async fn carry_out(&mut self, group: Vec<Queued<D>>) {
        metrics::histogram!("verbatim_command_group_size", "category" => D::CATEGORY)
            .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
        if let Err(group) = self.try_out(group).await {
            for queued in group {
                // One command alone is always answered.
                let _ = self.try_out(vec![queued]).await;
            }
        }
    }

    /// Carries out `group` and answers all of it, or gives back a group that has to be taken apart.
    async fn try_out(&mut self, mut group: Vec<Queued<D>>) -> Result<(), Vec<Queued<D>>> {
        let (mut conflicts, mut failures) = (0, 0);
        loop {
            match self.attempt(&mut group).await {
                Attempt::Answered => return Ok(()),
                Attempt::Conflict(plan) => {
                    metrics::counter!("verbatim_command_conflicts_total", "category" => D::CATEGORY)
                        .increment(1);
                    conflicts += 1;
                    if conflicts == CONFLICTS_MAX {
                        plan.fail(group, &ExecuteError::Conflict);
                        return Ok(());
                    }
                }
                Attempt::Inseparable(plan, failure) => {
                    if group.len() > 1 {
                        return Err(group);
                    }
                    plan.fail(group, &failure.into());
                    return Ok(());
                }
                Attempt::Failed(plan, failure) => {
                    failures += 1;
                    let hopeless = failure.sort() == FailureSort::StorageFull;
                    if failures < FAILURES_MAX && !hopeless {
                        continue;
                    }
                    match plan {
                        Some(plan) => plan.fail(group, &failure.into()),
                        None => fail_all(group, &failure),
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Decides `group` on the newest state that is known and appends what it makes. Takes the group
    /// only to answer it.
    async fn attempt(&mut self, group: &mut Vec<Queued<D>>) -> Attempt<D> {
        let is_kept = self.loaded.is_some();
        let loaded = match self.load().await {
            Ok(loaded) => loaded,
            Err(failure) => return Attempt::Failed(None, failure),
        };
        let plan = match Plan::decide(&loaded, group) {
            Ok(plan) => plan,
            Err(failure) => return Attempt::Failed(None, failure),
        };
        if !plan.events.is_empty() {
            return self.append(loaded, plan, group).await;
        }
        // An append proves that nobody else wrote. Without one the log has to be asked, or a
        // refusal could rest on what another node has long changed.
        if is_kept && plan.rests_on_state() {
            self.confirm(loaded, plan, group).await
        } else {
            self.answer(loaded, plan, group, None)
        }
    }

    async fn confirm(
        &mut self,
        mut loaded: Loaded<D>,
        plan: Plan<D>,
        group: &mut Vec<Queued<D>>,
    ) -> Attempt<D> {
        let version = loaded.version;
        let store = &*self.shared.store;
        match loaded.catch_up(store, &self.stream).await {
            Ok(()) if loaded.version == version => self.answer(loaded, plan, group, None),
            Ok(()) => {
                self.loaded = Some(loaded);
                Attempt::Conflict(plan)
            }
            Err(failure) => Attempt::Failed(Some(plan), failure),
        }
    }

    async fn append(
        &mut self,
        mut loaded: Loaded<D>,
        mut plan: Plan<D>,
        group: &mut Vec<Queued<D>>,
    ) -> Attempt<D> {
        let expected = Expected::Exact(loaded.version);
        let events = std::mem::take(&mut plan.events);
        let store = &*self.shared.store;
        match store.append(&self.stream, expected, events).await {
            Ok(appended) => self.answer(loaded, plan, group, Some(&appended)),
            Err(AppendError::Conflict { .. }) => match loaded.catch_up(store, &self.stream).await {
                Ok(()) => {
                    self.loaded = Some(loaded);
                    Attempt::Conflict(plan)
                }
                Err(failure) => Attempt::Failed(Some(plan), failure),
            },
            Err(AppendError::Invalid(why)) => {
                self.loaded = Some(loaded);
                Attempt::Inseparable(plan, Failure::internal("append to the log", why))
            }
            Err(AppendError::Failure(failure)) => {
                if failure.sort() == FailureSort::StorageFull {
                    // Nothing was stored, so the state is still good.
                    self.loaded = Some(loaded);
                }
                Attempt::Failed(Some(plan), failure)
            }
        }
    }

    fn answer(
        &mut self,
        mut loaded: Loaded<D>,
        plan: Plan<D>,
        group: &mut Vec<Queued<D>>,
        appended: Option<&Appended>,
    ) -> Attempt<D> {
        plan.commit(&mut loaded, std::mem::take(group), appended);
        self.loaded = Some(loaded);
        Attempt::Answered
    }

    /// The state; read from the log where none is kept. Until it is put back none is.
    async fn load(&mut self) -> Result<Loaded<D>, Failure> {
        if let Some(loaded) = self.loaded.take() {
            return Ok(loaded);
        }
        let shared = &self.shared;
        let (store, snapshots) = (&*shared.store, &*shared.snapshots);
        let (loaded, snapshot_at) =
            Loaded::load(store, snapshots, &shared.shape, &self.stream).await?;
        self.snapshot_at = snapshot_at;
        Ok(loaded)
    }

    /// Has a snapshot written, where one is due and there is a free place for it. Nobody waits.
    fn write_snapshot(&mut self) {
        let Some(loaded) = &self.loaded else { return };
        let due = self.snapshot_at.0 + self.shared.limits.snapshot_every_events;
        if loaded.version.0 < due {
            return;
        }
        let places = Arc::clone(&self.shared.snapshot_writes);
        let Ok(place) = places.try_acquire_owned() else {
            return;
        };
        self.snapshot_at = loaded.version;
        let (shared, stream, loaded) = (
            Arc::clone(&self.shared),
            self.stream.clone(),
            loaded.clone(),
        );
        self.shared.tasks.spawn(async move {
            let written = match loaded.snapshot(&shared.shape) {
                Ok(snapshot) => shared.snapshots.write(&stream, snapshot).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = written {
                tracing::warn!(%failure, %stream, "a snapshot was not written");
            }
            drop(place);
        });
    }
}

fn fail_all<D: Decider>(group: Vec<Queued<D>>, failure: &Failure) {
    for queued in group {
        queued.answer(Err(failure.clone().into()));
    }
}
