//! `GET /v1/conversations/{conversation}/messages/{seq}/receipts`: who has a message, and since when.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId, Version};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::receipts::{self as model, Asked, FirstMark};
use infra::read_models::{Model, Snapshot, members, messages};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit, page};
use crate::messages::visible;
use crate::min_position::MinPosition;

const MODELS: [&Model; 3] = [&model::MODEL, &members::MODEL, &messages::MODEL];

/// Members on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (200, 1_000);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Who has the message as this edit made it: a `seq` as in its `edits`. Without it, who has the
    /// message, however it read.
    edit: Option<Seq>,
    /// The `next` of the page before.
    after: Option<UserId>,
    /// How many: 1 to 1000, 200 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of what members have of a message.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptList {
    /// Everybody who may see it, except its author, in the order of ids.
    receipts: Vec<ReceiptView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// What a member has of a message.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptView {
    member: UserId,
    /// Since when a device of theirs has it; absent when none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<MarkView>,
    /// Since when they have seen it; absent when they have not, or keep it to themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<MarkView>,
}

/// The first mark that covers the message.
#[derive(Serialize, ToSchema)]
pub(crate) struct MarkView {
    /// Up to where it goes: which edit of the message it covers is told by this. Of a message in a
    /// thread it may be a mark of the thread.
    seq: Seq,
    at: DateTime<Utc>,
}

fn mark_view(mark: FirstMark) -> MarkView {
    MarkView {
        seq: mark.seq,
        at: mark.at,
    }
}

fn edit_not_found() -> Problem {
    Problem::not_found(
        "edit_not_found",
        "the message has no such edit, or you do not see it",
    )
}

/// Checks that `edit` made a version of message `seq` that `viewer` sees.
async fn check_edit(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seq: Seq,
    edit: Seq,
    viewer: UserId,
) -> Result<(), Problem> {
    let before = Version(edit.0.saturating_sub(1));
    let found = messages::history(snapshot, conversation, seq, viewer, before, 1).await?;
    if found.first().is_some_and(|revision| revision.seq == edit) {
        Ok(())
    } else {
        Err(edit_not_found())
    }
}

/// Who has seen a message, and when
///
/// What members keep to themselves (`PUT /v1/users/me/privacy`) is shown to them alone.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/messages/{seq}/receipts",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Which conversation"),
        ("seq" = Seq, Path, description = "Which message"),
        Params,
    ),
    responses(
        (status = 200, description = "A page of members", body = ReceiptList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it; `message_not_found`: it has no such message, or the asker does not see it; `edit_not_found`: the message has no such edit, was deleted, or the asker does not see the edit", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn of_message(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath((id, seq)): InPath<(ConversationId, Seq)>,
    Query(params): Query<Params>,
) -> Result<Json<ReceiptList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    visible(&mut snapshot, id, seq, &sight).await?;
    if let Some(edit) = params.edit {
        check_edit(&mut snapshot, id, seq, edit, caller.user).await?;
    }
    // One who left sees what had been seen by then.
    let asked = Asked {
        conversation: id,
        message: seq,
        version: params.edit.unwrap_or(seq),
        viewer: caller.user,
        until: sight.left_position(),
    };
    let receipts = model::of_message(&mut snapshot, asked, params.after, limit + 1).await?;
    let (receipts, next) = page(receipts, limit, |last| last.member);
    let receipts = receipts
        .into_iter()
        .map(|receipt| ReceiptView {
            member: receipt.member,
            delivered: receipt.delivered.map(mark_view),
            seen: receipt.seen.map(mark_view),
        })
        .collect();
    Ok(Json(ReceiptList {
        receipts,
        next,
        position: snapshot.position(),
    }))
}
