//! Loading a stream's state: from its snapshot, where that is good, and the events after it.

use std::sync::Arc;

use bytes::Bytes;
use domain::{Decider, Position, StreamName, Version};
use infra::event_store::{Direction, EventStore, RecordedEvent};
use infra::failure::Failure;
use infra::keys::hex;
use infra::snapshots::{Snapshot, Snapshots};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::window::Window;

/// Events read at once.
const PAGE: usize = 1_000;

/// What a stream's task keeps: the fold of the stream up to `version`.
pub(super) struct Loaded<D: Decider> {
    pub(super) state: D::State,
    pub(super) version: Version,
    /// Of the event at `version`; 0 while there is none.
    pub(super) position: Position,
    pub(super) window: Window,
}

impl<D: Decider> Default for Loaded<D> {
    fn default() -> Self {
        Self {
            state: D::State::default(),
            version: Version::ZERO,
            position: Position::ZERO,
            window: Window::default(),
        }
    }
}

impl<D: Decider> Clone for Loaded<D> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            version: self.version,
            position: self.position,
            window: self.window.clone(),
        }
    }
}

/// Changes with [`Body`].
const BODY_FORMAT: &[u8] = b"state and window, as JSON";

/// What a snapshot holds besides its place.
#[derive(Serialize, Deserialize)]
struct Body<S> {
    state: S,
    window: Window,
}

/// Names the shape of a snapshot of `D`: the schema of its state with all that is nested in it, and
/// the program's version, because a rule may change what the same shape means.
pub(super) fn shape_of<D: Decider>() -> Result<String, Failure> {
    use utoipa::{PartialSchema, ToSchema};
    let mut nested = Vec::new();
    D::State::schemas(&mut nested);
    nested.sort_by(|(one, _), (other, _)| one.cmp(other));
    nested.dedup_by(|(one, _), (other, _)| one == other);
    let text = serde_json::to_vec(&(D::State::schema(), nested))
        .map_err(|error| Failure::internal("describe a state", error))?;
    let mut hash = Sha256::new();
    for part in [
        env!("CARGO_PKG_VERSION").as_bytes(),
        D::CATEGORY.as_bytes(),
        BODY_FORMAT,
        &text,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()[..16]))
}

impl<D: Decider> Loaded<D> {
    /// The state of `stream` now. Says also the version of the snapshot it was loaded from; 0
    /// without one.
    pub(super) async fn load(
        store: &dyn EventStore,
        snapshots: &dyn Snapshots,
        shape: &str,
        stream: &StreamName,
    ) -> Result<(Self, Version), Failure> {
        let snapshot = match snapshots.read(stream).await {
            Ok(snapshot) => snapshot.filter(|snapshot| snapshot.shape == shape),
            Err(failure) => {
                tracing::warn!(%failure, %stream, "a snapshot cannot be read; the stream is");
                None
            }
        };
        if let Some(snapshot) = snapshot
            && let Some(loaded) = Self::from_snapshot(store, stream, &snapshot).await?
        {
            return Ok((loaded, snapshot.version));
        }
        let mut loaded = Self::default();
        loaded.catch_up(store, stream).await?;
        Ok((loaded, Version::ZERO))
    }

    /// From `snapshot` on; `None` where it does not fit the stream.
    async fn from_snapshot(
        store: &dyn EventStore,
        stream: &StreamName,
        snapshot: &Snapshot,
    ) -> Result<Option<Self>, Failure> {
        let body: Body<D::State> = match serde_json::from_slice(&snapshot.body) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(%error, %stream, "a snapshot that cannot be read is ignored");
                return Ok(None);
            }
        };
        let last = store
            .read_stream(stream, snapshot.version, Direction::Forward, 1)
            .await?;
        let fits = last.first().is_some_and(|event| {
            event.version == snapshot.version && event.position == snapshot.position
        });
        if !fits {
            tracing::warn!(%stream, version = %snapshot.version, "a snapshot of another log is ignored");
            return Ok(None);
        }
        let mut loaded = Self {
            state: body.state,
            version: snapshot.version,
            position: snapshot.position,
            window: body.window,
        };
        loaded.catch_up(store, stream).await?;
        Ok(Some(loaded))
    }

    /// Folds what was appended after `version`.
    pub(super) async fn catch_up(
        &mut self,
        store: &dyn EventStore,
        stream: &StreamName,
    ) -> Result<(), Failure> {
        loop {
            let events = store
                .read_stream(stream, self.version.next(), Direction::Forward, PAGE)
                .await?;
            for event in &events {
                self.fold(event)?;
            }
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn fold(&mut self, recorded: &Arc<RecordedEvent>) -> Result<(), Failure> {
        let failed = "read a stream's events";
        let event = recorded.event().map_err(|e| Failure::internal(failed, e))?;
        let event = D::Event::try_from(event)
            .map_err(|_| Failure::internal(failed, "an event of another category"))?;
        let metadata = recorded
            .metadata()
            .map_err(|e| Failure::internal(failed, e))?;
        self.evolve(recorded.version, &event);
        self.position = recorded.position;
        self.window
            .replay(metadata, recorded.version, recorded.position);
        Ok(())
    }

    pub(super) fn evolve(&mut self, version: Version, event: &D::Event) {
        self.state = D::evolve(std::mem::take(&mut self.state), version, event);
        self.version = version;
    }

    /// A snapshot of this.
    pub(super) fn snapshot(self, shape: &str) -> Result<Snapshot, Failure> {
        let body = Body {
            state: self.state,
            window: self.window,
        };
        let body = serde_json::to_vec(&body)
            .map_err(|error| Failure::internal("encode a snapshot", error))?;
        Ok(Snapshot {
            shape: shape.to_owned(),
            version: self.version,
            position: self.position,
            body: Bytes::from(body),
        })
    }
}
