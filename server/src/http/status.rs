//! `GET /v1/status`: how the server is doing, for those who run it.

use axum::Json;
use axum::extract::State;
use infra::http::AnyCaller;
use infra::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::analysts_only;
use crate::node::Status;
use crate::serve::Server;

pub(super) fn routes(server: Server) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(status))
        .with_state(server)
}

/// How the server is doing
///
/// Positions, where each read model is, what it could not apply, and connections. For analysts,
/// admins and owners, and services with the scope `analyst`.
#[utoipa::path(get, path = "/v1/status", tag = "operations", security(("bearer" = [])),
    responses(
        (status = 200, description = "How it is doing", body = Status),
        (status = 401, description = "`unauthenticated`, `token_invalid`, `token_expired` or \
            `session_ended`", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: not an analyst", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: the read database does not answer",
            body = Problem,
            content_type = "application/problem+json"),
    ))]
async fn status(
    State(server): State<Server>,
    AnyCaller(caller): AnyCaller,
) -> Result<Json<Status>, Problem> {
    analysts_only(&caller)?;
    let gateway = server.gateway.as_ref();
    let connections = gateway.map_or(0, |gateway| gateway.status().connections);
    Ok(Json(Status {
        connections,
        ..server.node.status().await?
    }))
}
