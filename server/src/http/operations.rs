//! For those who run the server: health, metrics, and the description of the API.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::role::Role;
use crate::serve::Server;

pub(super) fn routes(server: Server) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics_text))
        .with_state(server)
}

/// The health of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Health {
    /// It answers.
    Ok,
    /// It does not, or not yet.
    Failing,
    /// The server is stopping.
    Stopping,
}

/// Whether the server can be used, and if not, which part is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Readiness {
    /// The log.
    event_store: Health,
    /// The read database.
    read_database: Health,
    /// NATS, where it is used. Without it everything goes on, a little later.
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<Health>,
    /// This process.
    server: Health,
}

/// The process lives
///
/// Answers as long as the process takes requests at all.
#[utoipa::path(get, path = "/health/live", tag = "operations",
    responses((status = 200, description = "It lives")))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// The server can be used
///
/// Asks every part it depends on. NATS is told and does not make it 503. Also 503 while the server is
/// stopping, so that a balancer sends nothing new.
#[utoipa::path(get, path = "/health/ready", tag = "operations",
    responses(
        (status = 200, description = "Everything answers", body = Readiness),
        (status = 503, description = "Something does not", body = Readiness),
    ))]
async fn ready(State(server): State<Server>) -> impl IntoResponse {
    let of = |answers| if answers { Health::Ok } else { Health::Failing };
    // Commands need no read model.
    let has_read_models = server.node.role != Role::CommandApi;
    let readiness = Readiness {
        event_store: of(server.node.event_store_answers().await),
        read_database: of(!has_read_models || server.node.read_database_answers().await),
        bus: server
            .node
            .engines
            .bus
            .as_ref()
            .map(|bus| of(bus.is_connected())),
        server: if server.node.is_stopping() {
            Health::Stopping
        } else {
            Health::Ok
        },
    };
    let all = [
        readiness.event_store,
        readiness.read_database,
        readiness.server,
    ];
    let ready = all.iter().all(|health| *health == Health::Ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// Counters and gauges
///
/// In the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "All of them", body = String,
        content_type = "text/plain")))]
async fn metrics_text(State(server): State<Server>) -> impl IntoResponse {
    let head = *server.node.store().head().borrow();
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating")]
    metrics::gauge!("verbatim_log_position").set(head.0 as f64);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        server.metrics.render(),
    )
}
