//! What happens to a file once all of it came: it is looked at, cleaned, kept for good, and then put on
//! record. A file that is refused is erased. Whoever was interrupted begins again: everything here gives the
//! same result.

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use domain::attachment::{Command, Dimensions, Thumbnail, Uploaded};
use domain::values::MediaType;
use domain::{Actor, Personal, Position, StreamName};
use futures::{StreamExt as _, TryStreamExt as _};
use infra::blobs::{Blobs, Declared, Upload, Uploads, Variant};
use infra::failure::Failure;
use infra::files::{
    self, PICTURE_BYTES_MAX, Picture, PictureBroken, SNIFFED_BYTES, Verdict, sniff,
};
use infra::keys::hex;
use infra::problem::Problem;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use super::type_not_allowed;
use crate::CommandApi;
use crate::execute::Envelope;

/// Why a file is not kept.
enum NotKept {
    /// It never will be.
    Refused(Problem),
    /// It could not be; trying again may help.
    Failure(Failure),
}

impl From<Failure> for NotKept {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A file as it is kept.
struct Stored {
    size: u64,
    sha256: String,
    dimensions: Option<Dimensions>,
    thumbnail: Option<Thumbnail>,
}

/// Makes an attachment of an upload that is complete. Says where in the log that stands.
pub(super) async fn finish(api: &CommandApi, upload: &Upload) -> Result<Position, Problem> {
    let attachments = api.attachments();
    let blobs = attachments.blobs()?;
    let uploads = blobs.uploads();
    let declared = uploads.declared(upload).await?;
    let kept = keep(api, blobs, &uploads, upload, &declared).await;
    let (media_type, stored) = match kept {
        Ok(kept) => kept,
        Err(NotKept::Failure(failure)) => return Err(failure.into()),
        Err(NotKept::Refused(problem)) => {
            let code = problem.code.clone();
            metrics::counter!("verbatim_attachments_refused_total", "code" => code).increment(1);
            blobs.erase(upload.id.id).await?;
            uploads.discard(upload.id).await?;
            return Err(problem);
        }
    };
    let owner = upload.id.owner;
    let name = declared.name.map(|name| Personal::new(owner, name));
    let size = stored.size;
    let uploaded = Uploaded {
        owner,
        name,
        media_type,
        size,
        uploaded_size: (upload.length != size).then_some(upload.length),
        sha256: stored.sha256,
        dimensions: stored.dimensions,
        thumbnail: stored.thumbnail,
    };
    let id = upload.id.id;
    let command = id.command("uploaded");
    let envelope = Envelope::new(Actor::User(owner), command, &("upload_attachment", id))?;
    let stream = StreamName::attachment(id);
    let done = attachments
        .executor
        .execute(&stream, envelope, Command::Upload(uploaded))
        .await?;
    if done.changed {
        metrics::counter!("verbatim_attachments_uploaded_total").increment(1);
        metrics::counter!("verbatim_attachments_uploaded_bytes_total").increment(size);
    }
    uploads.discard(upload.id).await?;
    Ok(done.position)
}

async fn keep(
    api: &CommandApi,
    blobs: &Blobs,
    uploads: &Uploads,
    upload: &Upload,
    declared: &Declared,
) -> Result<(MediaType, Stored), NotKept> {
    let head = head(uploads, upload).await?;
    let media_type = sniff(&head, declared.media_type.as_ref())
        .map_err(|differs| refused("type_differs", "The file is of another type", differs))?;
    if !api.attachments().rules.types.allow(&media_type) {
        return Err(NotKept::Refused(type_not_allowed(&media_type)));
    }
    scan(api, uploads, upload).await?;
    let stored = if files::is_picture(&media_type) {
        keep_picture(api, blobs, uploads, upload, &media_type).await?
    } else {
        keep_stream(blobs, uploads, upload).await?
    };
    Ok((media_type, stored))
}

fn refused(code: &str, title: &str, detail: impl std::fmt::Display) -> NotKept {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    NotKept::Refused(Problem::new(status, code, title).with_detail(detail))
}

/// How the file begins.
async fn head(uploads: &Uploads, upload: &Upload) -> Result<Bytes, Failure> {
    let mut stream = uploads.read(upload);
    let mut head = BytesMut::new();
    while head.len() < SNIFFED_BYTES
        && let Some(bytes) = stream.try_next().await?
    {
        head.extend_from_slice(&bytes[..bytes.len().min(SNIFFED_BYTES - head.len())]);
    }
    Ok(head.freeze())
}

async fn scan(api: &CommandApi, uploads: &Uploads, upload: &Upload) -> Result<(), NotKept> {
    let Some(scanner) = &api.attachments().rules.scanner else {
        return Ok(());
    };
    match scanner.scan(uploads.read(upload)).await? {
        Verdict::Clean => Ok(()),
        Verdict::Found(what) => {
            let (attachment, owner) = (upload.id.id, upload.id.owner);
            tracing::warn!(%attachment, %owner, what, "the scanner refused a file");
            let detail = "the scanner of this server found something bad in it";
            Err(refused("file_infected", "The file is infected", detail))
        }
    }
}

/// Keeps what came, as it is, and reads it once.
async fn keep_stream(blobs: &Blobs, uploads: &Uploads, upload: &Upload) -> Result<Stored, Failure> {
    let digest = Arc::new(Mutex::new(Sha256::new()));
    let hashed = Arc::clone(&digest);
    let stream = uploads
        .read(upload)
        .inspect_ok(move |bytes| hashed.lock().update(bytes));
    blobs
        .put_stream(upload.id.id, Variant::Original, stream.boxed())
        .await?;
    let digest = digest.lock().clone().finalize();
    Ok(Stored {
        size: upload.length,
        sha256: hex(&digest),
        dimensions: None,
        thumbnail: None,
    })
}

async fn keep_picture(
    api: &CommandApi,
    blobs: &Blobs,
    uploads: &Uploads,
    upload: &Upload,
    media_type: &MediaType,
) -> Result<Stored, NotKept> {
    const LOOK: &str = "look at a picture";
    if upload.length > PICTURE_BYTES_MAX {
        let detail = format!("a picture has at most {PICTURE_BYTES_MAX} bytes");
        return Err(refused(
            "picture_too_large",
            "The picture is too large",
            detail,
        ));
    }
    let turn = api.attachments().pictures.acquire().await;
    let _turn = turn.map_err(|error| Failure::internal(LOOK, error))?;
    let mut file = BytesMut::new();
    let mut stream = uploads.read(upload);
    while let Some(bytes) = stream.try_next().await? {
        file.extend_from_slice(&bytes);
    }
    let (file, media_type) = (file.freeze(), media_type.clone());
    let cleaned = tokio::task::spawn_blocking(move || {
        let picture = files::clean(&file, &media_type)?;
        let sha256 = hex(&Sha256::digest(&picture.bytes));
        Ok::<(Picture, String), PictureBroken>((picture, sha256))
    });
    let cleaned = cleaned.await;
    let (picture, sha256) = cleaned
        .map_err(|error| Failure::internal(LOOK, error))?
        .map_err(|broken| refused("picture_broken", "The picture cannot be read", broken))?;
    let id = upload.id.id;
    let size = picture.bytes.len() as u64;
    let thumbnail = picture.small.as_ref().map(|small| Thumbnail {
        media_type: small.media_type.clone(),
        size: small.bytes.len() as u64,
        dimensions: small.dimensions,
    });
    if let Some(small) = picture.small {
        blobs.put(id, Variant::Thumbnail, small.bytes).await?;
    }
    let original = futures::stream::iter([Ok(picture.bytes)]).boxed();
    blobs.put_stream(id, Variant::Original, original).await?;
    Ok(Stored {
        size,
        sha256,
        dimensions: Some(picture.dimensions),
        thumbnail,
    })
}
