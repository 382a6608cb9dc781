//! Which web pages may use the API (CORS): none, unless the settings name them.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use infra::http::IDEMPOTENCY_KEY;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::settings::Edge;

/// How long a browser need not ask again.
const ASK_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// What answers to browsers that ask; `None` where no page may use the API. Cookies are for pages of our own
/// host: others log in with a token that they keep.
pub(super) fn layer(edge: &Edge) -> Option<CorsLayer> {
    if edge.cors_origins.is_empty() {
        return None;
    }
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        HeaderName::from_static(IDEMPOTENCY_KEY),
        header::RANGE,
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("tus-resumable"),
        HeaderName::from_static("upload-length"),
        HeaderName::from_static("upload-metadata"),
        HeaderName::from_static("upload-offset"),
        HeaderName::from_static("traceparent"),
    ];
    let answered = [
        header::LOCATION,
        header::CONTENT_RANGE,
        header::ETAG,
        HeaderName::from_static("tus-resumable"),
        HeaderName::from_static("tus-version"),
        HeaderName::from_static("tus-extension"),
        HeaderName::from_static("tus-max-size"),
        HeaderName::from_static("upload-offset"),
        HeaderName::from_static("upload-length"),
        HeaderName::from_static("upload-expires"),
        HeaderName::from_static("verbatim-position"),
        header::RETRY_AFTER,
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("traceparent"),
    ];
    let layer = CorsLayer::new()
        .allow_methods(methods)
        .allow_headers(asked)
        .expose_headers(answered)
        .max_age(ASK_AGAIN_AFTER);
    if edge.cors_origins.iter().any(|origin| origin == "*") {
        return Some(layer.allow_origin(tower_http::cors::Any));
    }
    let origins: Vec<HeaderValue> = edge
        .cors_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    Some(layer.allow_origin(AllowOrigin::list(origins)))
}
