//! Values on their way into statements and out of rows.

use chrono::{DateTime, Utc};
use domain::{AttachmentId, ConversationId, Position, ServiceId, SessionId, UserId, Version};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use crate::database::DatabaseError;

/// A value for a `$n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number: BIGINT.
    Int(i64),
    /// Text.
    Text(String),
    /// An id: text in SQLite, `uuid` in PostgreSQL.
    Id(Uuid),
    /// A moment: RFC 3339 with microseconds in SQLite, `timestamptz` in PostgreSQL.
    Time(DateTime<Utc>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    /// No row has a number above `i64::MAX`, so that cutting there compares the same.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<Version> for Value {
    fn from(value: Version) -> Self {
        Self::from(value.0)
    }
}

impl From<Position> for Value {
    fn from(value: Position) -> Self {
        Self::from(value.0)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<UserId> for Value {
    fn from(value: UserId) -> Self {
        Self::Id(value.0)
    }
}

impl From<ConversationId> for Value {
    fn from(value: ConversationId) -> Self {
        Self::Id(value.0)
    }
}

impl From<AttachmentId> for Value {
    fn from(value: AttachmentId) -> Self {
        Self::Id(value.0)
    }
}

impl From<SessionId> for Value {
    fn from(value: SessionId) -> Self {
        Self::Id(value.0)
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Time(value)
    }
}

/// A value that is kept as its JSON in a column of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsJson<T>(pub T);

impl<T: Serialize> Serialize for AsJson<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<T: DeserializeOwned> FromColumn for AsJson<T> {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        let text = String::from_column(row, name)?;
        serde_json::from_str(&text)
            .map(Self)
            .map_err(|error| decode_error(name, error))
    }
}

/// A row of an answer.
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of column `name`. A missing column or another type is a defect.
    pub fn get<T: FromColumn>(&self, name: &str) -> Result<T, DatabaseError> {
        T::from_column(self, name).map_err(|error| DatabaseError::new("read a row", error))
    }

    fn is_null(&self, name: &str) -> Result<bool, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get_raw(name)?.is_null(),
            Self::Postgres(row) => row.try_get_raw(name)?.is_null(),
        })
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// Reads column `name` of `row`.
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error>;
}

fn decode_error(
    name: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: name.to_owned(),
        source: source.into(),
    }
}

impl FromColumn for i64 {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(name),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

impl FromColumn for u64 {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Self::try_from(i64::from_column(row, name)?).map_err(|error| decode_error(name, error))
    }
}

impl FromColumn for bool {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get::<i64, _>(name).map(|value| value != 0),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

impl FromColumn for String {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(name),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

impl FromColumn for Uuid {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row
                .try_get::<&str, _>(name)?
                .parse()
                .map_err(|error: uuid::Error| decode_error(name, error)),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

impl FromColumn for DateTime<Utc> {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => DateTime::parse_from_rfc3339(row.try_get::<&str, _>(name)?)
                .map(|time| time.to_utc())
                .map_err(|error| decode_error(name, error)),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

impl FromColumn for UserId {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Uuid::from_column(row, name).map(Self)
    }
}

impl FromColumn for ServiceId {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Uuid::from_column(row, name).map(Self)
    }
}

impl FromColumn for ConversationId {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Uuid::from_column(row, name).map(Self)
    }
}

impl FromColumn for AttachmentId {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Uuid::from_column(row, name).map(Self)
    }
}

impl FromColumn for SessionId {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Uuid::from_column(row, name).map(Self)
    }
}

impl FromColumn for Version {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        u64::from_column(row, name).map(Self)
    }
}

impl FromColumn for Position {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        u64::from_column(row, name).map(Self)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        if row.is_null(name)? {
            Ok(None)
        } else {
            T::from_column(row, name).map(Some)
        }
    }
}
