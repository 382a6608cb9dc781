//! Snapshots in memory, for tests and for servers without a data folder.

use async_trait::async_trait;
use domain::StreamName;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;

use crate::failure::Failure;
use crate::snapshots::{Snapshot, Snapshots};

/// Snapshots kept at most; the least used go first.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Snapshots that are gone with the process.
pub struct MemorySnapshots(Mutex<LruCache<StreamName, Snapshot>>);

impl Default for MemorySnapshots {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT_MAX)))
    }
}

#[async_trait]
impl Snapshots for MemorySnapshots {
    async fn read(&self, stream: &StreamName) -> Result<Option<Snapshot>, Failure> {
        Ok(self.0.lock().get(stream).cloned())
    }

    async fn write(&self, stream: &StreamName, snapshot: Snapshot) -> Result<(), Failure> {
        self.0.lock().put(stream.clone(), snapshot);
        Ok(())
    }
}
