//! Snapshots in an `SQLite` file of their own. The file may be deleted at any time while the server
//! is down; one that cannot be opened is replaced by an empty one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Position, StreamName, Version};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::checksum;
use crate::data_folder::make_private;
use crate::failure::Failure;
use crate::snapshots::{Snapshot, Snapshots};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS snapshots (
        stream   TEXT PRIMARY KEY,
        shape    TEXT NOT NULL,
        version  INTEGER NOT NULL,
        position INTEGER NOT NULL,
        body     BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) WITHOUT ROWID;
";

/// Snapshots in a file.
pub struct SqliteSnapshots(Arc<Mutex<Connection>>);

impl SqliteSnapshots {
    /// Opens the file at `path`; makes it where there is none. Blocks on the disk.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::internal("open the snapshots", error);
        make_private(path).map_err(failed)?;
        let connection = match open(path) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the snapshots are replaced by none");
                remove(path)?;
                make_private(path).map_err(failed)?;
                open(path).map_err(|e| Failure::internal("open the snapshots", e))?
            }
        };
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` where waiting for the disk holds up nobody.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let connection = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&connection.lock()))
            .await
            .map_err(|error| Failure::internal(what, error))?
            .map_err(|error| Failure::internal(what, error))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Removes the file and what `SQLite` keeps beside it.
fn remove(path: &Path) -> Result<(), Failure> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::internal("remove the damaged snapshots", error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Snapshots for SqliteSnapshots {
    async fn read(&self, stream: &StreamName) -> Result<Option<Snapshot>, Failure> {
        let name = stream.clone();
        let found = self
            .run("read a snapshot", move |connection| {
                connection
                    .prepare_cached(
                        "SELECT shape, version, position, body, checksum FROM snapshots
                         WHERE stream = ?1",
                    )?
                    .query_row([name.as_str()], |row| {
                        let snapshot = Snapshot {
                            shape: row.get(0)?,
                            version: Version(row.get::<_, i64>(1)?.cast_unsigned()),
                            position: Position(row.get::<_, i64>(2)?.cast_unsigned()),
                            body: row.get::<_, Vec<u8>>(3)?.into(),
                        };
                        Ok((snapshot, row.get::<_, Vec<u8>>(4)?))
                    })
                    .optional()
            })
            .await?;
        Ok(found.and_then(|(snapshot, stored)| {
            let intact = stored == checksum(stream.as_str(), &snapshot);
            if !intact {
                tracing::warn!(%stream, "a damaged snapshot is ignored");
            }
            intact.then_some(snapshot)
        }))
    }

    async fn write(&self, stream: &StreamName, snapshot: Snapshot) -> Result<(), Failure> {
        let name = stream.clone();
        self.run("write a snapshot", move |connection| {
            let checksum = checksum(name.as_str(), &snapshot);
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO snapshots
                         (stream, shape, version, position, body, checksum)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    name.as_str(),
                    snapshot.shape,
                    snapshot.version.0.cast_signed(),
                    snapshot.position.0.cast_signed(),
                    &snapshot.body[..],
                    checksum,
                ])
                .map(|_| ())
        })
        .await
    }
}
