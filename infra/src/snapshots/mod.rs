//! States of long streams, kept so that loading one need not read it from its start. A snapshot is
//! a copy of what the log says: losing one costs time, never a fact. That it fits the stream and
//! the program is checked by whoever reads it.

mod memory;
mod postgres;
mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Position, StreamName, Version};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

pub use memory::MemorySnapshots;
pub use postgres::PostgresSnapshots;
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

/// Over everything that is read back, so that no damage goes unnoticed.
fn checksum(stream: &str, snapshot: &Snapshot) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [stream, &snapshot.shape] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.update(snapshot.version.0.to_be_bytes());
    hash.update(snapshot.position.0.to_be_bytes());
    hash.update(&snapshot.body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{MemorySnapshots, PostgresSnapshots, Snapshot, Snapshots, SqliteSnapshots};
    use crate::clock::fresh_id;
    use crate::event_store::{LogSchema, PostgresEventStore};
    use domain::{Position, StreamName, Version};
    use sqlx::Connection as _;

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

    #[tokio::test]
    async fn a_server_keeps_the_newest_of_each_stream_and_ignores_a_damaged_one() {
        let url =
            std::env::var("VERBATIM_TEST_POSTGRES").expect("run the tests with `cargo xtask test`");
        let schema = LogSchema::parse(&format!("test_{}", fresh_id().simple())).unwrap();
        let missing = PostgresSnapshots::open(&url, &schema).await.err().unwrap();
        assert!(
            missing.to_string().contains("verbatim migrate"),
            "{missing}"
        );
        PostgresEventStore::migrate(&url, &schema).await.unwrap();
        let snapshots = PostgresSnapshots::open(&url, &schema).await.unwrap();
        keeps_the_newest_of_each_stream(&snapshots).await;

        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        let damage = format!("UPDATE {schema}.snapshots SET body = '' WHERE stream = 'test-one'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(damage))
            .execute(&mut connection)
            .await
            .unwrap();
        let another_node = PostgresSnapshots::open(&url, &schema).await.unwrap();
        let one = StreamName::parse("test-one").unwrap();
        let other = StreamName::parse("test-other").unwrap();
        assert_eq!(another_node.read(&one).await.unwrap(), None);
        assert_eq!(another_node.read(&other).await.unwrap(), Some(snapshot(3)));
    }
}
