//! Users: who is called what.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::UserId;
use domain::user::SystemRole;
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, Value, id, int, micros, text, time,
};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "users",
    version: 1,
    category: "user",
    tables: &[&USERS],
};

const USERS: Table = Table {
    name: "users",
    columns: &[
        id("id"),
        text("handle"),
        text("display_name"),
        text("email").nullable(),
        text("system_roles"),
        text("imported_from").nullable(),
        time("registered_at"),
        int("registered_position"),
    ],
    key: &["id"],
    indexes: &[Index {
        name: "by_handle",
        columns: "handle",
        condition: None,
    }],
};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The unique name.
    pub handle: String,
    /// What they want to be called.
    pub display_name: String,
    /// Their address, for themselves only.
    pub email: Option<String>,
    /// What they may do on the whole server; stored as names between spaces.
    #[serde(serialize_with = "joined")]
    pub system_roles: BTreeSet<SystemRole>,
    /// Where the account came from, if it was imported.
    pub imported_from: Option<String>,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub registered_at: DateTime<Utc>,
    /// In the log.
    pub registered_position: domain::Position,
}

const fn role_name(role: SystemRole) -> &'static str {
    match role {
        SystemRole::Owner => "owner",
        SystemRole::Admin => "admin",
        SystemRole::Auditor => "auditor",
    }
}

fn joined<S: serde::Serializer>(
    roles: &BTreeSet<SystemRole>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let names: Vec<&str> = roles.iter().map(|role| role_name(*role)).collect();
    serializer.serialize_str(&names.join(" "))
}

impl User {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let roles: String = row.get("system_roles")?;
        Ok(Self {
            id: row.get("id")?,
            handle: row.get("handle")?,
            display_name: row.get("display_name")?,
            email: row.get("email")?,
            system_roles: roles
                .split_whitespace()
                .map(parse_stored)
                .collect::<Result<_, _>>()?,
            imported_from: row.get("imported_from")?,
            registered_at: row.get("registered_at")?,
            registered_position: row.get("registered_position")?,
        })
    }
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = UserId>,
) -> Result<Vec<User>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        id: UserId,
    }
    let keys: Vec<Key> = ids.into_iter().map(|id| Key { id }).collect();
    USERS
        .load(transaction, generation, &["id"], &keys)
        .await?
        .iter()
        .map(User::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    users: &[User],
) -> Result<(), DatabaseError> {
    USERS.upsert(transaction, generation, users).await
}

/// One user.
pub async fn one(snapshot: &mut Snapshot, user: UserId) -> Result<Option<User>, ReadError> {
    select(snapshot, "id = $1", user.into()).await
}

/// The user with this handle, in lower case.
pub async fn by_handle(snapshot: &mut Snapshot, handle: &str) -> Result<Option<User>, ReadError> {
    select(snapshot, "handle = $1", handle.into()).await
}

async fn select(
    snapshot: &mut Snapshot,
    wanted: &str,
    value: Value,
) -> Result<Option<User>, ReadError> {
    let columns: Vec<&str> = USERS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM users WHERE {wanted} ORDER BY registered_position LIMIT 1",
        columns.join(", ")
    );
    let row = snapshot.first(&sql, &[value]).await?;
    Ok(row.as_ref().map(User::from_row).transpose()?)
}
