//! Uploads that are not complete: what was announced, and the parts that came, each an object of its own
//! named by where it begins. So any process goes on where another one stopped, and how far an upload is
//! says what is kept of it and nothing else.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use domain::values::{FileName, MediaType};
use domain::{AttachmentId, UserId};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{BlobStream, Blobs};
use crate::failure::Failure;

/// A part has at most as many bytes; what comes of a request is kept whenever there are as many.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How the name of what was announced begins; the length of the file follows.
const BEGUN: &str = "begun-";

/// How the name of a part begins; where it begins in the file follows.
const PART: &str = "part-";

/// What failed.
const KEEP: &str = "keep an upload";
const FIND: &str = "find an upload";

/// Names an upload: whose, and which attachment it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId {
    /// Who uploads.
    pub owner: UserId,
    /// What it becomes.
    pub id: AttachmentId,
}

/// What an uploader says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// What it is called.
    pub name: Option<FileName>,
    /// What it is.
    pub media_type: Option<MediaType>,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    offset: u64,
    size: u64,
    name: Path,
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Which.
    pub id: UploadId,
    /// How long the file will be, in bytes.
    pub length: u64,
    /// How much of it is kept, in bytes.
    pub offset: u64,
    /// When it was announced.
    pub begun_at: DateTime<Utc>,
    parts: Vec<Part>,
    /// Parts that do not follow on what is kept.
    stray: Vec<Path>,
}

impl Upload {
    /// Whether all of it is there.
    pub const fn is_complete(&self) -> bool {
        self.offset == self.length
    }
}

/// Uploads that are not complete.
#[derive(Clone, Debug)]
pub struct Uploads {
    blobs: Blobs,
}

impl Uploads {
    pub(super) const fn new(blobs: Blobs) -> Self {
        Self { blobs }
    }

    fn of_user(&self, user: UserId) -> Path {
        self.blobs.at("uploads").join(user.to_string())
    }

    fn folder(&self, id: UploadId) -> Path {
        self.of_user(id.owner).join(id.id.to_string())
    }

    fn part(&self, id: UploadId, offset: u64) -> Path {
        self.folder(id).join(format!("{PART}{offset:020}"))
    }

    fn begun(&self, id: UploadId, length: u64) -> Path {
        self.folder(id).join(format!("{BEGUN}{length}"))
    }

    /// Announces an upload; again changes nothing.
    pub async fn begin(
        &self,
        id: UploadId,
        length: u64,
        declared: &Declared,
    ) -> Result<(), Failure> {
        let about = serde_json::to_vec(declared).map_err(|error| Failure::internal(KEEP, error))?;
        let name = self.begun(id, length);
        self.blobs.create(&name, about.into()).await.map(drop)
    }

