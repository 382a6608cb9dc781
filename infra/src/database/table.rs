//! Tables as data, from which the text is made where the dialects differ: definitions, and batches
//! of rows that travel as one JSON value.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::database::{DatabaseError, Dialect, Row, Transaction, Value};

/// Rows in one statement at most; more are written in several, in the same transaction.
const STATEMENT_ROWS_MAX: usize = 5_000;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    sort: Sort,
    nullable: bool,
}

#[derive(Clone, Copy, Debug)]
enum Sort {
    Id,
    Int,
    Text,
    Time,
    Flag,
}

impl Column {
    const fn new(name: &'static str, sort: Sort) -> Self {
        Self {
            name,
            sort,
            nullable: false,
        }
    }

    /// The same column, which may be empty.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    const fn sql_type(self, dialect: Dialect) -> &'static str {
        match (dialect, self.sort) {
            (Dialect::Sqlite, Sort::Id | Sort::Text | Sort::Time) => "TEXT",
            (Dialect::Sqlite, Sort::Int | Sort::Flag) => "INTEGER",
            (Dialect::Postgres, Sort::Id) => "uuid",
            (Dialect::Postgres, Sort::Int) => "bigint",
            (Dialect::Postgres, Sort::Text) => "text",
            (Dialect::Postgres, Sort::Time) => "timestamptz",
            (Dialect::Postgres, Sort::Flag) => "boolean",
        }
    }
}

/// A column of ids.
pub const fn id(name: &'static str) -> Column {
    Column::new(name, Sort::Id)
}

/// A column of whole numbers.
pub const fn int(name: &'static str) -> Column {
    Column::new(name, Sort::Int)
}

/// A column of text; compared byte by byte.
pub const fn text(name: &'static str) -> Column {
    Column::new(name, Sort::Text)
}

/// A column of moments.
pub const fn time(name: &'static str) -> Column {
    Column::new(name, Sort::Time)
}

/// A column of yes or no.
pub const fn flag(name: &'static str) -> Column {
    Column::new(name, Sort::Flag)
}

/// An index besides the key.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its name after the table's.
    pub name: &'static str,
    /// Columns, separated by commas.
    pub columns: &'static str,
    /// Which rows it has; all of them where this is `None`.
    pub condition: Option<&'static str>,
}

/// A table. It exists in generations (`messages_g3`), of which the view with its plain name
/// (`messages`) shows the live one.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its plain name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// The columns that name a row.
    pub key: &'static [&'static str],
    /// Further indexes.
    pub indexes: &'static [Index],
}

impl Table {
    /// The name of generation `generation`.
    pub fn physical(&self, generation: u64) -> String {
        format!("{}_g{generation}", self.name)
    }

    /// Makes generation `generation`, empty.
    pub async fn create(
        &self,
        transaction: &mut Transaction,
        generation: u64,
    ) -> Result<(), DatabaseError> {
        self.drop(transaction, generation).await?;
        let dialect = transaction.dialect();
        let table = self.physical(generation);
        let mut sql = format!("CREATE TABLE {table} (");
        for column in self.columns {
            let null = if column.nullable { "" } else { " NOT NULL" };
            // Bytes decide the order, as in SQLite.
            let collation = match (dialect, column.sort) {
                (Dialect::Postgres, Sort::Text) => " COLLATE \"C\"",
                _ => "",
            };
            let kind = column.sql_type(dialect);
            let _ = write!(sql, "{} {kind}{collation}{null}, ", column.name);
        }
        let _ = write!(sql, "PRIMARY KEY ({}))", self.key.join(", "));
        if dialect == Dialect::Sqlite {
            // Rows lie in the order of the key: a page of a conversation is one place in the file.
            sql.push_str(" STRICT, WITHOUT ROWID");
        }
        transaction.run(&sql, &[]).await?;
        for index in self.indexes {
            let condition = index
                .condition
                .map_or(String::new(), |condition| format!(" WHERE {condition}"));
            let sql = format!(
                "CREATE INDEX {table}_{} ON {table} ({}){condition}",
                index.name, index.columns
            );
            transaction.run(&sql, &[]).await?;
        }
        Ok(())
    }

    /// Drops generation `generation` if it is there.
    pub async fn drop(
        &self,
        transaction: &mut Transaction,
        generation: u64,
    ) -> Result<(), DatabaseError> {
        let sql = format!("DROP TABLE IF EXISTS {}", self.physical(generation));
        transaction.run(&sql, &[]).await.map(drop)
    }

    /// Makes the view show generation `generation`. Where its shape is the same as before,
    /// PostgreSQL keeps what others were granted on it and have built on it.
    pub async fn show(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        shape: Shape,
    ) -> Result<(), DatabaseError> {
        let view = self.name;
        let replace = match (transaction.dialect(), shape) {
            (Dialect::Postgres, Shape::Same) => "OR REPLACE ",
            (Dialect::Sqlite, _) | (Dialect::Postgres, Shape::MayDiffer) => {
                transaction
                    .run(&format!("DROP VIEW IF EXISTS {view}"), &[])
                    .await?;
                ""
            }
        };
        let columns = self.column_names();
        let sql = format!(
            "CREATE {replace}VIEW {view} AS SELECT {columns} FROM {}",
            self.physical(generation)
        );
        transaction.run(&sql, &[]).await.map(drop)
    }

