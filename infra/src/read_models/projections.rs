//! The projections' own tables: how far each read model is (`projections`) and what could not be
//! applied to it (`parked`). Written by the projector, in the transactions of the rows.

use chrono::{DateTime, Utc};
use domain::{Position, StreamName};
use serde::Serialize;

use crate::database::{Database, DatabaseError, Dialect, Shape, Transaction, Value};
use crate::read_models::Model;

/// What a generation of a read model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionState {
    /// It answers queries.
    Live,
    /// It is filled, beside the live one or before there is one.
    Building,
}

impl ProjectionState {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Building => "building",
        }
    }
}

/// A generation of a read model, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of which model.
    pub name: String,
    /// Which tables: `{table}_g{generation}`.
    pub generation: u64,
    /// The model's version when they were made.
    pub version: u64,
    /// Everything up to here is in them.
    pub position: Position,
    /// What it is for.
    pub state: ProjectionState,
    /// Streams that are left out because one of their events could not be applied.
    pub parked: u64,
}

/// A stream that a read model leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The stream, as it is named in the log.
    pub stream: String,
    /// The position of the event that could not be applied.
    pub position: Position,
    /// Why.
    pub reason: String,
}

/// Longest reason that is kept, in characters.
const REASON_CHARACTERS_MAX: usize = 500;

/// Makes the tables where they are missing.
pub async fn prepare(database: &Database) -> Result<(), DatabaseError> {
    let (int, time) = match database.dialect() {
        Dialect::Sqlite => ("INTEGER", "TEXT"),
        Dialect::Postgres => ("bigint", "timestamptz"),
    };
    let mut transaction = database.write().await?;
    if database.dialect() == Dialect::Postgres {
        // Two projectors that start together would make the tables at the same time.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('verbatim projections'))";
        transaction.run(lock, &[]).await?;
    }
    for sql in [
        format!(
            "CREATE TABLE IF NOT EXISTS projections (name TEXT NOT NULL, \
             generation {int} NOT NULL, version {int} NOT NULL, position {int} NOT NULL, \
             state TEXT NOT NULL, updated_at {time} NOT NULL, PRIMARY KEY (name, generation))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS parked (name TEXT NOT NULL, generation {int} NOT NULL, \
             stream TEXT NOT NULL, position {int} NOT NULL, reason TEXT NOT NULL, \
             parked_at {time} NOT NULL, PRIMARY KEY (name, generation, stream))"
        ),
    ] {
        transaction.run(&sql, &[]).await?;
    }
    transaction.commit().await
}

/// Every generation of every model, in the order of names and generations.
pub async fn checkpoints(database: &Database) -> Result<Vec<Checkpoint>, DatabaseError> {
    let mut transaction = database.read().await?;
    let rows = transaction
        .all(
            "SELECT name, generation, version, position, state, \
             (SELECT count(*) FROM parked AS k \
              WHERE k.name = p.name AND k.generation = p.generation) AS parked \
             FROM projections AS p ORDER BY name, generation",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let state: String = row.get("state")?;
            Ok(Checkpoint {
                name: row.get("name")?,
                generation: row.get("generation")?,
                version: row.get("version")?,
                position: row.get("position")?,
                state: if state == ProjectionState::Live.as_str() {
                    ProjectionState::Live
                } else {
                    ProjectionState::Building
                },
                parked: row.get("parked")?,
            })
        })
        .collect()
}

/// The least position of the live generations of `models`; `None` where one has none.
pub(super) async fn live_position(
    transaction: &mut Transaction,
    models: &[&Model],
) -> Result<Option<Position>, DatabaseError> {
    let names: Vec<String> = models
        .iter()
        .map(|model| format!("'{}'", model.name))
        .collect();
    let sql = format!(
        "SELECT count(*) AS models, min(position) AS position FROM projections \
         WHERE state = 'live' AND name IN ({})",
        names.join(", ")
    );
    let Some(row) = transaction.first(&sql, &[]).await? else {
        return Ok(None);
    };
    let found: u64 = row.get("models")?;
    if found < models.len() as u64 {
        return Ok(None);
    }
    row.get("position")
}

/// Begins a new generation of `model`, empty, beside what there is; earlier ones that were never
/// completed are dropped.
pub async fn begin_build(
    transaction: &mut Transaction,
    model: &Model,
    now: DateTime<Utc>,
) -> Result<u64, DatabaseError> {
    let rows = transaction
        .all(
            "SELECT generation, state FROM projections WHERE name = $1 ORDER BY generation",
            &[model.name.into()],
        )
        .await?;
    let mut next = 1;
    for row in rows {
        let generation: u64 = row.get("generation")?;
        next = generation + 1;
        if row.get::<String>("state")? == ProjectionState::Building.as_str() {
            forget(transaction, model, generation).await?;
        }
    }
    for table in model.tables {
        table.create(transaction, next).await?;
    }
    let sql = "INSERT INTO projections (name, generation, version, position, state, updated_at) \
               VALUES ($1, $2, $3, 0, 'building', $4)";
    let values = [
        model.name.into(),
        next.into(),
        u64::from(model.version).into(),
        now.into(),
    ];
    transaction.run(sql, &values).await?;
    Ok(next)
}