    /// What was said of the file when it was announced.
    pub async fn declared(&self, upload: &Upload) -> Result<Declared, Failure> {
        let name = self.begun(upload.id, upload.length);
        let found = self.blobs.store.get(&name).await;
        let found = found.map_err(|error| self.blobs.failed(FIND, error))?;
        let bytes = found.bytes().await;
        let bytes = bytes.map_err(|error| self.blobs.failed(FIND, error))?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::internal(FIND, error))
    }

    /// How far the upload is; `None` where there is none.
    pub async fn find(&self, id: UploadId) -> Result<Option<Upload>, Failure> {
        let objects = self.list(&self.folder(id)).await?;
        Ok(upload(id, objects))
    }

    /// All uploads of `user`.
    pub async fn of(&self, user: UserId) -> Result<Vec<Upload>, Failure> {
        let objects = self.list(&self.of_user(user)).await?;
        let mut uploads: BTreeMap<AttachmentId, Vec<ObjectMeta>> = BTreeMap::new();
        for object in objects {
            if let Some(id) = self.id_of(&object.location) {
                uploads.entry(id.id).or_default().push(object);
            }
        }
        let found = uploads.into_iter().filter_map(|(id, objects)| {
            let owner = user;
            upload(UploadId { owner, id }, objects)
        });
        Ok(found.collect())
    }

    /// Uploads of which nothing came since `before`, those among them that are in pieces.
    pub async fn idle_since(&self, before: DateTime<Utc>) -> Result<Vec<UploadId>, Failure> {
        let root = self.blobs.at("uploads");
        let mut last: BTreeMap<UploadId, DateTime<Utc>> = BTreeMap::new();
        let mut objects = self.blobs.store.list(Some(&root));
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| self.blobs.failed(FIND, error))?;
            if let Some(id) = self.id_of(&object.location) {
                let last = last.entry(id).or_insert(object.last_modified);
                *last = (*last).max(object.last_modified);
            }
        }
        let idle = last.into_iter().filter(|(_, last)| *last < before);
        Ok(idle.map(|(id, _)| id).collect())
    }

    fn id_of(&self, location: &Path) -> Option<UploadId> {
        let root = self.blobs.at("uploads");
        let mut parts = location.prefix_match(&root)?;
        let owner = parts.next()?.as_ref().parse().ok()?;
        let id = parts.next()?.as_ref().parse().ok()?;
        Some(UploadId { owner, id })
    }

    async fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Failure> {
        let objects = self.blobs.store.list(Some(folder)).try_collect().await;
        objects.map_err(|error| self.blobs.failed(FIND, error))
    }

    /// Keeps what `body` brings, from where the upload is, and says how far it is then: also where the
    /// body breaks off or is too long, of which the error tells.
    pub async fn append<E>(
        &self,
        upload: &mut Upload,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), AppendError<E>> {
        self.blobs.delete(std::mem::take(&mut upload.stray)).await?;
        let mut body = std::pin::pin!(body);
        let mut waiting = BytesMut::new();
        let mut left = upload.length - upload.offset;
        let ended = loop {
            let mut bytes = match body.next().await {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => break Err(AppendError::Body(error)),
                None => break Ok(()),
            };
            if bytes.len() as u64 > left {
                break Err(AppendError::TooLong);
            }
            left -= bytes.len() as u64;
            while waiting.len() + bytes.len() >= PART_BYTES_MAX {
                let rest = bytes.split_off(PART_BYTES_MAX - waiting.len());
                waiting.extend_from_slice(&bytes);
                self.put_part(upload, waiting.split().freeze()).await?;
                bytes = rest;
            }
            waiting.extend_from_slice(&bytes);
        };
        if !waiting.is_empty() {
            self.put_part(upload, waiting.freeze()).await?;
        }
        ended
    }

    async fn put_part<E>(&self, upload: &mut Upload, bytes: Bytes) -> Result<(), AppendError<E>> {
        let name = self.part(upload.id, upload.offset);
        let size = bytes.len() as u64;
        if !self.blobs.create(&name, bytes).await? {
            return Err(AppendError::Overtaken);
        }
        let offset = upload.offset;
        upload.parts.push(Part { offset, size, name });
        upload.offset += size;
        Ok(())
    }

    /// What is kept of the upload, from the beginning.
    pub fn read(&self, upload: &Upload) -> BlobStream {
        let blobs = self.blobs.clone();
        stream::iter(upload.parts.clone())
            .then(move |part| {
                let blobs = blobs.clone();
                async move {
                    let found = blobs.read(&part.name, 0..part.size).await?;
                    found.ok_or_else(|| Failure::internal("read an upload", PartMissing))
                }
            })
            .try_flatten()
            .boxed()
    }

    /// Erases the upload.
    pub async fn discard(&self, id: UploadId) -> Result<(), Failure> {
        let objects = self.list(&self.folder(id)).await?;
        // First what was announced: what is left then is no upload any more.
        let (begun, parts): (Vec<Path>, Vec<Path>) = objects
            .into_iter()
            .map(|object| object.location)
            .partition(|name| name.filename().is_some_and(|it| it.starts_with(BEGUN)));
        self.blobs.delete(begun).await?;
        self.blobs.delete(parts).await
    }
}

/// What is kept of an upload.
fn upload(id: UploadId, objects: Vec<ObjectMeta>) -> Option<Upload> {
    let (mut begun, mut parts) = (None, Vec::new());
    for object in objects {
        let name = object.location.filename().unwrap_or_default();
        if let Some(length) = name.strip_prefix(BEGUN) {
            begun = length.parse().ok().map(|it| (it, object.last_modified));
        } else if let Some(Ok(offset)) = name.strip_prefix(PART).map(str::parse) {
            let (size, name) = (object.size, object.location);
            parts.push(Part { offset, size, name });
        }
    }
    let (length, begun_at) = begun?;
    parts.sort_by_key(|part| part.offset);
    let (mut offset, mut kept, mut stray) = (0, Vec::new(), Vec::new());
    for part in parts {
        if part.offset == offset && stray.is_empty() && offset + part.size <= length {
            offset += part.size;
            kept.push(part);
        } else {
            stray.push(part.name);
        }
    }
    Some(Upload {
        id,
        length,
        offset,
        begun_at,
        parts: kept,
        stray,
    })
}

/// Why not all of a body was kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError<E> {
    /// The body broke off.
    #[error("the body broke off")]
    Body(E),
    /// It brings more than was announced.
    #[error("more came than was announced")]
    TooLong,
    /// Somebody else goes on with the same upload.
    #[error("another request goes on with this upload")]
    Overtaken,
    /// It cannot be kept.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Somebody deleted a part meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("a part of the upload is gone")]
