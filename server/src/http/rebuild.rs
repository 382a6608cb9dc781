//! `POST /v1/read-models/{name}/rebuild`: a read model anew from the log, with progress.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use infra::http::{Authenticated, InPath, admins_only};
use infra::problem::Problem;
use projector::Rebuild;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::serve::Server;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

pub(super) fn routes(server: Server) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(rebuild))
        .with_state(server)
}

/// A line of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// It has come to `position` of `head`.
    Progress {
        /// Where the new generation is.
        position: u64,
        /// Where the log ends.
        head: u64,
    },
    /// The new generation answers queries; the last line.
    Done {},
}

/// Build a read model anew
///
/// Beside the one that answers queries, which goes on until the new one has caught up and takes its
/// place. The answer is NDJSON: lines of progress, then one of `done`. Who goes away in the middle
/// does not stop it. For admins and owners.
#[utoipa::path(post, path = "/v1/read-models/{name}/rebuild", tag = "operations",
    security(("bearer" = [])),
    params(("name" = String, Path, description = "conversations, members, messages, receipts, \
        search, services, sessions or users")),
    responses(
        (status = 200, description = "Progress, line by line", body = Line,
            content_type = "application/x-ndjson"),
        (status = 401, description = "`unauthenticated`, `token_invalid`, `token_expired` or \
            `session_ended`", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: not an admin", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`read_model_not_found`", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "`standing_by`: in a cluster, another process keeps the read \
            models; ask that one", body = Problem,
            content_type = "application/problem+json"),
    ))]
async fn rebuild(
    State(server): State<Server>,
    Authenticated(caller): Authenticated,
    InPath(name): InPath<String>,
) -> Result<Response, Problem> {
    admins_only(&caller)?;
    if !server.node.projects.load(Ordering::SeqCst) {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "standing_by",
            "Another process keeps the read models",
        ));
    }
    let rebuild = server
        .node
        .projector
        .rebuild(&name)
        .map_err(|unknown| Problem::not_found("read_model_not_found", unknown))?;
    let lines = unfold(Some(rebuild), |rebuild| async {
        let mut rebuild = rebuild?;
        let line = next_line(&mut rebuild).await;
        let ended = matches!(line, Line::Done {});
        // An enum of numbers is always written as JSON.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Some((
            Ok::<_, Infallible>(Bytes::from(text)),
            (!ended).then_some(rebuild),
        ))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::from_stream(lines)).into_response())
}

async fn next_line(rebuild: &mut Rebuild) -> Line {
    loop {
        let done = tokio::time::timeout(TELL_EVERY, rebuild.done()).await;
        if done.is_ok() {
            return Line::Done {};
        }
        match rebuild.progress().await {
            Ok(Some((position, head))) => {
                return Line::Progress {
                    position: position.0,
                    head: head.0,
                };
            }
            // Not begun, or just completed: the next look tells.
            Ok(None) => {}
            Err(failure) => tracing::warn!(%failure, "cannot tell how far a rebuild is"),
        }
    }
}
