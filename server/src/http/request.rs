//! Around every request: its trace, its span in the log, its metrics, and a problem where nothing
//! else answered.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use infra::http::ClientAddress;
use infra::problem::Problem;
use infra::trace::TraceParent;
use tracing::Instrument as _;

/// Makes the request part of a trace, counts and times it, and logs it where it failed.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let header = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    let trace = TraceParent::continuing(header);
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let client = request.extensions().get::<ClientAddress>();
    let client = client.and_then(|ClientAddress(address)| address.map(tracing::field::display));
    let span = tracing::info_span!("request", %method, route, client, trace_id = %trace.trace_id());
    let mut response = trace
        .scope(next.run(request).instrument(span.clone()))
        .await;
    let status = response.status();
    let labels = [
        ("method", method_label(&method).to_owned()),
        ("route", route),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("verbatim_http_requests_total", &labels).increment(1);
    metrics::histogram!("verbatim_http_request_duration_seconds", &labels)
        .record(begun.elapsed().as_secs_f64());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        response.headers_mut().insert("traceparent", value);
    }
    response
}

/// The method as a label. Anybody may make up methods, and every label is kept for ever: all those
/// that are not of the standard are one.
fn method_label(method: &Method) -> &str {
    const STANDARD: [Method; 9] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    if STANDARD.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}

/// 404 for a path that no route has.
pub(super) async fn no_route(uri: Uri) -> Problem {
    Problem::not_found(
        "no_route",
        format_args!("{} is no path of this API; see /docs", uri.path()),
    )
}

/// 405 for a method that the route does not take.
pub(super) async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take this method",
    )
    .with_detail(format_args!("{method} {}; see /docs", uri.path()))
}

/// What a panic in a handler becomes: logged by the panic hook, opaque outside.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "The server failed",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::method_label;

    #[test]
    fn made_up_methods_share_one_label() {
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        for made_up in ["BREW", "get", "X-1"] {
            let method = Method::from_bytes(made_up.as_bytes()).unwrap();
            assert_eq!(method_label(&method), "other", "{made_up}");
        }
    }
}