struct PartMissing;

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use uuid::Uuid;

    const ID: UploadId = UploadId {
        owner: UserId(Uuid::from_u128(1)),
        id: AttachmentId(Uuid::from_u128(7)),
    };

    fn body(text: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::iter([Ok(Bytes::copy_from_slice(text))])
    }

    async fn whole(uploads: &Uploads, upload: &Upload) -> Vec<u8> {
        let pieces: Vec<Bytes> = uploads.read(upload).try_collect().await.unwrap();
        pieces.concat()
    }

    async fn begun(folder: &std::path::Path, length: u64) -> (Uploads, Upload) {
        let uploads = Blobs::in_folder(folder).unwrap().uploads();
        let declared = Declared {
            name: FileName::parse("tea.txt").ok(),
            media_type: None,
        };
        uploads.begin(ID, length, &declared).await.unwrap();
        uploads.begin(ID, length, &declared).await.unwrap();
        let upload = uploads.find(ID).await.unwrap().unwrap();
        assert_eq!(uploads.declared(&upload).await.unwrap(), declared);
        (uploads, upload)
    }

    #[tokio::test]
    async fn an_upload_comes_in_pieces_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let file: Vec<u8> = (0..=250_u8).cycle().take(2 * PART_BYTES_MAX + 7).collect();
        let (uploads, mut upload) = begun(folder.path(), file.len() as u64).await;
        assert_eq!((upload.offset, upload.is_complete()), (0, false));
        let (first, second) = file.split_at(3);
        uploads.append(&mut upload, body(first)).await.unwrap();
        assert_eq!(upload.offset, 3);
        let again = Blobs::in_folder(folder.path()).unwrap().uploads();
        let mut found = again.find(ID).await.unwrap().unwrap();
        assert_eq!(found, upload, "any process knows how far it is");
        again.append(&mut found, body(second)).await.unwrap();
        assert!(found.is_complete());
        assert_eq!(found.parts.len(), 4);
        assert!(whole(&again, &found).await == file);
        assert_eq!(uploads.of(ID.owner).await.unwrap(), [found]);
        uploads.discard(ID).await.unwrap();
        assert_eq!(uploads.find(ID).await.unwrap(), None);
        assert_eq!(uploads.of(ID.owner).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_came_before_a_body_broke_off_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, mut upload) = begun(folder.path(), 10).await;
        let broken = stream::iter([Ok(Bytes::from("half")), Err("gone")]);
        let ended = uploads.append(&mut upload, broken).await;
        assert!(matches!(ended, Err(AppendError::Body("gone"))));
        assert_eq!(uploads.find(ID).await.unwrap().unwrap().offset, 4);
        let too_long = uploads.append(&mut upload, body(b"more than ten")).await;
        assert!(matches!(too_long, Err(AppendError::TooLong)));
        assert_eq!(upload.offset, 4);
    }

    #[tokio::test]
    async fn of_two_who_go_on_with_one_upload_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, mut upload) = begun(folder.path(), 10).await;
        let mut other = upload.clone();
        uploads.append(&mut upload, body(b"first")).await.unwrap();
        let overtaken = uploads.append(&mut other, body(b"second")).await;
        assert!(matches!(overtaken, Err(AppendError::Overtaken)));
        assert_eq!(whole(&uploads, &upload).await, b"first");
    }

    #[tokio::test]
    async fn what_does_not_follow_on_is_no_part_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, mut upload) = begun(folder.path(), 10).await;
        uploads.append(&mut upload, body(b"tea")).await.unwrap();
        let stray = uploads.part(ID, 5);
        assert!(uploads.blobs.create(&stray, "x".into()).await.unwrap());
        let mut found = uploads.find(ID).await.unwrap().unwrap();
        assert_eq!((found.offset, found.stray.len()), (3, 1));
        uploads.append(&mut found, body(b"cake")).await.unwrap();
        let found = uploads.find(ID).await.unwrap().unwrap();
        assert_eq!((found.offset, found.stray.len()), (7, 0));
        assert_eq!(whole(&uploads, &found).await, b"teacake");
    }

    #[tokio::test]
    async fn what_nobody_goes_on_with_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, mut upload) = begun(folder.path(), 10).await;
        uploads.append(&mut upload, body(b"tea")).await.unwrap();
        let (before, after) = (DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC);
        assert_eq!(uploads.idle_since(before).await.unwrap(), []);
        assert_eq!(uploads.idle_since(after).await.unwrap(), [ID]);
    }
}
