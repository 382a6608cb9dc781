//! Uploading in pieces, by the tus protocol 1.0.0 (<https://tus.io/protocols/resumable-upload>), with its
//! extensions creation, creation-with-upload, termination and expiration. An upload belongs to who began it;
//! for others there is none. What an offset says is kept, whatever happens, and any process goes on with it.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::attachment::Command;
use domain::values::{FileName, MediaType};
use domain::{AttachmentId, Position, StreamName};
use infra::blobs::{AppendError, Declared, Upload, UploadId, Uploads};
use infra::failure::Failure;
use infra::http::InPath;
use infra::problem::Problem;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::finish::finish;
use super::{UNFINISHED_MAX, not_found, type_not_allowed};
use crate::CommandApi;
use crate::asking::Asked;
use crate::problems::CommandProblems;

/// The version of the protocol.
const VERSION: &str = "1.0.0";

/// What is understood besides its core.
const EXTENSIONS: &str = "creation,creation-with-upload,termination,expiration";

/// How bodies with parts of files are marked.
const PART_TYPE: &str = "application/offset+octet-stream";

/// How long an upload may take, from its beginning.
const LASTS: TimeDelta = TimeDelta::hours(24);

/// The longest metadata that is read, in bytes.
const METADATA_BYTES_MAX: usize = 4 * 1024;

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const POSITION: HeaderName = HeaderName::from_static("verbatim-position");

/// An upload that has begun.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Begun {
    /// The attachment that it becomes.
    id: AttachmentId,
    /// How much of it is kept, in bytes.
    offset: u64,
    /// How long it is.
    length: u64,
    /// When it has to be complete.
    expires_at: DateTime<Utc>,
}

/// How far an upload is.
struct Standing {
    offset: u64,
    length: u64,
    /// While it is not complete.
    expires_at: Option<DateTime<Utc>>,
    /// Where in the log it stands that it is.
    position: Option<Position>,
}

impl Standing {
    fn of(upload: &Upload, position: Option<Position>) -> Self {
        Self {
            offset: upload.offset,
            length: upload.length,
            expires_at: position.is_none().then(|| upload.begun_at + LASTS),
            position,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
        headers.insert(UPLOAD_OFFSET, self.offset.into());
        headers.insert(UPLOAD_LENGTH, self.length.into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let expires = self
            .expires_at
            .map(|at| at.format("%a, %d %b %Y %H:%M:%S GMT"));
        if let Some(Ok(expires)) = expires.map(|at| HeaderValue::from_str(&at.to_string())) {
            headers.insert(UPLOAD_EXPIRES, expires);
        }
        if let Some(Position(position)) = self.position {
            headers.insert(POSITION, position.into());
        }
        headers
    }
}

/// 412 where the client speaks another version.
fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers.get(TUS_RESUMABLE).map(HeaderValue::as_bytes);
    if said == Some(VERSION.as_bytes()) {
        return Ok(());
    }
    let (status, title) = (
        StatusCode::PRECONDITION_FAILED,
        "This is for clients that speak tus",
    );
    let problem = Problem::new(status, "tus_version", title);
    Err(problem.with_detail(format!("send the header Tus-Resumable: {VERSION}")))
}

fn bad_header(name: &HeaderName, rule: impl Display) -> Problem {
    let (status, title) = (StatusCode::BAD_REQUEST, "A header is not valid");
    Problem::new(status, "invalid_header", title).with_detail(format!("{name}: {rule}"))
}

/// A number in a header; `None` where it is not there.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| bad_header(name, "a whole number"))
}

fn is_part(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    said == Some(PART_TYPE.as_bytes())
}

