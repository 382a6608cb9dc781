//! Headers by which browsers keep what they got to themselves. On every answer of ours; only what is no
//! HTTP at all is answered without them, below us.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// What the page at `/docs` needs: scripts, styles and pictures of its own, and to ask this server.
const POLICY_OF_DOCS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// Nothing else is a page.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What people upload is not trusted, whatever it says it is.
const POLICY_OF_FILES: HeaderValue =
    HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'");

/// How long a browser comes back with TLS only: a year.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Whether clients speak TLS to this process itself. Where a proxy does, it is the proxy's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// To this process.
    Ours,
    /// Not to this process.
    NotOurs,
}

/// Puts the headers on every answer.
pub(super) async fn headers(
    State(encryption): State<Encryption>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let of_docs = path == "/docs" || path.starts_with("/docs/");
    let of_api = path.starts_with("/v1/");
    let is_file = path.starts_with("/v1/blobs/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = match (of_docs, is_file) {
        (true, _) => POLICY_OF_DOCS,
        (false, true) => POLICY_OF_FILES,
        (false, false) => POLICY,
    };
    // Whoever has the address of a file may show it on their pages.
    let resources = if is_file {
        "cross-origin"
    } else {
        "same-origin"
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            fixed(resources),
        ),
    ] {
        headers.insert(name, value);
    }
    if of_api {
        not_kept(headers);
    }
    if encryption == Encryption::Ours {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    response
}

/// What is about people is not for caches; a route that knows better has said so.
fn not_kept(headers: &mut HeaderMap) {
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(fixed("no-store"));
}

const fn fixed(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}
