//! Where the bytes of attachments are kept: a folder, or a bucket of S3 or of what speaks its protocol,
//! both through `object_store`. What was put here is on disk when it is acknowledged. What an
//! attachment is, and whether it is to be kept at all, only the log knows.

mod address;
mod links;
mod uploads;

use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use domain::AttachmentId;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    WriteMultipart,
};

use crate::failure::Failure;

pub use address::{BlobsUrlInvalid, check_blobs_url};
pub use links::{BlobLinks, Link};
pub use uploads::{AppendError, Declared, Part, Upload, UploadId, Uploads};

/// Bytes that are put at a time; S3 takes no smaller parts than 5 MiB.
const PIECE: usize = 8 * 1024 * 1024;

/// Pieces of one file that are under way at a time.
const PIECES_AT_ONCE: usize = 2;

/// Where bytes are kept. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Where all names begin.
    prefix: Path,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Bucket,
}

/// Which of the bytes of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The file.
    Original,
    /// The small picture.
    Thumbnail,
}

impl Variant {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Original, Self::Thumbnail];

    /// As it stands in names and addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Thumbnail => "thumbnail",
        }
    }

    /// The variant of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// Bytes that come piece by piece.
pub type BlobStream = BoxStream<'static, Result<Bytes, Failure>>;

