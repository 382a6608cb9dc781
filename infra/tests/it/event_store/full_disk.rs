//! A disk that is really full: a small tmpfs, mounted for the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use domain::{StreamName, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, NewEvent, SqliteEventStore,
};
use infra::failure::FailureSort;

use super::{all, event, stream};

/// Set in the process that has a mount namespace of its own.
const IN_NAMESPACE: &str = "VERBATIM_TEST_IN_MOUNT_NAMESPACE";

/// Room on the disk, and how much of it is taken away at first.
const DISK_BYTES: usize = 12 * 1024 * 1024;
const BALLAST_BYTES: usize = 6 * 1024 * 1024;

const EVENT_BYTES: usize = 20 * 1024;

#[test]
fn a_full_disk_refuses_appends_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    match Mounted::tmpfs(folder.path()) {
        Ok(disk) => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(fill_up_and_recover(&disk.0));
        }
        Err(problem) if std::env::var(IN_NAMESPACE).is_ok() => {
            panic!("no tmpfs even in a namespace of our own: {problem}")
        }
        Err(problem) => run_in_a_namespace(&problem),
    }
}

/// A disk that is gone when the test is over, however it ends.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(folder: &Path) -> Result<Self, String> {
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "verbatim-test"]);
        let output = mount.arg(folder).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, so that a store that a failed test left open does not keep it.
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

/// Where mounting is not ours to do, it is in a user and mount namespace of our own.
fn run_in_a_namespace(problem: &str) {
    let name = "event_store::full_disk::a_full_disk_refuses_appends_and_recovers_by_itself";
    let status = Command::new("unshare")
        .args(["--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(IN_NAMESPACE, "1")
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "this test needs to mount a tmpfs; mount said: {problem}"
    );
}

async fn fill_up_and_recover(disk: &Path) {
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let path = disk.join("log.db");
    let store = Arc::new(SqliteEventStore::open(&path, Clock::system()).unwrap());
    let acknowledged = fill_up(&store).await;
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());

    // Several at once, one after the other, again and again: refused each time, and harmless.
    let refused = acknowledged.len() as u64;
    for _ in 0..3 {
        let appends = (0..8).map(|offset| append(&store, refused + offset));
        for answer in futures::future::join_all(appends).await {
            assert_storage_full(&answer.unwrap_err());
        }
    }
    check(&*store, &acknowledged).await;

    // Somebody makes room: the same store goes on, and what was refused can be tried again.
    std::fs::remove_file(&ballast).unwrap();
    let mut acknowledged = acknowledged;
    for _ in 0..50 {
        let number = acknowledged.len() as u64;
        acknowledged.push(append(&store, number).await.unwrap());
    }
    check(&*store, &acknowledged).await;
    store.close().await;
    drop(store);

    let store = SqliteEventStore::open(&path, Clock::system()).unwrap();
    check(&store, &acknowledged).await;
    store.close().await;
}

/// Appends until the disk is full; returns what was acknowledged.
async fn fill_up(store: &SqliteEventStore) -> Vec<Appended> {
    let mut acknowledged = Vec::new();
    loop {
        match append(store, acknowledged.len() as u64).await {
            Ok(appended) => acknowledged.push(appended),
            Err(error) => {
                assert_storage_full(&error);
                return acknowledged;
            }
        }
        let bytes = acknowledged.len() * EVENT_BYTES;
        assert!(bytes < DISK_BYTES, "a full disk took everything");
    }
}

async fn append(store: &SqliteEventStore, number: u64) -> Result<Appended, AppendError> {
    let batch = vec![large_event(number)];
    store.append(&stream_of(number), Expected::Any, batch).await
}

fn stream_of(number: u64) -> StreamName {
    stream(&format!("conversation-{}", number % 7))
}

fn large_event(number: u64) -> NewEvent {
    NewEvent {
        data: vec![b'x'; EVENT_BYTES].into(),
        ..event(number)
    }
}

fn assert_storage_full(error: &AppendError) {
    match error {
        AppendError::Failure(failure) => assert_eq!(failure.sort(), FailureSort::StorageFull),
        other => panic!("not a failure of the disk: {other}"),
    }
}

/// Everything acknowledged is there, at its place, and nothing else.
async fn check(store: &dyn EventStore, acknowledged: &[Appended]) {
    let log = all(store).await;
    assert_eq!(log.len(), acknowledged.len());
    for (number, (event, appended)) in (0..).zip(log.iter().zip(acknowledged)) {
        assert_eq!(event.id, large_event(number).id);
        assert_eq!(event.position, appended.position());
        assert_eq!(event.version, appended.last_version());
        let name = stream_of(number);
        let again = store.read_stream(&name, event.version, Direction::Forward, 1);
        assert_eq!(again.await.unwrap()[0], *event);
    }
    assert_eq!(log[0].version, Version(1));
}
