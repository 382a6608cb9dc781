//! `GET /v1/conversations/{conversation}/messages/{seq}/edits`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::messages::{self as model, Revision};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit, page};
use crate::messages::{MODELS, WordingView, visible};
use crate::min_position::MinPosition;

/// Edits on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (20, 100);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EditParams {
    /// The `next` of the page before.
    after: Option<Seq>,
    /// How many: 1 to 100, 20 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of what a message said.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditList {
    /// From the first to the last; the first is the message as it was sent. None of a message that was
    /// deleted.
    edits: Vec<EditView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// How a message read from an event on.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditView {
    /// The event that made it so: the message itself, or an edit.
    seq: Seq,
    #[serde(flatten)]
    wording: WordingView,
    at: DateTime<Utc>,
}

/// What a message said before it was edited
///
/// For those who see the message, as far as they see its edits.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/messages/{seq}/edits",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Which conversation"),
        ("seq" = Seq, Path, description = "Which message"),
        EditParams,
    ),
    responses(
        (status = 200, description = "A page of how it read, oldest first", body = EditList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it; `message_not_found`: it has no such message, or the asker does not see it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath((id, seq)): InPath<(ConversationId, Seq)>,
    Query(params): Query<EditParams>,
) -> Result<Json<EditList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let after = params.after.unwrap_or(Seq::ZERO);
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    visible(&mut snapshot, id, seq, &sight).await?;
    let found = model::history(&mut snapshot, id, seq, caller.user, after, limit + 1).await?;
    let (found, next) = page(found, limit, |last| last.seq);
    Ok(Json(EditList {
        edits: found.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}

fn view(revision: Revision) -> EditView {
    EditView {
        seq: revision.seq,
        wording: revision.wording.into(),
        at: revision.at,
    }
}
