//! Reading several read models at one moment, and waiting for them to come that far.

use std::time::Duration;

use domain::Position;
use serde::Serialize;
use tokio::time::Instant;

use axum::http::StatusCode;

use crate::database::{Database, DatabaseError, Dialect, Fault, Row, Table, Transaction, Value};
use crate::problem::Problem;
use crate::read_models::{Model, projections};

/// Longest wait for a position; who waited so long is told that the read models are behind.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often the checkpoints are read while waiting for another process to move them.
const POLL: Duration = Duration::from_millis(50);

/// Read models that have not come as far as was asked, or are being built.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", match .at {
    Some(at) => format!("the read models are at position {at}; ask again in a moment"),
    None => "the read models are being built from the log; ask again in a moment".to_owned(),
})]
pub struct Behind {
    /// Where the slowest is; `None` where one is built for the first time.
    pub at: Option<Position>,
}

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there yet.
    #[error(transparent)]
    Behind(#[from] Behind),
    /// The database could not.
    #[error(transparent)]
    Database(DatabaseError),
}

impl From<DatabaseError> for ReadError {
    /// A missing table is one that is built, a damaged file one that is replaced.
    fn from(error: DatabaseError) -> Self {
        match error.fault() {
            Fault::Missing | Fault::Damaged => Self::Behind(Behind { at: None }),
            Fault::Full | Fault::Away | Fault::Refused | Fault::Defect => Self::Database(error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Behind(behind) => {
                let mut problem = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "read_model_behind",
                    "The read models are behind",
                )
                .with_detail(&behind);
                problem.retry_after_s = Some(if behind.at.is_some() { 1 } else { 5 });
                problem
            }
            ReadError::Database(error) => crate::failure::Failure::from(error).into(),
        }
    }
}

/// Several read models as they stand at one moment: all rows of one snapshot of the database.
pub struct Snapshot {
    transaction: Transaction,
    position: Position,
}

impl Snapshot {
    /// Takes a snapshot of `models`, all of which are complete.
    pub async fn of(database: &Database, models: &[&Model]) -> Result<Self, ReadError> {
        let mut transaction = database.read().await?;
        if transaction.dialect() == Dialect::Postgres {
            // The catalogue does not stand still with the snapshot: keep the views as they are, so
            // that a swap cannot put a model in our way that this snapshot sees half built.
            let views: Vec<&str> = models
                .iter()
                .flat_map(|model| model.tables)
                .map(|table| table.name)
                .collect();
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", views.join(", "));
            transaction.run(&lock, &[]).await?;
        }
        let position = projections::live_position(&mut transaction, models)
            .await?
            .ok_or(Behind { at: None })?;
        Ok(Self {
            transaction,
            position,
        })
    }

    /// Everything up to here is in what is read: the least checkpoint of the models.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        self.transaction.dialect()
    }

    /// Every row of a query.
    pub async fn all(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, ReadError> {
        Ok(self.transaction.all(sql, values).await?)
    }

    /// The rows of `table` that agree with one of `keys` in the columns `by`, in any order. `keys` are
    /// objects with those columns, no two alike.
    pub async fn keyed(
        &mut self,
        table: &Table,
        by: &[&str],
        keys: &[impl Serialize],
    ) -> Result<Vec<Row>, ReadError> {
        let found = table.load_live(&mut self.transaction, by, keys).await;
        Ok(found?)
    }

    /// The first row of a query, if it has one.
    pub async fn first(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, ReadError> {
        Ok(self.transaction.first(sql, values).await?)
    }
}

/// Waits until all of `models` have everything up to `position`; says where the slowest is then.
/// Waits no longer than `longest`, nor than [`WAIT_MAX`]. It is for whoever can wait: a projector rests
/// meanwhile as it does under load.
pub async fn wait_for(
    database: &Database,
    models: &[&Model],
    position: Position,
    longest: Duration,
) -> Result<Position, ReadError> {
    wait(database, models, position, longest, Rests::Allowed).await
}

/// The same for a person who waits for the answer: a projector in this process does not rest meanwhile.
pub async fn hurry_to(
    database: &Database,
    models: &[&Model],
    position: Position,
    longest: Duration,
) -> Result<Position, ReadError> {
    wait(database, models, position, longest, Rests::Cut).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rests {
    Allowed,
    Cut,
}

async fn wait(
    database: &Database,
    models: &[&Model],
    position: Position,
    longest: Duration,
    rests: Rests,
) -> Result<Position, ReadError> {
    let deadline = Instant::now() + longest.min(WAIT_MAX);
    let mut progress = database.progress();
    let mut hurry = None;
    loop {
        progress.borrow_and_update();
        match live_position(database, models).await {
            Ok(Some(at)) if at >= position => return Ok(at),
            Ok(at) if Instant::now() >= deadline => return Err(Behind { at }.into()),
            // Before the first build there are no tables.
            Err(ReadError::Behind(_)) if Instant::now() < deadline => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if rests == Rests::Cut {
            hurry.get_or_insert_with(|| database.hurry(models.iter().map(|model| model.name)));
        }
        let until = (Instant::now() + POLL).min(deadline);
        // The database keeps the sender, so that an error cannot come; a timeout reads again.
        let _ = tokio::time::timeout_at(until, progress.changed()).await;
    }
}

/// Where the slowest of `models` is now.
async fn live_position(
    database: &Database,
    models: &[&Model],
) -> Result<Option<Position>, ReadError> {
    let mut transaction = database.read().await?;
    Ok(projections::live_position(&mut transaction, models).await?)
}
