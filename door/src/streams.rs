//! How KurrentDB hides parts of streams, over a log from which nothing is ever removed: `$tb` and
//! `$maxCount` in the metadata of a stream, which is the last event of the stream `$$NAME`, and
//! tombstones. `$maxAge`, `$cacheControl` and `$acl` are kept and not honoured.

use domain::{StreamName, Version};
use infra::event_store::{Direction, EventStore, NewEvent};
use infra::failure::Failure;
use serde_json::{Map, Value};
use tonic::Status;

use crate::expected::Head;
use crate::statuses::{access_denied, invalid};

/// The type of an event in `$$NAME` that has the metadata of the stream NAME.
pub(crate) const METADATA_TYPE: &str = "$metadata";

/// The type of the event that ends a stream for ever.
pub(crate) const TOMBSTONE_TYPE: &str = "$streamDeleted";

/// Before the name of a stream: the stream of its metadata.
const METADATA_PREFIX: &str = "$$";

/// In metadata: the first revision that is shown.
pub(crate) const TRUNCATE_BEFORE: &str = "$tb";

/// In metadata: how many of the last events are shown.
const MAX_COUNT: &str = "$maxCount";

/// A stream as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Where it ends; 0 where it does not exist.
    pub(crate) version: Version,
    /// Shown from here on; beyond `version` where nothing is shown.
    pub(crate) visible_from: Version,
    /// It was deleted for ever.
    pub(crate) is_tombstoned: bool,
}

/// The metadata of a stream, and where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamMetadata {
    /// Version in `$$NAME`; 0 where there is none.
    pub(crate) version: Version,
    /// Its fields; none where it is no object.
    pub(crate) fields: Map<String, Value>,
}

impl Shape {
    /// Looks at `stream`.
    pub(crate) async fn of(store: &dyn EventStore, stream: &StreamName) -> Result<Self, Failure> {
        let (version, is_tombstoned) = end_of(store, stream).await?;
        if let Some(base) = base_of(stream) {
            // Of metadata only the newest is shown.
            let (_, is_tombstoned) = end_of(store, &base).await?;
            return Ok(Self {
                version,
                visible_from: version.max(Version(1)),
                is_tombstoned,
            });
        }
        let metadata = StreamMetadata::of(store, stream).await?;
        Ok(Self {
            version,
            visible_from: metadata.visible_from(version),
            is_tombstoned,
        })
    }

    /// Whether there is anything to be seen.
    pub(crate) fn exists(&self) -> bool {
        self.version != Version::ZERO && self.visible_from <= self.version
    }

    /// Where it ends for clients.
    pub(crate) fn head(&self) -> Head {
        if self.exists() {
            Head::of(self.version)
        } else {
            Head::NoStream
        }
    }
}

impl StreamMetadata {
    /// The metadata of `stream`.
    pub(crate) async fn of(store: &dyn EventStore, stream: &StreamName) -> Result<Self, Failure> {
        let Ok(name) = metadata_stream(stream) else {
            return Ok(Self::default());
        };
        let last = store
            .read_stream(&name, Version(u64::MAX), Direction::Backward, 1)
            .await?;
        Ok(last.first().map_or_else(Self::default, |event| Self {
            version: event.version,
            fields: serde_json::from_slice(&event.data).unwrap_or_default(),
        }))
    }

    /// From where on events of a stream that ends at `version` are shown.
    fn visible_from(&self, version: Version) -> Version {
        let field = |name| self.fields.get(name).and_then(Value::as_u64);
        let truncated = field(TRUNCATE_BEFORE).map_or(1, |before| before.saturating_add(1));
        let counted =
            field(MAX_COUNT).map_or(1, |count| version.0.saturating_sub(count).saturating_add(1));
        Version(truncated.max(counted))
    }
}

/// Where `stream` ends, and whether its last event is a tombstone.
pub(crate) async fn end_of(
    store: &dyn EventStore,
    stream: &StreamName,
) -> Result<(Version, bool), Failure> {
    let last = store
        .read_stream(stream, Version(u64::MAX), Direction::Backward, 1)
        .await?;
    Ok(last.first().map_or((Version::ZERO, false), |event| {
        (event.version, &*event.event_type == TOMBSTONE_TYPE)
    }))
}

/// The stream that has the metadata of `stream`.
pub(crate) fn metadata_stream(stream: &StreamName) -> Result<StreamName, Status> {
    StreamName::parse(&format!("{METADATA_PREFIX}{stream}"))
        .map_err(|_| invalid("the name of the stream is too long for one that has metadata"))
}

/// Of which stream `stream` has the metadata, if it does.
fn base_of(stream: &StreamName) -> Option<StreamName> {
    let name = stream.as_str().strip_prefix(METADATA_PREFIX)?;
    StreamName::parse(name).ok()
}

/// Refuses what would delete, or hide, by another way than deleting; and system streams, which
/// nobody makes here.
pub(crate) fn check_reserved(stream: &StreamName, event: &NewEvent) -> Result<(), Status> {
    if stream.as_str().starts_with('$') && base_of(stream).is_none() {
        return Err(access_denied("there are no system streams but metadata"));
    }
    if event.event_type == TOMBSTONE_TYPE {
        return Err(access_denied("a tombstone is not appended but asked for"));
    }
    Ok(())
}

/// Whether an event hides events of the stream that it is the metadata of.
pub(crate) fn hides(stream: &StreamName, event: &NewEvent) -> bool {
    base_of(stream).is_some()
        && serde_json::from_slice::<Map<String, Value>>(&event.data).is_ok_and(|fields| {
            [TRUNCATE_BEFORE, MAX_COUNT]
                .iter()
                .any(|name| fields.contains_key(*name))
        })
}

/// Whether nobody may delete `stream`, or hide parts of it: it is Verbatim's own, or has the metadata of
/// one.
pub(crate) fn is_protected(stream: &StreamName) -> bool {
    stream.is_of_domain() || base_of(stream).is_some_and(|base| base.is_of_domain())
}