/// Moves a checkpoint. `false`: it is not where it was left, so that somebody else moves it too.
pub async fn advance(
    transaction: &mut Transaction,
    model: &Model,
    generation: u64,
    from: Position,
    to: Position,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let sql = "UPDATE projections SET position = $1, updated_at = $2 \
               WHERE name = $3 AND generation = $4 AND position = $5";
    let values = [
        to.into(),
        now.into(),
        model.name.into(),
        generation.into(),
        from.into(),
    ];
    Ok(transaction.run(sql, &values).await? == 1)
}

/// Makes generation `generation` the one that answers queries and drops the one that did.
/// `false`: the generation is not there to be shown, so that somebody else works on it too.
pub async fn swap(
    transaction: &mut Transaction,
    model: &Model,
    generation: u64,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let others = transaction
        .all(
            "SELECT generation, version FROM projections WHERE name = $1 AND generation <> $2",
            &[model.name.into(), generation.into()],
        )
        .await?;
    let mut shape = Shape::Same;
    for other in &others {
        if other.get::<u64>("version")? != u64::from(model.version) {
            shape = Shape::MayDiffer;
        }
    }
    for table in model.tables {
        table.show(transaction, generation, shape).await?;
    }
    for other in &others {
        forget(transaction, model, other.get("generation")?).await?;
    }
    let sql = "UPDATE projections SET state = 'live', updated_at = $1 \
               WHERE name = $2 AND generation = $3 AND state = 'building'";
    let values = [now.into(), model.name.into(), generation.into()];
    Ok(transaction.run(sql, &values).await? == 1)
}

/// Drops all generations of `model`, and the views that show them: it then answers nothing.
pub async fn discard(transaction: &mut Transaction, model: &Model) -> Result<(), DatabaseError> {
    let rows = transaction
        .all(
            "SELECT generation FROM projections WHERE name = $1",
            &[model.name.into()],
        )
        .await?;
    for table in model.tables {
        let sql = format!("DROP VIEW IF EXISTS {}", table.name);
        transaction.run(&sql, &[]).await?;
    }
    for row in rows {
        forget(transaction, model, row.get("generation")?).await?;
    }
    Ok(())
}

async fn forget(
    transaction: &mut Transaction,
    model: &Model,
    generation: u64,
) -> Result<(), DatabaseError> {
    for table in model.tables {
        table.drop(transaction, generation).await?;
    }
    let values: [Value; 2] = [model.name.into(), generation.into()];
    for sql in [
        "DELETE FROM parked WHERE name = $1 AND generation = $2",
        "DELETE FROM projections WHERE name = $1 AND generation = $2",
    ] {
        transaction.run(sql, &values).await?;
    }
    Ok(())
}

/// Leaves a stream out of a generation from the event on that could not be applied.
pub async fn park(
    transaction: &mut Transaction,
    model: &Model,
    generation: u64,
    parked: &Parked,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO parked (name, generation, stream, position, reason, parked_at) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let reason: String = parked
        .reason
        .replace('\0', "\u{fffd}")
        .chars()
        .take(REASON_CHARACTERS_MAX)
        .collect();
    let values = [
        model.name.into(),
        generation.into(),
        parked.stream.as_str().into(),
        parked.position.into(),
        Value::Text(reason),
        now.into(),
    ];
    transaction.run(sql, &values).await.map(drop)
}

/// The streams that a generation leaves out, in the order of their names.
pub async fn parked(
    database: &Database,
    model: &Model,
    generation: u64,
) -> Result<Vec<Parked>, DatabaseError> {
    let mut transaction = database.read().await?;
    let rows = transaction
        .all(
            "SELECT stream, position, reason FROM parked WHERE name = $1 AND generation = $2 \
             ORDER BY stream",
            &[model.name.into(), generation.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Parked {
                stream: row.get("stream")?,
                position: row.get("position")?,
                reason: row.get("reason")?,
            })
        })
        .collect()
}

impl Parked {
    /// The event at `position` of `stream` could not be applied because of `reason`.
    pub fn new(stream: &StreamName, position: Position, reason: &impl ToString) -> Self {
        Self {
            stream: stream.as_str().to_owned(),
            position,
            reason: reason.to_string(),
        }
    }
}
