//! `GET /v1/audit/events` and `GET /v1/audit/conversations/{conversation}/events`: the log, for auditors.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use domain::audit::Selection;
use domain::{ConversationId, Position, StreamName, UserId, Version};
use infra::auth::Caller;
use infra::event_store::version_of;
use infra::http::{AnyCaller, InPath, Query};
use infra::problem::Problem;
use utoipa::IntoParams;

use crate::QueryApi;
use crate::access::conversation_not_found;
use crate::answers::ReadProblems;
use crate::replay::{replay, selection};

/// Which events. Read by `crate::selection`, as `type` may come several times.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read by name")]
pub(crate) struct SelectionParams {
    /// Events after this position.
    after: Option<Position>,
    /// Events up to and with this position; never beyond the head of the log at the start.
    up_to: Option<Position>,
    /// Events recorded at this moment or later.
    since: Option<DateTime<Utc>>,
    /// Events recorded before this moment.
    until: Option<DateTime<Utc>>,
    /// Events caused by this user.
    actor: Option<UserId>,
    /// Events of this type; several times, or several between commas.
    r#type: Option<Vec<String>>,
}

/// The log
///
/// One stored event a line, in the order of the log. That it was read is itself put into the log
/// first.
#[utoipa::path(
    get,
    path = "/v1/audit/events",
    tag = "audit",
    params(SelectionParams),
    responses(
        (status = 200, description = "One event a line: position, stream, version, id, type, schema, recorded_at, data, metadata", body = String, content_type = "application/x-ndjson"),
        (status = 403, description = "`forbidden`: the asker is no auditor", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`storage_full`: the reading cannot be put on the record", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn events(
    State(api): State<QueryApi>,
    AnyCaller(caller): AnyCaller,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    if !caller.is_auditor() {
        return Err(Problem::forbidden("only auditors read the log"));
    }
    let selection = selected(&params)?;
    answer(&api, &caller, selection).await
}

/// The log of one conversation
///
/// Its events and its receipts, one a line, in the order of the log. That it was read is itself put
/// into the log first.
#[utoipa::path(
    get,
    path = "/v1/audit/conversations/{conversation}/events",
    tag = "audit",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), SelectionParams),
    responses(
        (status = 200, description = "One event a line: position, stream, version, id, type, schema, recorded_at, data, metadata", body = String, content_type = "application/x-ndjson"),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker is no auditor", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`storage_full`: the reading cannot be put on the record", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn conversation_events(
    State(api): State<QueryApi>,
    AnyCaller(caller): AnyCaller,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    if !caller.is_auditor() {
        return Err(conversation_not_found());
    }
    let mut selection = selected(&params)?;
    let version = version_of(&*api.store, &StreamName::conversation(id)).await?;
    if version == Version::ZERO {
        return Err(conversation_not_found());
    }
    selection.conversation = Some(id);
    answer(&api, &caller, selection).await
}

fn selected(params: &[(String, String)]) -> Result<Selection, Problem> {
    let params = params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    selection(params).map_err(|invalid| Problem::invalid_query(&invalid.name, invalid.rule))
}

async fn answer(
    api: &QueryApi,
    caller: &Caller,
    selection: Selection,
) -> Result<Response, Problem> {
    let lines = replay(Arc::clone(&api.store), caller.actor(), selection).await?;
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::from_stream(lines)).into_response())
}
