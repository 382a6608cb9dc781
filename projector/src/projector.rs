//! All projections of a process: who is live, who is built, what to do when the database is damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::Position;
use futures::future::join_all;
use infra::clock::Clock;
use infra::database::{Database, DatabaseError, Fault};
use infra::event_store::EventStore;
use infra::failure::Failure;
use infra::read_models::Model;
use infra::read_models::projections::{self, Checkpoint, ProjectionState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::generation::{Generation, Retry, Stop, Surroundings, chain};
use crate::{PROJECTIONS, Projection};

/// Keeps the read models up to date. Cheap to clone; clones are the same projector.
#[derive(Clone)]
pub struct Projector {
    around: Surroundings,
    builds: Arc<BTreeMap<&'static str, Builds>>,
}

/// Whether a model's building was asked for and is not complete, and how often it was completed.
struct Builds {
    asked: watch::Sender<bool>,
    completed: watch::Sender<u64>,
}

/// Where one generation of a read model is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ProjectionStatus {
    /// The read model's name.
    pub name: String,
    /// The version of its shape.
    pub version: u64,
    /// Everything up to here is in it.
    pub position: Position,
    /// Where the log ends.
    pub head: Position,
    /// Whether it answers queries or is being built.
    pub state: ProjectionState,
    /// Streams that are left out because an event of theirs could not be applied.
    pub parked: u64,
}

/// Why the projector stopped without being asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProjectorError {
    /// Two projectors write to one database.
    #[error(
        "another process moves the checkpoint of the read model {name}: only one projector may \
         write to a read database; stop the other one, then start this one again"
    )]
    OtherOwner {
        /// Which one met the other.
        name: &'static str,
    },
}

/// There is no projection of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no read model {name}; there are {}", names().join(", "))]
pub struct UnknownProjection {
    /// What was asked for.
    pub name: String,
}

fn names() -> Vec<&'static str> {
    PROJECTIONS
        .iter()
        .map(|projection| projection.model().name)
        .collect()
}

impl Projector {
    /// A projector from `store` into `database`. Nothing happens before [`Projector::run`].
    pub fn new(store: Arc<dyn EventStore>, database: Database, clock: Clock) -> Self {
        let builds = names()
            .into_iter()
            .map(|name| {
                let builds = Builds {
                    asked: watch::Sender::new(false),
                    completed: watch::Sender::new(0),
                };
                (name, builds)
            })
            .collect();
        Self {
            around: Surroundings {
                store,
                database,
                clock,
            },
            builds: Arc::new(builds),
        }
    }