impl Blobs {
    /// Keeps everything below a folder, which is made where there is none. What is put is synced.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn in_folder(folder: &FilePath) -> Result<Self, Failure> {
        const OPEN: &str = "open the folder of attachments";
        crate::data_folder::make_folder(folder).map_err(|error| Failure::internal(OPEN, error))?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| Failure::internal(OPEN, error))?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true).with_automatic_cleanup(true)),
            prefix: Path::default(),
            place: Place::Folder(folder.to_owned()),
        })
    }

    /// Opens what `url` names: `s3://…`, or a folder.
    ///
    /// # Errors
    /// The address is none, or the folder cannot be made. Whether a bucket is there is known when it is
    /// used.
    pub fn open(url: &str) -> Result<Self, Failure> {
        if !address::is_bucket(url) {
            return Self::in_folder(FilePath::new(url));
        }
        let (store, prefix) = address::bucket(url)
            .map_err(|error| Failure::internal("open the bucket of attachments", error))?;
        Ok(Self {
            store: Arc::new(store),
            prefix,
            place: Place::Bucket,
        })
    }

    /// Where uploads wait that are not complete.
    pub fn uploads(&self) -> Uploads {
        Uploads::new(self.clone())
    }

    fn attachment(&self, id: AttachmentId) -> Path {
        self.at("attachments").join(id.to_string())
    }

    fn at(&self, folder: &'static str) -> Path {
        self.prefix.clone().join(folder)
    }

    fn name(&self, id: AttachmentId, variant: Variant) -> Path {
        self.attachment(id).join(variant.as_str())
    }

    /// Keeps `bytes` as a variant of `id`, in place of what is there.
    pub async fn put(
        &self,
        id: AttachmentId,
        variant: Variant,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        let name = self.name(id, variant);
        let put = self.store.put(&name, PutPayload::from(bytes)).await;
        put.map(drop)
            .map_err(|error| self.failed("keep an attachment", error))
    }

    /// Keeps what `stream` brings as a variant of `id`, in place of what is there. A stream that fails
    /// leaves nothing behind.
    pub async fn put_stream(
        &self,
        id: AttachmentId,
        variant: Variant,
        mut stream: BlobStream,
    ) -> Result<(), Failure> {
        const KEEP: &str = "keep an attachment";
        let failed = |error| self.failed(KEEP, error);
        let name = self.name(id, variant);
        let upload = self.store.put_multipart(&name).await.map_err(failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PIECE);
        loop {
            match stream.next().await {
                Some(Ok(bytes)) => {
                    writer
                        .wait_for_capacity(PIECES_AT_ONCE)
                        .await
                        .map_err(failed)?;
                    writer.put(bytes);
                }
                Some(Err(failure)) => {
                    if let Err(error) = writer.abort().await {
                        let failure = self.failed(KEEP, error);
                        tracing::warn!(%failure, "what was kept in part is left behind");
                    }
                    return Err(failure);
                }
                None => break,
            }
        }
        writer.finish().await.map(drop).map_err(failed)
    }

    /// The bytes of a variant of `id` within `range`, which is within its size; `None` where there is
    /// none.
    pub async fn get(
        &self,
        id: AttachmentId,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<Option<BlobStream>, Failure> {
        self.read(&self.name(id, variant), range).await
    }

    async fn read(&self, name: &Path, range: Range<u64>) -> Result<Option<BlobStream>, Failure> {
        const READ: &str = "read an attachment";
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        match self.store.get_opts(name, options).await {
            Ok(found) => {
                let blobs = self.clone();
                let stream = found.into_stream();
                let stream = stream.map_err(move |error| blobs.failed(READ, error));
                Ok(Some(stream.boxed()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(READ, error)),
        }
    }

    /// Erases all variants of `id`. What is not there is erased already.
    pub async fn erase(&self, id: AttachmentId) -> Result<(), Failure> {
        let names = Variant::ALL.map(|variant| self.name(id, variant));
        self.delete(names).await?;
        self.sync("attachments").await
    }

    async fn delete(&self, names: impl IntoIterator<Item = Path>) -> Result<(), Failure> {
        for name in names {
            match self.store.delete(&name).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("erase an attachment", error)),
            }
        }
        Ok(())
    }

    /// Sees that what was deleted below `folder` does not come back after a power cut.
    async fn sync(&self, folder: &'static str) -> Result<(), Failure> {
        const ERASE: &str = "erase an attachment";
        let Place::Folder(root) = &self.place else {
            return Ok(());
        };
        let folder = root.join(folder);
        let synced = tokio::task::spawn_blocking(move || match std::fs::File::open(folder) {
            Ok(folder) => folder.sync_all(),
            // Nothing was ever kept there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        synced
            .await
            .map_err(|error| Failure::internal(ERASE, error))?
            .map_err(|error| Failure::internal(ERASE, error))
    }

    /// Puts `bytes` where nothing is; says whether nothing was.
    async fn create(&self, name: &Path, bytes: Bytes) -> Result<bool, Failure> {
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(name, PutPayload::from(bytes), options);
        match put.await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            // A server may refuse before it has read all, and close the connection so that its answer is
            // lost.
            Err(error) => match self.store.head(name).await {
                Ok(_) => Ok(false),
                Err(_) => Err(self.failed("keep an upload", error)),
            },
        }
    }

    fn failed(&self, what: &'static str, error: object_store::Error) -> Failure {
        if is_full(&error) {
            return Failure::storage_full(what, error);
        }
        match self.place {
            Place::Folder(_) => Failure::internal(what, error),
            Place::Bucket => Failure::unavailable(what, error),
        }
    }
}

fn is_full(error: &object_store::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use uuid::Uuid;

    const ID: AttachmentId = AttachmentId(Uuid::from_u128(7));

    async fn whole(stream: BlobStream) -> Vec<u8> {
        let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
        pieces.concat()
    }

    #[tokio::test]
    async fn what_is_kept_is_read_in_parts_and_erased() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(&folder.path().join("deep/attachments")).unwrap();
        let original = Variant::Original;
        assert!(blobs.get(ID, original, 0..1).await.unwrap().is_none());
        let pieces = ["tea ", "and ", "cake"].map(|text| Ok(Bytes::from(text)));
        let pieces = stream::iter(pieces).boxed();
        blobs.put_stream(ID, original, pieces).await.unwrap();
        let small = Bytes::from("tea");
        blobs.put(ID, Variant::Thumbnail, small).await.unwrap();
        for (range, text) in [(0..12, "tea and cake"), (4..7, "and")] {
            let found = blobs.get(ID, original, range).await.unwrap().unwrap();
            assert_eq!(whole(found).await, text.as_bytes());
        }
        // As open folders of the same place see it after a restart.
        let again = Blobs::open(folder.path().join("deep/attachments").to_str().unwrap()).unwrap();
        again.erase(ID).await.unwrap();
        again.erase(ID).await.unwrap();
        for variant in Variant::ALL {
            assert!(blobs.get(ID, variant, 0..1).await.unwrap().is_none());
        }
        let left = std::fs::read_dir(folder.path().join("deep/attachments/attachments"));
        assert!(left.map_or(0, Iterator::count) == 0, "nothing is left");
    }

    #[tokio::test]
    async fn a_stream_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path()).unwrap();
        let broken = stream::iter([
            Ok(Bytes::from("half of ")),
            Err(Failure::internal("read", "it broke")),
        ]);
        let put = blobs.put_stream(ID, Variant::Original, broken.boxed());
        assert!(put.await.is_err());
        let found = blobs.get(ID, Variant::Original, 0..1).await.unwrap();
        assert!(found.is_none());
    }
}
