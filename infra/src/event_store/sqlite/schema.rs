//! The file: its tables, its version and how connections to it are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::data_folder::make_private;
use crate::failure::Failure;

/// Marks the file as a log of ours: "VLOG".
const APPLICATION_ID: i64 = 0x564c_4f47;

/// The newest shape of the tables, which this program writes.
const SCHEMA_VERSION: i64 = 1;

/// How long a connection waits for another one of this process. Only opening and closing ever
/// contend; a wait that ends here is a failure that may be tried again.
const BUSY_MS_MAX: u64 = 5_000;

/// What the writer's page cache may hold. It only needs the ends of the tables and the inner pages
/// of the index, and it looks through its whole cache at every commit.
const WRITER_CACHE_KIB_MAX: i64 = 4 * 1024;

/// What each reader's page cache may hold; the rest is in the kernel's.
const READER_CACHE_KIB_MAX: i64 = 8 * 1024;

/// `stream_events` is the index of `events` by stream; it has every event up to the position in
/// `indexed`, and of each stream all up to some version.
///
/// Event ids have no index on purpose: keys that arrive in random order would touch a page of their
/// own each, in the path that everybody waits for.
const TABLES: &str = "
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE event_types (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        stream_id INTEGER NOT NULL,
        version INTEGER NOT NULL,
        id BLOB NOT NULL,
        type_id INTEGER NOT NULL,
        schema INTEGER NOT NULL,
        recorded_at INTEGER NOT NULL, -- UTC, microseconds since 1970
        metadata BLOB NOT NULL,
        data BLOB NOT NULL
    ) STRICT;
    CREATE TABLE stream_events (
        stream_id INTEGER NOT NULL,
        version INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (stream_id, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE indexed (position INTEGER NOT NULL) STRICT;
    INSERT INTO indexed VALUES (0);
";

/// What became of an operation on the file, as a fault of ours. A full disk is told apart only where
/// it is certain that nothing was written.
pub(super) fn failure(what: &'static str, error: rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::storage_full(what, error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failure::unavailable(what, error)
        }
        _ => Failure::internal(what, error),
    }
}

/// Opens the file for the one writer; makes it where there is none.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, Failure> {
    let failed = |error| failure("open the log", error);
    make_private(path).map_err(|error| Failure::internal("open the log", error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    configure(&connection, WRITER_CACHE_KIB_MAX).map_err(failed)?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// Opens the file, which is there already, to move pages out of the write-ahead log.
pub(super) fn open_for_checkpoints(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags)
}

/// Opens the file, which is there already, to read.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    let failed = |error| failure("open the log", error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    configure(&connection, READER_CACHE_KIB_MAX).map_err(failed)?;
    Ok(connection)
}

/// Checkpoints are ours to start, so that none runs while somebody waits for an acknowledgement.
fn configure(connection: &Connection, cache_kib_max: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -cache_kib_max)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
}

/// Refuses a file that is not ours or too new; makes the tables in an empty one.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    let failed = |error| failure("open the log", error);
    let number = |connection: &Connection, name| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
    };
    let application = number(connection, "application_id").map_err(failed)?;
    let version = number(connection, "user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        let problem = format!("{} is not a log of Verbatim", path.display());
        return Err(Failure::internal("open the log", problem));
    }
    if version > SCHEMA_VERSION {
        let problem = format!(
            "{} was written by a newer Verbatim (its schema is {version}, the newest known to this \
             program is {SCHEMA_VERSION}); start that version instead",
            path.display()
        );
        return Err(Failure::internal("open the log", problem));
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        let problem = format!("{} cannot have a write-ahead log here", path.display());
        return Err(Failure::internal("open the log", problem));
    }
    if version < SCHEMA_VERSION {
        create_tables(connection).map_err(failed)?;
    }
    Ok(())
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// A number as the file has it. What is too large for the file is beyond everything in it.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the file that is never negative in a sound one.
pub(super) fn from_sql(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

#[cfg(test)]
mod tests {
    use super::{SCHEMA_VERSION, open_for_writing};
    use rusqlite::Connection;

    #[test]
    fn a_log_is_readable_by_nobody_else_whatever_the_folder_allows() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let open_to_all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open_to_all).unwrap();
        let _log = open_for_writing(&folder.path().join("log.db")).unwrap();
        for name in ["log.db", "log.db-wal", "log.db-shm"] {
            let file = std::fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_log_and_a_foreign_file_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let newer = folder.path().join("log.db");
        let connection = open_for_writing(&newer).unwrap();
        connection
            .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .unwrap();
        drop(connection);
        let refusal = open_for_writing(&newer).unwrap_err().to_string();
        assert!(refusal.contains("newer Verbatim"), "{refusal}");
        assert!(refusal.contains(newer.to_str().unwrap()), "{refusal}");

        let foreign = folder.path().join("other.db");
        let connection = Connection::open(&foreign).unwrap();
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(connection);
        let refusal = open_for_writing(&foreign).unwrap_err().to_string();
        assert!(refusal.contains("not a log of Verbatim"), "{refusal}");
    }
}
