//! States of long streams, kept so that loading one need not read it from its start. A snapshot is
//! a copy of what the log says: losing one costs time, never a fact. That it fits the stream and
//! the program is checked by whoever reads it.

mod memory;
mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Position, StreamName, Version};

use crate::failure::Failure;

pub use memory::MemorySnapshots;
pub use sqlite::SqliteSnapshots;

/// The state of a stream at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Names the shape of `body`; a reader that expects another shape ignores the snapshot.
    pub shape: String,
    /// Version of the last event that is in it.
    pub version: Version,
    /// Position of that event: tells this stream from another one of the same name in another log.
    pub position: Position,
    /// The state, in whatever form its writer chose.
    pub body: Bytes,
}

/// Keeps the newest snapshot of each stream.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    /// The snapshot of `stream`, if there is one and it is undamaged.
    async fn read(&self, stream: &StreamName) -> Result<Option<Snapshot>, Failure>;

    /// Keeps `snapshot` of `stream` in place of the one before. Need not survive a power failure.
    async fn write(&self, stream: &StreamName, snapshot: Snapshot) -> Result<(), Failure>;
}

#[cfg(test)]
mod tests {
    use super::{MemorySnapshots, Snapshot, Snapshots, SqliteSnapshots};
    use domain::{Position, StreamName, Version};

    fn snapshot(version: u64) -> Snapshot {
        Snapshot {
            shape: "a shape".to_owned(),
            version: Version(version),
            position: Position(version * 10),
            body: format!("state at {version}").into(),
        }
    }

    /// What every adapter does.
    async fn keeps_the_newest_of_each_stream(snapshots: &dyn Snapshots) {
        let one = StreamName::parse("test-one").unwrap();
        let other = StreamName::parse("test-other").unwrap();
        assert_eq!(snapshots.read(&one).await.unwrap(), None);
        snapshots.write(&one, snapshot(1)).await.unwrap();
        snapshots.write(&one, snapshot(2)).await.unwrap();
        snapshots.write(&other, snapshot(3)).await.unwrap();
        assert_eq!(snapshots.read(&one).await.unwrap(), Some(snapshot(2)));
        assert_eq!(snapshots.read(&other).await.unwrap(), Some(snapshot(3)));
    }

    #[tokio::test]
    async fn memory_keeps_the_newest_of_each_stream() {
        keeps_the_newest_of_each_stream(&MemorySnapshots::default()).await;
    }

    #[tokio::test]
    async fn a_file_keeps_the_newest_of_each_stream_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshots.db");
        let snapshots = SqliteSnapshots::open(&path).unwrap();
        keeps_the_newest_of_each_stream(&snapshots).await;
        drop(snapshots);
        let snapshots = SqliteSnapshots::open(&path).unwrap();
        let one = StreamName::parse("test-one").unwrap();
        assert_eq!(snapshots.read(&one).await.unwrap(), Some(snapshot(2)));
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshots.db");
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        keeps_the_newest_of_each_stream(&SqliteSnapshots::open(&path).unwrap()).await;
    }

    #[tokio::test]
    async fn a_damaged_snapshot_is_no_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshots.db");
        let snapshots = SqliteSnapshots::open(&path).unwrap();
        let stream = StreamName::parse("test-one").unwrap();
        snapshots.write(&stream, snapshot(1)).await.unwrap();
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute("UPDATE snapshots SET body = x'00'", [])
            .unwrap();
        assert_eq!(snapshots.read(&stream).await.unwrap(), None);
    }
}
