//! Uploading in tests.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, header};
use domain::UserId;
use infra::blobs::Blobs;
use infra::failure::Failure;
use infra::files::{AllowedTypes, Scanner};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::World;
use crate::{AttachmentRules, Usage};

/// The largest file here, in bytes.
pub(crate) const BYTES_MAX: u64 = 100_000;

/// What the files of one user may have together.
pub(crate) const QUOTA: u64 = 150_000;

/// What everybody has uploaded.
#[derive(Default)]
pub(crate) struct Used(pub(crate) AtomicU64);

#[async_trait]
impl Usage for Used {
    async fn bytes_of(&self, _user: UserId) -> Result<u64, Failure> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

/// Where a world keeps files, and what they may be.
#[derive(Clone)]
pub(crate) struct Place {
    _folder: Arc<TempDir>,
    pub(crate) used: Arc<Used>,
    pub(crate) rules: AttachmentRules,
}

impl Place {
    pub(crate) fn new(scanner: Option<Scanner>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let used = Arc::new(Used::default());
        let rules = AttachmentRules {
            blobs: Some(Blobs::in_folder(folder.path()).unwrap()),
            bytes_max: BYTES_MAX,
            quota_bytes: QUOTA,
            types: AllowedTypes::default(),
            scanner,
            usage: used.clone(),
        };
        Self {
            _folder: folder,
            used,
            rules,
        }
    }
}

/// A PNG.
pub(crate) fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::new(width, height)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// An answer to a request of the tus protocol.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Told {
    /// A number in a header.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().unwrap().parse().ok()
    }

    /// Its status and code.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl World {
    /// Asks something of the tus protocol.
    pub(crate) async fn tus(
        &self,
        who: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Told {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token(who)))
            .header("tus-resumable", "1.0.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Told {
            status,
            headers,
            body,
        }
    }

    /// Begins an upload; gives its path.
    pub(crate) async fn begin(&self, who: &str, media_type: &str, length: usize) -> Told {
        use base64::Engine as _;
        let media_type = base64::engine::general_purpose::STANDARD.encode(media_type);
        // "tea.bin"
        let metadata = format!("filename dGVhLmJpbg==,filetype {media_type}");
        let headers = [
            ("upload-length", &*length.to_string()),
            ("upload-metadata", &metadata),
        ];
        self.tus(
            who,
            Method::POST,
            "/v1/attachments",
            &headers,
            Body::empty(),
        )
        .await
    }

    /// Goes on with an upload.
    pub(crate) async fn go_on(&self, who: &str, path: &str, offset: usize, part: &[u8]) -> Told {
        let headers = [
            ("upload-offset", &*offset.to_string()),
            ("content-type", "application/offset+octet-stream"),
        ];
        self.tus(who, Method::PATCH, path, &headers, part.to_vec())
            .await
    }

    /// Uploads a file; gives the id of the attachment.
    pub(crate) async fn upload(&self, who: &str, media_type: &str, file: &[u8]) -> String {
        let begun = self.begin(who, media_type, file.len()).await;
        assert_eq!(begun.status, 201, "{}", begun.body);
        let path = begun.headers["location"].to_str().unwrap().to_owned();
        let done = self.go_on(who, &path, 0, file).await;
        assert_eq!(done.status, 204, "{}", done.body);
        begun.body["id"].as_str().unwrap().to_owned()
    }
}
