//! The SQLite file: opening it, looking whether it is whole, moving it aside when it is not.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use crate::clock::Clock;
use crate::data_folder::make_private;
use crate::database::{ACQUIRE_MAX, DatabaseError, Fault};

/// Readers at the same time; more wait.
const READERS_MAX: u32 = 4;

/// How long one waits for another's lock on the file.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Files up to this size are read through when they are opened, which takes well under a second.
/// Damage inside larger ones is met when the page is read.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What every SQLite database starts with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Opens the file, or an empty one in its place if it is damaged: its writer and its readers.
pub(super) async fn open(path: &Path) -> Result<(SqlitePool, SqlitePool), DatabaseError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|error| DatabaseError::file("make the folder of the read database", error))?;
    }
    match open_checked(path).await {
        Err(error) if error.fault() == Fault::Damaged => {
            tracing::error!(
                path = %path.display(),
                error = &error as &dyn std::error::Error,
                "the read database is damaged; it is moved aside and built again from the log"
            );
            move_aside(path)?;
            open_checked(path).await
        }
        done => done,
    }
}

async fn open_checked(path: &Path) -> Result<(SqlitePool, SqlitePool), DatabaseError> {
    check_header(path)?;
    make_private(path).map_err(|error| DatabaseError::file("make the read database", error))?;
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_MAX * 12)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(out_of_transaction(connection)))
        .connect_with(options(path).create_if_missing(true))
        .await
        .map_err(|error| DatabaseError::new("open the read database", error))?;
    if let Err(error) = check_pages(path, &writer).await {
        writer.close().await;
        return Err(error);
    }
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(ACQUIRE_MAX)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(out_of_transaction(connection)))
        .connect_lazy_with(options(path).read_only(true));
    Ok((writer, readers))
}

/// Whether a connection may be used again. Where the disk is full or breaks, SQLite rolls back by
/// itself; sqlx then fails to roll back and takes the connection to be in a transaction for ever.
async fn out_of_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback that was only asked for is done before this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// What is in it can be built again, so that it need not be synced at every commit. While it is
/// filled, the same pages change again and again: a longer side file brings them home less often.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_MAX)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "16384")
        .pragma("journal_size_limit", "67108864")
        .pragma("temp_store", "memory")
}

/// SQLite takes a file of less than one page for an empty database, and would write into it.
fn check_header(path: &Path) -> Result<(), DatabaseError> {
    let failed = |error| DatabaseError::file("look at the read database", error);
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut header = Vec::new();
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut header)
        .map_err(failed)?;
    if header.is_empty() || header == MAGIC {
        Ok(())
    } else {
        Err(DatabaseError::damaged("it is no SQLite database"))
    }
}

async fn check_pages(path: &Path, writer: &SqlitePool) -> Result<(), DatabaseError> {
    let failed = |error| DatabaseError::new("check the read database", error);
    let small = fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX);
    let verdict: String = if small {
        sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(writer)
            .await
            .map_err(failed)?
    } else {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema")
            .fetch_one(writer)
            .await
            .map_err(failed)?;
        "ok".to_owned()
    };
    if verdict == "ok" {
        Ok(())
    } else {
        Err(DatabaseError::damaged(verdict))
    }
}

/// Renames the file to `….damaged-SECONDS` and drops earlier ones, and its side files, which belong
/// to it alone.
pub(super) fn move_aside(path: &Path) -> Result<(), DatabaseError> {
    let failed = |error| DatabaseError::file("move the damaged read database aside", error);
    for earlier in damaged_before(path).map_err(failed)? {
        fs::remove_file(earlier).map_err(failed)?;
    }
    let aside = beside(
        path,
        &format!(".damaged-{}", Clock::system().now().timestamp()),
    );
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    for side in ["-wal", "-shm"] {
        match fs::remove_file(beside(path, side)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

fn damaged_before(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let prefix = format!("{}.damaged-", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