/// What `Upload-Metadata` says: `filename` and `filetype`, and what else clients like to say, which is
/// not kept.
fn declared(headers: &HeaderMap) -> Result<Declared, Problem> {
    const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
    let bad = |rule: &str| bad_header(&METADATA, rule);
    let Some(text) = headers.get(METADATA) else {
        return Ok(Declared::default());
    };
    let text = text.to_str().map_err(|_| bad("visible ASCII"))?;
    if text.len() > METADATA_BYTES_MAX {
        return Err(bad("at most 4096 bytes"));
    }
    let mut declared = Declared::default();
    for pair in text.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = || {
            let value = STANDARD.decode(value).ok();
            let value = value.and_then(|bytes| String::from_utf8(bytes).ok());
            value.ok_or_else(|| bad("values are UTF-8 in Base64"))
        };
        match key {
            "filename" | "name" => {
                let name = FileName::parse(&value()?);
                declared.name = Some(name.map_err(|invalid| bad(invalid.rule))?);
            }
            "filetype" | "type" => {
                let value = value()?;
                // Browsers say nothing of what they do not know.
                if !value.is_empty() {
                    let media_type = MediaType::parse(&value);
                    declared.media_type = Some(media_type.map_err(|invalid| bad(invalid.rule))?);
                }
            }
            _ => {}
        }
    }
    Ok(declared)
}

fn too_large(code: &str, title: &str, detail: impl Display) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, title).with_detail(detail)
}

fn busy() -> Problem {
    let (status, title) = (
        StatusCode::SERVICE_UNAVAILABLE,
        "Too much is uploaded at the moment",
    );
    let mut problem = Problem::new(status, "busy", title);
    problem.retry_after_s = Some(1);
    problem
}

/// Has the one turn at an upload, until it is dropped.
struct Turn {
    under_way: Arc<Mutex<HashSet<UploadId>>>,
    id: UploadId,
}

impl Turn {
    fn take(api: &CommandApi, id: UploadId) -> Result<Self, Problem> {
        let under_way = Arc::clone(&api.attachments().under_way);
        if !under_way.lock().insert(id) {
            let title = "Another request goes on with this upload";
            return Err(Problem::new(StatusCode::LOCKED, "upload_locked", title));
        }
        Ok(Self { under_way, id })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.id);
    }
}

/// Refuses a file that is too large, of a type that is not taken, or one too many.
async fn admit(
    api: &CommandApi,
    uploads: &Uploads,
    id: UploadId,
    length: u64,
    declared: &Declared,
) -> Result<(), Problem> {
    let rules = &api.attachments().rules;
    if length == 0 {
        return Err(bad_header(&UPLOAD_LENGTH, "a file has at least one byte"));
    }
    if length > rules.bytes_max {
        let detail = format!("a file has at most {} bytes", rules.bytes_max);
        return Err(too_large("file_too_large", "The file is too large", detail));
    }
    let unknown = MediaType::unknown();
    let said = declared.media_type.as_ref().filter(|it| **it != unknown);
    if let Some(said) = said.filter(|it| !rules.types.allow(it)) {
        return Err(type_not_allowed(said));
    }
    let begun = uploads.of(id.owner).await?;
    let others: Vec<&Upload> = begun.iter().filter(|upload| upload.id != id).collect();
    if others.len() >= UNFINISHED_MAX {
        let (status, title) = (StatusCode::CONFLICT, "Too many uploads are not complete");
        let detail = format!("complete or delete one first; there may be {UNFINISHED_MAX}");
        return Err(Problem::new(status, "too_many_uploads", title).with_detail(detail));
    }
    let reserved: u64 = others.iter().map(|upload| upload.length).sum();
    let used = rules.usage.bytes_of(id.owner).await?;
    let together = used.saturating_add(reserved).saturating_add(length);
    if together > rules.quota_bytes {
        let detail = format!(
            "your files may have {} bytes together; {} are used, and {reserved} are for uploads that \
             are not complete",
            rules.quota_bytes, used
        );
        return Err(too_large(
            "quota_exceeded",
            "There is no room for the file",
            detail,
        ));
    }
    Ok(())
}

