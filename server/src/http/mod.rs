//! All routes of the process on one listener.

mod import;
mod operations;
mod rebuild;
mod request;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_scalar::{Scalar, Servable as _};

use crate::node::Node;

/// Largest request body, in bytes, except where a route says otherwise; more is 413.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Every route with its description.
fn described(node: &Arc<Node>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(api_description())
        .merge(command_api::routes(Arc::clone(&node.command_api)))
        .merge(query_api::routes(Arc::clone(&node.query_api)))
        .merge(gateway::routes(Arc::clone(&node.gateway)))
        .merge(import::routes(Arc::clone(node)))
        .merge(status::routes(Arc::clone(node)))
        .merge(rebuild::routes(Arc::clone(node)))
        .merge(operations::routes(Arc::clone(node)))
}

/// The whole API: routes, their description at `/openapi.json` and a page about it at `/docs`.
pub fn router(node: &Arc<Node>) -> Router {
    let (router, description) = described(node).split_for_parts();
    router
        .merge(operations::description_routes(description.clone()))
        .merge(Scalar::with_url("/docs", description))
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(middleware::from_fn(request::observe))
}

/// The description of the whole API.
pub fn description(node: &Arc<Node>) -> OpenApi {
    described(node).into_openapi()
}

fn api_description() -> OpenApi {
    let mut description = OpenApi::default();
    description.info.title = "Verbatim".to_owned();
    description.info.version = env!("CARGO_PKG_VERSION").to_owned();
    description.info.description = Some(include_str!("api.md").to_owned());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", bearer);
    description
}
