//! Services: which there are and what they may do. Their tokens are not here, nor their hashes.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::service::Scope;
use domain::{Position, ServiceId, UserId};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, id, int, micros, micros_if_any, text, time,
};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "services",
    version: 1,
    category: "service",
    tables: &[&SERVICES],
};

const SERVICES: Table = Table {
    name: "services",
    columns: &[
        id("id"),
        text("name"),
        text("scopes"),
        id("account").nullable(),
        text("created_by"),
        time("created_at"),
        int("created_position"),
        int("generation"),
        time("issued_at").nullable(),
        time("expires_at").nullable(),
        time("revoked_at").nullable(),
    ],
    key: &["id"],
    indexes: &[Index {
        name: "by_creation",
        columns: "created_position",
        condition: None,
    }],
};

/// A row of `services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Which.
    pub id: ServiceId,
    /// What it is called.
    pub name: String,
    /// What it may do; stored as names between spaces.
    #[serde(serialize_with = "joined")]
    pub scopes: BTreeSet<Scope>,
    /// The user as whom it acts, where it is a bot.
    pub account: Option<UserId>,
    /// Who made it: an actor.
    pub created_by: String,
    /// When.
    #[serde(serialize_with = "micros")]
    pub created_at: DateTime<Utc>,
    /// In the log.
    pub created_position: Position,
    /// How many tokens it has had.
    pub generation: u64,
    /// Since when it has the one it has.
    #[serde(serialize_with = "micros_if_any")]
    pub issued_at: Option<DateTime<Utc>>,
    /// When that one is worth nothing any more.
    #[serde(serialize_with = "micros_if_any")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was ended.
    #[serde(serialize_with = "micros_if_any")]
    pub revoked_at: Option<DateTime<Utc>>,
}

const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Auditor => "auditor",
        Scope::Analyst => "analyst",
        Scope::Bot => "bot",
        Scope::Importer => "importer",
    }
}

fn joined<S: serde::Serializer>(
    scopes: &BTreeSet<Scope>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let names: Vec<&str> = scopes.iter().map(|scope| scope_name(*scope)).collect();
    serializer.serialize_str(&names.join(" "))
}

impl Service {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let scopes: String = row.get("scopes")?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            scopes: scopes
                .split_whitespace()
                .map(parse_stored)
                .collect::<Result<_, _>>()?,
            account: row.get("account")?,
            created_by: row.get("created_by")?,
            created_at: row.get("created_at")?,
            created_position: row.get("created_position")?,
            generation: row.get("generation")?,
            issued_at: row.get("issued_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = ServiceId>,
) -> Result<Vec<Service>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        id: ServiceId,
    }
    let keys: Vec<Key> = ids.into_iter().map(|id| Key { id }).collect();
    SERVICES
        .load(transaction, generation, &["id"], &keys)
        .await?
        .iter()
        .map(Service::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    services: &[Service],
) -> Result<(), DatabaseError> {
    SERVICES.upsert(transaction, generation, services).await
}

/// Services in the order in which they were made: up to `limit`, those after `after`.
pub async fn page(
    snapshot: &mut Snapshot,
    after: Position,
    limit: usize,
) -> Result<Vec<Service>, ReadError> {
    let columns: Vec<&str> = SERVICES.column_list().collect();
    let sql = format!(
        "SELECT {} FROM services WHERE created_position > $1 ORDER BY created_position LIMIT $2",
        columns.join(", ")
    );
    let rows = snapshot.all(&sql, &[after.into(), limit.into()]).await?;
    Ok(rows
        .iter()
        .map(Service::from_row)
        .collect::<Result<_, _>>()?)
}
