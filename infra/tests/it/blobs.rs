//! Bytes of attachments in a folder and in a bucket: the same wherever they are.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{AttachmentId, UserId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use infra::blobs::{AppendError, Blobs, Declared, UploadId, Variant};
use infra::failure::Failure;
use uuid::Uuid;

use crate::nats::free_port;
use crate::s3::S3Server;

const ID: AttachmentId = AttachmentId(Uuid::from_u128(7));

fn body(bytes: &[u8]) -> impl stream::Stream<Item = Result<Bytes, Failure>> + use<> {
    let pieces: Vec<_> = bytes
        .chunks(100_000)
        .map(Bytes::copy_from_slice)
        .map(Ok)
        .collect();
    stream::iter(pieces)
}

async fn read(blobs: &Blobs, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    let found = blobs.get(ID, Variant::Original, range).await.unwrap()?;
    let pieces: Vec<Bytes> = found.try_collect().await.unwrap();
    Some(pieces.concat())
}

/// An upload comes in pieces, is kept for good, read in ranges and erased.
async fn lives(blobs: &Blobs) {
    let file: Vec<u8> = (0..=250_u8).cycle().take(21 * 1024 * 1024).collect();
    let length = file.len() as u64;
    let uploads = blobs.uploads();
    let owner = UserId(Uuid::from_u128(1));
    let id = UploadId { owner, id: ID };
    for _ in 0..2 {
        uploads
            .begin(id, length, &Declared::default())
            .await
            .unwrap();
    }
    let mut upload = uploads.find(id).await.unwrap().unwrap();
    let mut overtaken = upload.clone();
    let (first, rest) = file.split_at(5_000_000);
    uploads.append(&mut upload, body(first)).await.unwrap();
    let late = uploads.append(&mut overtaken, body(rest)).await;
    assert!(matches!(late, Err(AppendError::Overtaken)), "{late:?}");
    let mut upload = uploads.find(id).await.unwrap().unwrap();
    assert_eq!(upload.offset, 5_000_000);
    uploads.append(&mut upload, body(rest)).await.unwrap();
    assert_eq!(uploads.of(owner).await.unwrap(), [upload.clone()]);
    assert!(upload.is_complete());

    let whole = uploads.read(&upload).boxed();
    blobs
        .put_stream(ID, Variant::Original, whole)
        .await
        .unwrap();
    let small = Bytes::from("small");
    blobs.put(ID, Variant::Thumbnail, small).await.unwrap();
    assert!(read(blobs, 0..length).await.unwrap() == file);
    assert_eq!(read(blobs, 7..12).await.unwrap(), file[7..12]);
    assert_eq!(uploads.idle_since(DateTime::UNIX_EPOCH).await.unwrap(), []);
    assert_eq!(
        uploads.idle_since(DateTime::<Utc>::MAX_UTC).await.unwrap(),
        [id]
    );
    uploads.discard(id).await.unwrap();
    assert_eq!(uploads.find(id).await.unwrap(), None);
    for _ in 0..2 {
        blobs.erase(ID).await.unwrap();
    }
    assert_eq!(read(blobs, 0..1).await, None);
}

#[tokio::test]
async fn a_file_lives_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    lives(&Blobs::in_folder(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn a_file_lives_in_a_bucket() {
    infra::tls::choose_provider();
    let server = S3Server::start(free_port()).await;
    lives(&Blobs::open(&server.url()).unwrap()).await;
}
