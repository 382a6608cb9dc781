//! `GET /v1/blobs/{attachment}/{variant}`: the bytes of a file, for whoever has its signed address, whole or
//! one range of them (RFC 9110, section 14). They come as they are kept, piece by piece. Browsers run
//! nothing that is in them.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::AttachmentId;
use futures::TryStreamExt as _;
use infra::blobs::Variant;
use infra::failure::Failure;
use infra::http::{InPath, Query};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::attachments::{self as model, Attachment};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::QueryApi;
use crate::answers::ReadProblems;
use crate::attachments::attachment_not_found;
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// What a name in a header is escaped of (RFC 8187).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What may not stand between quotation marks in a header.
const QUOTED: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b'%').add(b';');

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinkParams {
    /// When the address ends, in seconds of Unix time.
    expires: i64,
    /// That it was given out here.
    signature: String,
}

/// What of a file is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    One(Range<u64>),
    /// None of it: what is asked for is beyond its end.
    Beyond,
}

/// What of a file of `size` bytes a `Range` header asks for. What is no range of bytes, or several of them,
/// asks for all of it.
fn part(asked: Option<&HeaderValue>, size: u64) -> Part {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let asked = asked.and_then(|asked| asked.to_str().ok());
    let Some(range) = asked.and_then(|asked| asked.strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Part::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Part::Whole,
    };
    if range.start < range.end {
        Part::One(range)
    } else {
        Part::Beyond
    }
}

/// Whether browsers may show it where it is linked: what they do not run, and cannot take for a page.
fn is_shown(media_type: &str) -> bool {
    let pictures = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    let (kind, _) = media_type.split_once('/').unwrap_or_default();
    pictures.contains(&media_type) || kind == "audio" || kind == "video"
}

fn disposition(name: Option<&str>, media_type: &str) -> String {
    let how = if is_shown(media_type) {
        "inline"
    } else {
        "attachment"
    };
    let Some(name) = name else {
        return how.to_owned();
    };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii() { c } else { '_' })
        .collect();
    let plain = utf8_percent_encode(&plain, QUOTED);
    let exact = utf8_percent_encode(name, ESCAPED);
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// A variant of a file.
struct File {
    media_type: String,
    size: u64,
    name: Option<String>,
    etag: String,
}

impl File {
    fn of(attachment: Attachment, variant: Variant) -> Option<Self> {
        Some(match variant {
            Variant::Original => Self {
                etag: format!("\"{}\"", attachment.sha256),
                media_type: attachment.media_type,
                size: attachment.size,
                name: attachment.name,
            },
            Variant::Thumbnail => Self {
                etag: format!("\"{}-small\"", attachment.sha256),
                media_type: attachment.thumbnail_media_type?,
                size: attachment.thumbnail_size?,
                name: None,
            },
        })
    }

    fn headers(&self, seconds_left: i64) -> Result<HeaderMap, Failure> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| Failure::internal("send a file", error))
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value(&self.media_type)?);
        let disposition = disposition(self.name.as_deref(), &self.media_type);
        headers.insert(header::CONTENT_DISPOSITION, value(&disposition)?);
        headers.insert(header::ETAG, value(&self.etag)?);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let kept = format!("private, max-age={seconds_left}, immutable");
        headers.insert(header::CACHE_CONTROL, value(&kept)?);
        Ok(headers)
    }
}

fn says(headers: &HeaderMap, name: &HeaderName, etag: &str) -> Option<bool> {
    let said = headers.get(name)?.to_str().unwrap_or_default();
    Some(
        said.split(',')
            .any(|it| it.trim().trim_start_matches("W/") == etag),
    )
}

