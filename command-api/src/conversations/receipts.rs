//! Moving one's own delivered and seen marks.

use axum::extract::State;
use domain::receipts::{Mark, MarkKind};
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// How far the mark goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkUpTo {
    /// The last seq that it covers.
    seq: Seq,
}

/// Moves a mark of the asker.
pub(crate) async fn mark(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    kind: MarkKind,
    request: MarkUpTo,
) -> Result<Answer, Problem> {
    let state = api.membership(asking.user, conversation).await?;
    let mark = Mark {
        kind,
        member: asking.user,
        seq: request.seq,
        head: state.version,
    };
    let envelope = asking.envelope(&("mark", conversation, kind, request))?;
    let done = api.marks().mark(conversation, mark, envelope).await?;
    Ok(Answer::new(conversation.0, done))
}

/// Say up to where one has seen a conversation
///
/// A mark only moves forward. At most one is stored a second: what comes sooner is answered with
/// the next one that is stored.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/receipts/seen",
    tag = "receipts",
    request_body = MarkUpTo,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`seq_beyond_the_end`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put_seen(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<MarkUpTo>,
) -> Result<Answered, Problem> {
    Ok(
        mark(&api, asked.asking, conversation, MarkKind::Seen, request)
            .await?
            .ok(),
    )
}

/// Say up to where a conversation has reached one of one's devices
///
/// A mark only moves forward. At most one is stored a second: what comes sooner is answered with
/// the next one that is stored.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/receipts/delivered",
    tag = "receipts",
    request_body = MarkUpTo,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`seq_beyond_the_end`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put_delivered(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<MarkUpTo>,
) -> Result<Answered, Problem> {
    Ok(mark(
        &api,
        asked.asking,
        conversation,
        MarkKind::Delivered,
        request,
    )
    .await?
    .ok())
}