/// Keeps what a body brings, and makes an attachment of it if that was the rest. Goes on though its client
/// hangs up, so that what came is kept.
async fn go_on(
    api: &CommandApi,
    turn: Turn,
    mut upload: Upload,
    body: Body,
) -> Result<Standing, Problem> {
    let place = Arc::clone(&api.attachments().uploading).try_acquire_owned();
    let place = place.map_err(|_| busy())?;
    let api = api.clone();
    let tasks = api.afterwards().clone();
    let appended = tasks.spawn(async move {
        let (_turn, _place) = (turn, place);
        let uploads = api.attachments().blobs()?.uploads();
        match uploads.append(&mut upload, body.into_data_stream()).await {
            Ok(()) => {}
            Err(AppendError::Body(error)) => return Err(Problem::malformed_body(error)),
            Err(AppendError::TooLong) => {
                let detail = "more came than Upload-Length said";
                return Err(too_large("upload_too_long", "The body is too long", detail));
            }
            Err(AppendError::Overtaken) => return Err(offset_wrong(upload.offset)),
            Err(AppendError::Failure(failure)) => return Err(failure.into()),
        }
        let position = if upload.is_complete() {
            Some(finish(&api, &upload).await?)
        } else {
            None
        };
        Ok(Standing::of(&upload, position))
    });
    appended
        .await
        .map_err(|error| Failure::internal("take an upload", error))?
}

fn offset_wrong(offset: u64) -> Problem {
    let (status, title) = (StatusCode::CONFLICT, "The upload is at another offset");
    let detail = format!("it was at {offset}; ask with HEAD where it is");
    Problem::new(status, "upload_offset_wrong", title).with_detail(detail)
}

/// Begin an upload
///
/// By the tus protocol 1.0.0. `Upload-Length` says how long the file is, `Upload-Metadata` has `filename` and
/// `filetype`. The body may bring the first part, as `application/offset+octet-stream`. `Location` and `id` in
/// the answer name the attachment that it becomes.
#[utoipa::path(
    post,
    path = "/v1/attachments",
    tag = "attachments",
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = u64, Header, description = "Of the whole file, in bytes"),
        ("Upload-Metadata" = Option<String>, Header, description = "Pairs of a name and Base64 of its value"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 201, body = Begun, description = "It has begun, or had"),
        CommandProblems,
        (status = 400, body = Problem, content_type = "application/problem+json",
         description = "`invalid_header`, `invalid_idempotency_key`, `malformed_body`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`too_many_uploads`: complete or delete one first; `conflict`"),
        (status = 412, body = Problem, content_type = "application/problem+json",
         description = "`tus_version`"),
        (status = 413, body = Problem, content_type = "application/problem+json",
         description = "`file_too_large`, `quota_exceeded`, `upload_too_long`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`type_not_allowed`; where the file is complete, all of PATCH"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let length = number(&headers, &UPLOAD_LENGTH)?;
    let length = length.ok_or_else(|| bad_header(&UPLOAD_LENGTH, "is missing"))?;
    let declared = declared(&headers)?;
    let id = UploadId {
        owner: asked.asking.user,
        id: AttachmentId::begun_by(asked.asking.command),
    };
    let turn = Turn::take(&api, id)?;
    let uploads = api.attachments().blobs()?.uploads();
    let standing = if let Some(standing) = finished(&api, id).await? {
        standing
    } else {
        let upload = if let Some(upload) = uploads.find(id).await? {
            upload
        } else {
            // What was removed does not come back under its id.
            let before = api.uploaded(&StreamName::attachment(id.id)).await?;
            before.is_none().then_some(()).ok_or_else(not_found)?;
            admit(&api, &uploads, id, length, &declared).await?;
            uploads.begin(id, length, &declared).await?;
            uploads.find(id).await?.ok_or_else(not_found)?
        };
        if is_part(&headers) && upload.offset == 0 {
            go_on(&api, turn, upload, body).await?
        } else {
            Standing::of(&upload, None)
        }
    };
    let mut headers = standing.headers();
    let location = HeaderValue::from_str(&format!("/v1/attachments/{}", id.id));
    let location = location.map_err(|error| Failure::internal("name an upload", error))?;
    headers.insert(header::LOCATION, location);
    let begun = Begun {
        id: id.id,
        offset: standing.offset,
        length: standing.length,
        expires_at: standing.expires_at.unwrap_or_else(|| api.clock().now()),
    };
    Ok((StatusCode::CREATED, headers, Json(begun)).into_response())
}