/// The bytes of a file
///
/// Under the address that `GET /v1/attachments/{attachment}`, messages and profiles give; it needs no token.
/// Answers one range, `ETag`, `If-None-Match` and `If-Range`.
#[utoipa::path(
    get,
    path = "/v1/blobs/{attachment}/{variant}",
    tag = "attachments",
    params(
        ("attachment" = AttachmentId, Path, description = "Of which file"),
        ("variant" = String, Path, description = "`original` or `thumbnail`"),
        LinkParams,
        ("Range" = Option<String>, Header, description = "`bytes=0-499`, `bytes=500-` or `bytes=-500`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "It is what the client has"),
        (status = 403, description = "`link_invalid`: the address was not given out here, or has ended", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`attachment_not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "`range_beyond_end`; Content-Range says how long it is", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
)]
pub(crate) async fn get(
    State(api): State<QueryApi>,
    InPath((id, variant)): InPath<(AttachmentId, String)>,
    Query(params): Query<LinkParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let variant = Variant::named(&variant).ok_or_else(attachment_not_found)?;
    let now = api.guard.now();
    let LinkParams { expires, signature } = &params;
    if !api.links.is_good(id, variant, *expires, signature, now) {
        let (status, title) = (StatusCode::FORBIDDEN, "The address is not valid");
        let detail = "it was not given out here, or has ended: ask for another";
        return Err(Problem::new(status, "link_invalid", title).with_detail(detail));
    }
    let Some(blobs) = &api.blobs else {
        let hint = "this process has no place for them: set attachments_url";
        return Err(Failure::unavailable("read attachments", hint).into());
    };
    let mut attachment = kept(&api, id, None).await?;
    if attachment.is_none() {
        // Whoever gave the address out knew of it, maybe by a read model that is ahead of this one.
        let head = *api.store.head().borrow();
        attachment = kept(&api, id, Some(MinPosition(head))).await?;
    }
    let attachment = attachment.ok_or_else(attachment_not_found)?;
    let file = File::of(attachment, variant).ok_or_else(attachment_not_found)?;
    let mut answer = file.headers(expires - now.timestamp())?;
    if says(&headers, &header::IF_NONE_MATCH, &file.etag) == Some(true) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let is_same = says(&headers, &header::IF_RANGE, &file.etag).unwrap_or(true);
    let asked = headers.get(header::RANGE).filter(|_| is_same);
    let (status, range) = match part(asked, file.size) {
        Part::Whole => (StatusCode::OK, 0..file.size),
        Part::One(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Beyond => return Ok(beyond(file.size)),
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let said = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        let said = HeaderValue::from_str(&said);
        let said = said.map_err(|error| Failure::internal("send a file", error))?;
        answer.insert(header::CONTENT_RANGE, said);
    }
    answer.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let bytes = blobs.get(id, variant, range).await?;
    let bytes = bytes.ok_or_else(attachment_not_found)?;
    let bytes = bytes
        .inspect_err(|failure| tracing::error!(%failure, "a file was cut off while it was sent"));
    Ok((status, answer, Body::from_stream(bytes)).into_response())
}

/// The attachment as of now, or of `min_position` at the least.
async fn kept(
    api: &QueryApi,
    id: AttachmentId,
    min_position: Option<MinPosition>,
) -> Result<Option<Attachment>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, min_position).await?;
    Ok(model::kept(&mut snapshot, [id]).await?.into_iter().next())
}

fn beyond(size: u64) -> Response {
    let (status, title) = (StatusCode::RANGE_NOT_SATISFIABLE, "The file is shorter");
    let problem = Problem::new(status, "range_beyond_end", title);
    let mut response = problem.into_response();
    if let Ok(said) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, said);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood() {
        let of = |asked: &'static str| part(Some(&HeaderValue::from_static(asked)), 10);
        for (asked, expected) in [
            ("bytes=0-3", Part::One(0..4)),
            ("bytes=4-", Part::One(4..10)),
            ("bytes=-3", Part::One(7..10)),
            ("bytes=-99", Part::One(0..10)),
            ("bytes=9-99999999999999999999999", Part::One(9..10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=10-11", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=3-1", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=x-", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            assert_eq!(of(asked), expected, "{asked}");
        }
        assert_eq!(part(None, 10), Part::Whole);
    }

    #[test]
    fn names_stand_in_headers_whatever_is_in_them() {
        let said = disposition(Some("räksmörgås \"1\".pdf"), "application/pdf");
        let expected = "attachment; filename=\"r_ksm_rg_s %221%22.pdf\"; \
                        filename*=UTF-8''r%C3%A4ksm%C3%B6rg%C3%A5s%20%221%22.pdf";
        assert_eq!(said, expected);
        assert_eq!(disposition(None, "image/png"), "inline");
        assert_eq!(disposition(None, "image/svg+xml"), "attachment");
        assert!(HeaderValue::from_str(&said).is_ok());
    }
}