    /// Keeps every read model up to date until `stop` is cancelled; what was begun is then
    /// committed. What fails is tried again, a damaged file is replaced and filled again; only a
    /// second projector on the same database ends it with an error.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ProjectorError> {
        let mut retry = Retry::new("all");
        while !stop.is_cancelled() {
            if let Err(error) = self.prepare().await {
                retry.pause_after(&error, &stop).await;
                continue;
            }
            retry.succeeded();
            let round = stop.child_token();
            let run_all = join_all(PROJECTIONS.map(|projection| {
                let round = round.clone();
                async move {
                    let done = self.keep(projection, &round).await;
                    // One that met another owner stops all, and the process.
                    if done.is_err() {
                        round.cancel();
                    }
                    done
                }
            }));
            let damaged = async {
                tokio::select! {
                    () = self.around.database.damaged() => round.cancel(),
                    () = round.cancelled() => {}
                }
            };
            let (done, ()) = tokio::join!(run_all, damaged);
            done.into_iter().collect::<Result<Vec<()>, _>>()?;
        }
        Ok(())
    }

    /// Where every read model is: the live generation of each and those that are being built.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, Failure> {
        let head = *self.around.store.head().borrow();
        let checkpoints = match projections::checkpoints(&self.around.database).await {
            // Nothing was ever projected.
            Err(error) if error.fault() == Fault::Missing => Vec::new(),
            checkpoints => checkpoints?,
        };
        Ok(checkpoints
            .into_iter()
            .map(|checkpoint| ProjectionStatus {
                name: checkpoint.name,
                version: checkpoint.version,
                position: checkpoint.position,
                head,
                state: checkpoint.state,
                parked: checkpoint.parked,
            })
            .collect())
    }

    /// Asks that the read model `name` is built anew, beside the one that answers queries. It is
    /// done by [`Projector::run`]; if it is being built already, that build counts.
    pub fn rebuild(&self, name: &str) -> Result<Rebuild, UnknownProjection> {
        let (name, builds) = self
            .builds
            .get_key_value(name)
            .ok_or_else(|| UnknownProjection {
                name: name.to_owned(),
            })?;
        let completed = builds.completed.subscribe();
        let before = *completed.borrow();
        builds.asked.send_replace(true);
        Ok(Rebuild {
            projector: self.clone(),
            name,
            completed,
            before,
        })
    }

    async fn prepare(&self) -> Result<(), DatabaseError> {
        self.around.database.replace_damaged().await?;
        projections::prepare(&self.around.database).await
    }

    /// Keeps one read model up to date until `stop`.
    async fn keep(
        &self,
        projection: &'static dyn Projection,
        stop: &CancellationToken,
    ) -> Result<(), ProjectorError> {
        let model = projection.model();
        let Some(builds) = self.builds.get(model.name) else {
            return Ok(());
        };
        let mut asked = builds.asked.subscribe();
        let mut retry = Retry::new(model.name);
        let mut build = Build::IfNeeded;
        while !stop.is_cancelled() {
            if *asked.borrow() {
                build = Build::Anew;
            }
            let plan = match self.plan(model, build).await {
                Ok(plan) => plan,
                Err(error) => {
                    retry.pause_after(&error, stop).await;
                    if error.fault() == Fault::Missing && !stop.is_cancelled() {
                        // Somebody dropped our tables. If this fails too, the next round sees it.
                        let _ = self.prepare().await;
                    }
                    continue;
                }
            };
            build = Build::IfNeeded;
            let done = match plan {
                Plan::Follow(live) => self.follow(projection, &live, &mut asked, stop).await,
                Plan::Build { live, building } => {
                    let done = self.build(projection, live.as_ref(), &building, stop).await;
                    if matches!(done, Ok(Ok(()))) {
                        // Who asked while it was built has what they wanted.
                        builds.asked.send_replace(false);
                        builds.completed.send_modify(|completed| *completed += 1);
                    }
                    done
                }
            };
            match done {
                Ok(Ok(()) | Err(Stop::Asked)) => retry.succeeded(),
                Ok(Err(Stop::OtherOwner)) => {
                    return Err(ProjectorError::OtherOwner { name: model.name });
                }
                Ok(Err(Stop::Lost)) => build = Build::Anew,
                Err(error) => retry.pause_after(&error, stop).await,
            }
        }
        Ok(())
    }

    /// Reads what generations there are and decides what to do with them; begins a new one where
    /// one is needed.
    async fn plan(&self, model: &'static Model, build: Build) -> Result<Plan, DatabaseError> {
        let mut ours = self.generations(model).await?;
        let head = *self.around.store.head().borrow();
        if ours.iter().any(|checkpoint| checkpoint.position > head) {
            tracing::error!(
                projection = model.name,
                head = head.0,
                "the read model is ahead of the log, so that it is of another log; it is built again"
            );
            let mut transaction = self.around.database.write().await?;
            projections::discard(&mut transaction, model).await?;
            transaction.commit().await?;
            ours.clear();
        }
        let version = u64::from(model.version);
        let current = |checkpoint: &&Checkpoint| checkpoint.version == version;
        let live = ours
            .iter()
            .find(|checkpoint| checkpoint.state == ProjectionState::Live)
            .filter(current)
            .cloned();
        let building = ours
            .iter()
            .find(|checkpoint| checkpoint.state == ProjectionState::Building)
            .filter(current)
            .cloned();
        match (live, building, build) {
            (live, Some(building), Build::IfNeeded) => Ok(Plan::Build { live, building }),
            (Some(live), None, Build::IfNeeded) => Ok(Plan::Follow(live)),
            (live, _, Build::Anew) | (live @ None, None, Build::IfNeeded) => {
                let mut transaction = self.around.database.write().await?;
                let now = self.around.clock.now();
                let number = projections::begin_build(&mut transaction, model, now).await?;
                transaction.commit().await?;
                tracing::info!(
                    projection = model.name,
                    generation = number,
                    head = head.0,
                    "a read model is built from the log"
                );
                let building = Checkpoint {
                    name: model.name.to_owned(),
                    generation: number,
                    version,
                    position: Position::ZERO,
                    state: ProjectionState::Building,
                    parked: 0,
                };
                Ok(Plan::Build { live, building })
            }
        }
    }

    async fn generations(&self, model: &Model) -> Result<Vec<Checkpoint>, DatabaseError> {
        let mut checkpoints = projections::checkpoints(&self.around.database).await?;
        checkpoints.retain(|checkpoint| checkpoint.name == model.name);
        Ok(checkpoints)
    }

    /// Follows the log until `stop`, or until a build is asked for.
    async fn follow(
        &self,
        projection: &'static dyn Projection,
        live: &Checkpoint,
        asked: &mut watch::Receiver<bool>,
        stop: &CancellationToken,
    ) -> Result<Result<(), Stop>, DatabaseError> {
        let stop = stop.child_token();
        let mut generation = self.open(projection, live, &stop).await?;
        let asked = async {
            tokio::select! {
                _ = asked.wait_for(|asked| *asked) => stop.cancel(),
                () = stop.cancelled() => {}
            }
        };
        let followed = async {
            let why = generation.follow().await;
            stop.cancel();
            why
        };
        let (why, ()) = tokio::join!(followed, asked);
        Ok(Err(why))
    }

    /// Fills `building` until it has all that the log has, while the live one goes on; then puts it
    /// in its place.
    async fn build(
        &self,
        projection: &'static dyn Projection,
        live: Option<&Checkpoint>,
        building: &Checkpoint,
        stop: &CancellationToken,
    ) -> Result<Result<(), Stop>, DatabaseError> {
        let stop_live = stop.child_token();
        let mut next = self.open(projection, building, stop).await?;
        if live.is_some() {
            next = next.beside_live();
        }
        let filled = async {
            let filled = next.catch_up().await;
            stop_live.cancel();
            filled
        };
        let went_on = async {
            match live {
                Some(live) => {
                    let mut live = self.open(projection, live, &stop_live).await?;
                    Ok(live.follow().await)
                }
                None => Ok(Stop::Asked),
            }
        };
        let (filled, live_stopped) = tokio::join!(filled, went_on);
        let done = async {
            filled?;
            match live_stopped {
                Ok(Stop::OtherOwner) => return Err(Stop::OtherOwner),
                // Without its tables it answers nothing; the new one will.
                Ok(Stop::Asked | Stop::Lost) => {}
                Err(error) => tracing::warn!(
                    projection = projection.model().name,
                    error = chain(&error as &DatabaseError),
                    "the live read model stood still while its successor was built"
                ),
            }
            // The live one is not ahead of the log, so that this makes up for what it did last.
            next.catch_up().await?;
            next.swap().await?;
            tracing::info!(
                projection = projection.model().name,
                generation = building.generation,
                position = next.position().0,
                "a read model is complete and answers queries"
            );
            Ok(())
        };
        Ok(done.await)
    }

    async fn open(
        &self,
        projection: &'static dyn Projection,
        checkpoint: &Checkpoint,
        stop: &CancellationToken,
    ) -> Result<Generation, DatabaseError> {
        Generation::open(self.around.clone(), projection, checkpoint, stop.clone()).await
    }
}