/// An upload that became an attachment: it is at its end, whatever is asked of it.
async fn finished(api: &CommandApi, id: UploadId) -> Result<Option<Standing>, Problem> {
    if api.kept(id.owner, id.id).await?.is_none() {
        return Ok(None);
    }
    let stream = StreamName::attachment(id.id);
    let (uploaded, position) = api.uploaded(&stream).await?.ok_or_else(not_found)?;
    // To whoever uploads it is as long as what they have.
    let length = uploaded.uploaded_size.unwrap_or(uploaded.size);
    Ok(Some(Standing {
        offset: length,
        length,
        expires_at: None,
        position: Some(position),
    }))
}

/// The upload `id`, in time.
async fn unfinished(api: &CommandApi, id: UploadId) -> Result<Upload, Problem> {
    let uploads = api.attachments().blobs()?.uploads();
    let upload = uploads.find(id).await?.ok_or_else(not_found)?;
    if upload.begun_at + LASTS <= api.clock().now() {
        let (status, title) = (StatusCode::GONE, "The upload took too long");
        return Err(Problem::new(status, "upload_expired", title));
    }
    Ok(upload)
}

/// How far an upload is
///
/// `Upload-Offset` says how much of it is kept. Of a file that is complete it says its length, once the
/// attachment is there.
#[utoipa::path(
    head,
    path = "/v1/attachments/{attachment}",
    tag = "attachments",
    params(
        ("attachment" = AttachmentId, Path, description = "Which"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Idempotency-Key" = Option<String>, Header, description = "Not needed"),
    ),
    responses(
        (status = 200, description = "With Upload-Offset and Upload-Length"),
        CommandProblems,
        (status = 404, description = "`attachment_not_found`"),
        (status = 410, description = "`upload_expired`"),
        (status = 412, description = "`tus_version`"),
        (status = 422, description = "As of PATCH, where the file is complete and was not looked at yet"),
        (status = 423, description = "`upload_locked`: another request goes on with it"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn head(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(id): InPath<AttachmentId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    let id = UploadId {
        owner: asked.asking.user,
        id,
    };
    if let Some(standing) = finished(&api, id).await? {
        return Ok((StatusCode::OK, standing.headers()).into_response());
    }
    let upload = unfinished(&api, id).await?;
    let standing = if upload.is_complete() {
        // All of it came, and whoever was to look at it was interrupted.
        let turn = Turn::take(&api, id)?;
        go_on(&api, turn, upload, Body::empty()).await?
    } else {
        Standing::of(&upload, None)
    };
    Ok((StatusCode::OK, standing.headers()).into_response())
}

/// Go on with an upload
///
/// The body brings what comes at `Upload-Offset`. With the last part the file is looked at: what it is, whether
/// the scanner of this server minds it; pictures lose what they tell of where they were taken. Then
/// the attachment is there, and `Verbatim-Position` says from which position on reads have it.
#[utoipa::path(
    patch,
    path = "/v1/attachments/{attachment}",
    tag = "attachments",
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    params(
        ("attachment" = AttachmentId, Path, description = "Which"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "Where the body begins in the file"),
        ("Idempotency-Key" = Option<String>, Header, description = "Not needed: the offset tells a repeat"),
    ),
    responses(
        (status = 204, description = "It is kept; Upload-Offset says how far the upload is"),
        CommandProblems,
        (status = 400, body = Problem, content_type = "application/problem+json",
         description = "`invalid_header`; `malformed_body`: it broke off, and what came is kept"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`attachment_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`upload_offset_wrong`: ask with HEAD how far it is; `conflict`"),
        (status = 410, body = Problem, content_type = "application/problem+json",
         description = "`upload_expired`"),
        (status = 412, body = Problem, content_type = "application/problem+json",
         description = "`tus_version`"),
        (status = 413, body = Problem, content_type = "application/problem+json",
         description = "`upload_too_long`"),
        (status = 415, body = Problem, content_type = "application/problem+json",
         description = "`unsupported_media_type`: a part is application/offset+octet-stream"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "The file is refused and erased: `type_differs`, `type_not_allowed`, `file_infected`, \
                        `picture_broken`, `picture_too_large`"),
        (status = 423, body = Problem, content_type = "application/problem+json",
         description = "`upload_locked`: another request goes on with it"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(id): InPath<AttachmentId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_version(&headers)?;
    if !is_part(&headers) {
        let (status, title) = (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body is no part of a file",
        );
        let problem = Problem::new(status, "unsupported_media_type", title);
        return Err(problem.with_detail(format!("send it as {PART_TYPE}")));
    }
    let offset = number(&headers, &UPLOAD_OFFSET)?;
    let offset = offset.ok_or_else(|| bad_header(&UPLOAD_OFFSET, "is missing"))?;
    let id = UploadId {
        owner: asked.asking.user,
        id,
    };
    let turn = Turn::take(&api, id)?;
    if let Some(standing) = finished(&api, id).await? {
        return Err(offset_wrong(standing.offset));
    }
    let upload = unfinished(&api, id).await?;
    if upload.offset != offset {
        return Err(offset_wrong(upload.offset));
    }
    let standing = go_on(&api, turn, upload, body).await?;
    Ok((StatusCode::NO_CONTENT, standing.headers()).into_response())
}

/// Give up an upload, or remove an attachment
///
/// One's own. Nobody gets it any more, in whichever messages it is; its bytes are erased soon after.
#[utoipa::path(
    delete,
    path = "/v1/attachments/{attachment}",
    tag = "attachments",
    params(
        ("attachment" = AttachmentId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 204, description = "It is gone, or was"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`attachment_not_found`"),
        (status = 423, body = Problem, content_type = "application/problem+json",
         description = "`upload_locked`: another request goes on with it"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(id): InPath<AttachmentId>,
) -> Result<Response, Problem> {
    let owner = asked.asking.user;
    let upload = UploadId { owner, id };
    let _turn = Turn::take(&api, upload)?;
    let blobs = api.attachments().blobs()?;
    let uploads = blobs.uploads();
    let begun = uploads.find(upload).await?;
    let mut headers = HeaderMap::new();
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    if begun.is_some() {
        uploads.discard(upload).await?;
        if api.kept(owner, id).await?.is_none() {
            // Whoever was to look at it may have been interrupted.
            blobs.erase(id).await?;
            return Ok((StatusCode::NO_CONTENT, headers).into_response());
        }
    }
    let envelope = asked.asking.envelope(&("remove_attachment", id))?;
    let command = Command::Remove { by: owner };
    let stream = StreamName::attachment(id);
    let done = api
        .attachments()
        .executor
        .execute(&stream, envelope, command);
    headers.insert(POSITION, done.await?.position.0.into());
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// What uploads may be
///
/// For clients of the tus protocol.
#[utoipa::path(
    options,
    path = "/v1/attachments",
    tag = "attachments",
    params(("Idempotency-Key" = Option<String>, Header, description = "Not needed")),
    responses((status = 204, description = "With Tus-Version, Tus-Extension and Tus-Max-Size"), CommandProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn options(State(api): State<CommandApi>, _asked: Asked) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("tus-resumable", VERSION),
        ("tus-version", VERSION),
        ("tus-extension", EXTENSIONS),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let max_size = HeaderName::from_static("tus-max-size");
    headers.insert(max_size, api.attachments().rules.bytes_max.into());
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