    /// Writes whole rows: those whose key is there already are replaced. `rows` are objects whose
    /// fields are named like the columns; no two of them have the same key.
    pub async fn upsert(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        rows: &[impl Serialize],
    ) -> Result<(), DatabaseError> {
        let set: Vec<String> = self
            .columns
            .iter()
            .filter(|column| !self.key.contains(&column.name))
            .map(|column| format!("{0} = excluded.{0}", column.name))
            .collect();
        let action = if set.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", set.join(", "))
        };
        self.insert(transaction, generation, rows, &action).await
    }

    /// Writes whole rows; of those whose key is there already the text in `column` is put after the one
    /// that is there. `rows` are as for [`Table::upsert`].
    pub async fn append(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        column: &str,
        rows: &[impl Serialize],
    ) -> Result<(), DatabaseError> {
        let table = self.physical(generation);
        let action = format!("UPDATE SET {column} = {table}.{column} || excluded.{column}");
        self.insert(transaction, generation, rows, &action).await
    }

    async fn insert(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        rows: &[impl Serialize],
        action: &str,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {} WHERE true \
             ON CONFLICT ({}) DO {action}",
            self.physical(generation),
            rows_of(transaction.dialect(), self.columns.iter().copied()),
            self.key.join(", "),
            columns = self.column_names(),
        );
        for rows in rows.chunks(STATEMENT_ROWS_MAX) {
            transaction.run(&sql, &[json(rows)?]).await?;
        }
        Ok(())
    }

    /// The rows that agree with one of `keys` in the columns `by`. `keys` are objects with those
    /// columns, no two alike.
    pub async fn load(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        by: &[&str],
        keys: &[impl Serialize],
    ) -> Result<Vec<Row>, DatabaseError> {
        let source = self.physical(generation);
        self.find(transaction, &source, by, keys).await
    }

    /// The same of the live generation.
    pub async fn load_live(
        &self,
        transaction: &mut Transaction,
        by: &[&str],
        keys: &[impl Serialize],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.find(transaction, self.name, by, keys).await
    }

    async fn find(
        &self,
        transaction: &mut Transaction,
        source: &str,
        by: &[&str],
        keys: &[impl Serialize],
    ) -> Result<Vec<Row>, DatabaseError> {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("t.{}", column.name))
            .collect();
        // In SQLite a cross join also says: take the keys one by one, and look each up.
        let sql = format!(
            "SELECT {} FROM {} CROSS JOIN {} AS t WHERE {}",
            columns.join(", "),
            self.keys_of(transaction.dialect(), by),
            source,
            agree(by),
        );
        let mut found = Vec::new();
        for keys in keys.chunks(STATEMENT_ROWS_MAX) {
            found.extend(transaction.all(&sql, &[json(keys)?]).await?);
        }
        Ok(found)
    }

    /// Deletes the rows that agree with one of `keys` in the columns `by`.
    pub async fn delete(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        by: &[&str],
        keys: &[impl Serialize],
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "DELETE FROM {} WHERE ({by}) IN (SELECT {by} FROM {})",
            self.physical(generation),
            self.keys_of(transaction.dialect(), by),
            by = by.join(", "),
        );
        for keys in keys.chunks(STATEMENT_ROWS_MAX) {
            transaction.run(&sql, &[json(keys)?]).await?;
        }
        Ok(())
    }

    /// The FROM clause of `keys`, as `k`: rows of the columns `by` from the JSON in `$1`.
    pub fn keys_of(&self, dialect: Dialect, by: &[&str]) -> String {
        rows_of(
            dialect,
            self.columns
                .iter()
                .copied()
                .filter(|column| by.contains(&column.name)),
        )
    }

    /// The names of its columns, in order.
    pub fn column_list(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.name)
    }

    fn column_names(&self) -> String {
        let names: Vec<&str> = self.column_list().collect();
        names.join(", ")
    }
}

/// Whether a view may have other columns than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It has the same.
    Same,
    /// It may have others.
    MayDiffer,
}

/// The JSON array in `$1` as a table `k` with these columns.
fn rows_of(dialect: Dialect, columns: impl Iterator<Item = Column>) -> String {
    match dialect {
        Dialect::Sqlite => {
            let columns: Vec<String> = columns
                .map(|column| format!("json_extract(object, '$.{0}') AS {0}", column.name))
                .collect();
            // Each mention of `value` writes the row out anew, so that rows of many columns would cost
            // their square. A subquery with an OFFSET is never merged into the query around it, and
            // writes each row out once.
            format!(
                "(SELECT {} FROM (SELECT value AS object FROM json_each($1) LIMIT -1 OFFSET 0)) AS k",
                columns.join(", ")
            )
        }
        Dialect::Postgres => {
            let columns: Vec<String> = columns
                .map(|column| format!("{} {}", column.name, column.sql_type(dialect)))
                .collect();
            format!("json_to_recordset($1::json) AS k({})", columns.join(", "))
        }
    }
}

fn agree(by: &[&str]) -> String {
    let pairs: Vec<String> = by
        .iter()
        .map(|column| format!("t.{column} = k.{column}"))
        .collect();
    pairs.join(" AND ")
}

/// Rows as one JSON value. PostgreSQL's text has no U+0000; both databases get U+FFFD in its place,
/// so that their answers are the same.
pub(crate) fn json(rows: &[impl Serialize]) -> Result<Value, DatabaseError> {
    let text = serde_json::to_string(rows).map_err(DatabaseError::unreadable)?;
    if !text.contains("\\u0000") {
        return Ok(Value::Text(text));
    }
    let mut value = serde_json::from_str(&text).map_err(DatabaseError::unreadable)?;
    replace_nul(&mut value);
    Ok(Value::Text(value.to_string()))
}

fn replace_nul(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(replace_nul),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(replace_nul),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// A moment as SQLite keeps it: always with six digits, so that text order is time order.
pub(super) fn rfc3339(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Serialises a moment for a row.
pub fn micros<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time))
}

/// Serialises a moment, or none, for a row.
pub fn micros_if_any<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => micros(time, serializer),
        None => serializer.serialize_none(),
    }
}
