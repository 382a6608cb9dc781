//! What can go wrong with the read database, sorted by what may be done about it.

use std::sync::Arc;

use sqlx::error::DatabaseError as _;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::failure::Failure;

/// Something the database could not do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct DatabaseError {
    what: &'static str,
    fault: Fault,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

/// What may be done about a [`DatabaseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file is no database, or pages of it are broken: replace it and fill it from the log.
    Damaged,
    /// No room on the disk: try again.
    Full,
    /// The server is away, a lock was not had in time, the connection broke: try again.
    Away,
    /// A table or view is not there (yet).
    Missing,
    /// These values are not taken, now or later; others may be.
    Refused,
    /// Anything else: a defect.
    Defect,
}

impl DatabaseError {
    pub(super) fn new(what: &'static str, source: sqlx::Error) -> Self {
        Self {
            what,
            fault: Fault::of(&source),
            source: Arc::new(source),
        }
    }

    pub(super) fn file(what: &'static str, source: std::io::Error) -> Self {
        let fault = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::Full,
            _ => Fault::Away,
        };
        Self {
            what,
            fault,
            source: Arc::new(source),
        }
    }

    /// The file holds something that SQLite never wrote.
    pub(super) fn damaged(verdict: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            what: "open the read database",
            fault: Fault::Damaged,
            source: Arc::from(verdict.into()),
        }
    }

    /// The file is being replaced at this moment.
    pub(super) fn replacing(what: &'static str) -> Self {
        Self {
            what,
            fault: Fault::Away,
            source: Arc::new(sqlx::Error::PoolClosed),
        }
    }

    /// Text that stands in a row but cannot be what it should.
    pub(crate) fn unreadable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new("read a row", sqlx::Error::Decode(source.into()))
    }

    /// What may be done about it.
    pub const fn fault(&self) -> Fault {
        self.fault
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        const WHAT: &str = "use the read database";
        match error.fault {
            Fault::Full => Self::storage_full(WHAT, error),
            // A damaged file is replaced, a missing table made, by the projector: waiting helps.
            Fault::Away | Fault::Damaged | Fault::Missing => Self::unavailable(WHAT, error),
            Fault::Refused | Fault::Defect => Self::internal(WHAT, error),
        }
    }
}

impl Fault {
    /// What may be done about an error of the driver.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Fault::Away,
            sqlx::Error::Database(error) => {
                if let Some(error) = error.try_downcast_ref::<SqliteError>() {
                    sqlite_fault(error)
                } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                    postgres_fault(error)
                } else {
                    Fault::Defect
                }
            }
            _ => Fault::Defect,
        }
    }
}

/// By the primary result code: <https://www.sqlite.org/rescode.html>.
fn sqlite_fault(error: &SqliteError) -> Fault {
    let extended: i32 = error
        .code()
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    match extended & 0xff {
        11 | 26 => Fault::Damaged,
        13 => Fault::Full,
        // Busy, locked, out of memory, interrupted, input/output, cannot open, protocol, schema.
        5 | 6 | 7 | 9 | 10 | 14 | 15 | 17 => Fault::Away,
        // Too big, constraint, mismatch, range.
        18 | 19 | 20 | 25 => Fault::Refused,
        1 if error.message().starts_with("no such table") => Fault::Missing,
        _ => Fault::Defect,
    }
}

/// By class and code: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn postgres_fault(error: &PgDatabaseError) -> Fault {
    let code = error.code();
    match code {
        "53100" => Fault::Full,
        "42P01" | "3F000" => Fault::Missing,
        // A statement took too long, a lock was not had, a cached plan is out of date.
        "55P03" | "0A000" => Fault::Away,
        _ => match code.get(..2) {
            Some("08" | "25" | "40" | "53" | "57" | "58") => Fault::Away,
            Some("21" | "22" | "23" | "54") => Fault::Refused,
            _ => Fault::Defect,
        },
    }
}
