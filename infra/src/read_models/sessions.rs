//! Sessions: who is logged in where. That a session has ended together with all others of its user does
//! not stand here but in the account, so that it is one event however many sessions there are: whoever
//! asks says which login epoch the account is in.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use domain::user::Account;
use domain::{Position, SessionId, UserId, Version};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, Value, id, int, micros, micros_if_any, text,
    time,
};
use crate::read_models::{Model, ReadError, Snapshot};

/// The read model.
pub const MODEL: Model = Model {
    name: "sessions",
    version: 3,
    category: "session",
    tables: &[&SESSIONS],
};

const SESSIONS: Table = Table {
    name: "sessions",
    columns: &[
        id("id"),
        id("user_id"),
        text("device").nullable(),
        text("address").nullable(),
        time("opened_at"),
        int("opened_position"),
        time("last_used_at"),
        time("expires_at"),
        int("login_epoch"),
        text("issuer").nullable(),
        int("linked_version").nullable(),
        time("revoked_at").nullable(),
    ],
    key: &["id"],
    indexes: &[
        Index {
            name: "by_user",
            columns: "user_id, opened_position",
            condition: None,
        },
        Index {
            name: "by_use",
            columns: "user_id, last_used_at",
            condition: None,
        },
    ],
};

/// A row of `sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// What the client calls its device.
    pub device: Option<String>,
    /// Where it was last.
    pub address: Option<String>,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub opened_at: DateTime<Utc>,
    /// In the log.
    pub opened_position: Position,
    /// When it was opened or refreshed last.
    #[serde(serialize_with = "micros")]
    pub last_used_at: DateTime<Utc>,
    /// When it ends by itself.
    #[serde(serialize_with = "micros")]
    pub expires_at: DateTime<Utc>,
    /// The account's login epoch when what opened it was checked.
    pub login_epoch: u32,
    /// On whose word it was opened; `None` for one by means of our own.
    pub issuer: Option<String>,
    /// Where in the user's stream the identity was linked that vouched for it.
    pub linked_version: Option<Version>,
    /// When it was ended by itself, not together with others.
    #[serde(serialize_with = "micros_if_any")]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Session {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let login_epoch: u64 = row.get("login_epoch")?;
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            device: row.get("device")?,
            address: row.get("address")?,
            opened_at: row.get("opened_at")?,
            opened_position: row.get("opened_position")?,
            last_used_at: row.get("last_used_at")?,
            expires_at: row.get("expires_at")?,
            login_epoch: u32::try_from(login_epoch).map_err(DatabaseError::unreadable)?,
            issuer: row.get("issuer")?,
            linked_version: row.get("linked_version")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = SessionId>,
) -> Result<Vec<Session>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        id: SessionId,
    }
    let keys: Vec<Key> = ids.into_iter().map(|id| Key { id }).collect();
    SESSIONS
        .load(transaction, generation, &["id"], &keys)
        .await?
        .iter()
        .map(Session::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    sessions: &[Session],
) -> Result<(), DatabaseError> {
    SESSIONS.upsert(transaction, generation, sessions).await
}

/// The sessions of `user` that are good at `now`, the newest first: up to `limit`, those opened before
/// position `before`. `account` says which epochs have ended, and whose word is no way in any more.
pub async fn active(
    snapshot: &mut Snapshot,
    user: UserId,
    account: &Account,
    now: DateTime<Utc>,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Session>, ReadError> {
    let columns: Vec<&str> = SESSIONS.column_list().collect();
    let mut vouched = String::new();
    let mut linked = Vec::new();
    for (issuer, since) in account.linked() {
        let (issuer_at, since_at) = (7 + linked.len(), 8 + linked.len());
        let _ = write!(
            vouched,
            " OR (issuer = ${issuer_at} AND linked_version = ${since_at})"
        );
        linked.extend([Value::from(issuer.as_str()), since.0.into()]);
    }
    let sql = format!(
        "SELECT {} FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 \
         AND (login_epoch >= $3 OR id = $4) AND opened_position < $5 AND (issuer IS NULL{vouched}) \
         ORDER BY opened_position DESC LIMIT $6",
        columns.join(", ")
    );
    // No session is called nil.
    let nobody = SessionId(uuid::Uuid::nil());
    let mut values: Vec<Value> = vec![
        user.into(),
        now.into(),
        u64::from(account.login_epoch).into(),
        account.kept_session.unwrap_or(nobody).into(),
        before.map_or(i64::MAX.into(), Value::from),
        limit.into(),
    ];
    values.append(&mut linked);
    let rows = snapshot.all(&sql, &values).await?;
    Ok(rows
        .iter()
        .map(Session::from_row)
        .collect::<Result<_, _>>()?)
}

/// When `user` last opened or refreshed a session, if ever.
pub async fn last_used(
    snapshot: &mut Snapshot,
    user: UserId,
) -> Result<Option<DateTime<Utc>>, ReadError> {
    let sql = "SELECT last_used_at FROM sessions WHERE user_id = $1 \
               ORDER BY last_used_at DESC LIMIT 1";
    let row = snapshot.first(sql, &[user.into()]).await?;
    Ok(row.map(|row| row.get("last_used_at")).transpose()?)
}