#[derive(Clone, Copy)]
enum Build {
    /// Where there is no complete one of our version.
    IfNeeded,
    /// From the beginning, beside what there is.
    Anew,
}

enum Plan {
    Follow(Checkpoint),
    Build {
        /// The one that answers queries, if it is of our version.
        live: Option<Checkpoint>,
        building: Checkpoint,
    },
}

/// A build that was asked for.
pub struct Rebuild {
    projector: Projector,
    name: &'static str,
    completed: watch::Receiver<u64>,
    before: u64,
}

impl Rebuild {
    /// Waits until it is complete. Never ends while nobody calls [`Projector::run`].
    pub async fn done(&mut self) {
        let before = self.before;
        // The projector in `self` keeps the sender.
        let _ = self
            .completed
            .wait_for(|completed| *completed > before)
            .await;
    }

    /// Whether it is complete.
    pub fn is_done(&self) -> bool {
        *self.completed.borrow() > self.before
    }

    /// How far it is: the position it has reached and the one it must reach. `None` before it has
    /// begun and after it is complete.
    pub async fn progress(&self) -> Result<Option<(Position, Position)>, Failure> {
        let status = self.projector.status().await?;
        Ok(status
            .into_iter()
            .find(|status| status.name == self.name && status.state == ProjectionState::Building)
            .map(|status| (status.position, status.head)))
    }
}
