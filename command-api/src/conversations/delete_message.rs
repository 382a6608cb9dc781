//! Taking a message back: one's own, or as admin anybody's.

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request, State};
use domain::conversation::Act;
use domain::values::Reason;
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::broken;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteMessage {
    /// In one's own words: 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A body that may be left out.
pub(crate) struct BodyOrNone(DeleteMessage);

impl FromRequest<CommandApi> for BodyOrNone {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &CommandApi) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(DeleteMessage::default()));
        }
        let Body(body) = Body::from_request(request, api).await?;
        Ok(Self(body))
    }
}

/// Takes a message back.
pub(crate) async fn delete_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
    request: DeleteMessage,
) -> Result<Answer, Problem> {
    let reason = request
        .reason
        .as_deref()
        .map(Reason::parse)
        .transpose()
        .map_err(|invalid| broken("/reason", invalid))?;
    let message = api.message(asking.user, conversation, seq).await?;
    let act = Act::Delete { message, reason };
    api.converse(
        asking,
        conversation,
        act,
        "delete_message",
        &(seq, &request),
    )
    .await
}

/// Delete a message
///
/// Its place in the conversation stays; its text is no longer shown.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/messages/{seq}",
    tag = "messages",
    request_body = Option<DeleteMessage>,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "Which message"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is deleted, or was already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`not_the_author` in a direct conversation, `role_too_low` in a group"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, seq)): InPath<(ConversationId, Seq)>,
    BodyOrNone(request): BodyOrNone,
) -> Result<Answered, Problem> {
    Ok(
        delete_message(&api, asked.asking, conversation, seq, request)
            .await?
            .ok(),
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn a_message_is_taken_back_by_its_author_or_an_admin() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let (one, other) = (
            world.say("bob", &group, "one").await,
            world.say("alice", &group, "other").await,
        );
        let path = |seq: u64| format!("/v1/conversations/{group}/messages/{seq}");
        let refused = world.delete("bob", &path(other)).problem().await;
        assert_eq!(refused, problem(403, "role_too_low", ""));
        let reason = json!({"reason": "rude"});
        let deleted = world.delete("alice", &path(one)).body(reason).send().await;
        assert_eq!((deleted.0, &deleted.1["seq"]), (200, &json!(4)));
        let again = world.delete("bob", &path(one)).send().await;
        assert_eq!(
            (again.0, &again.1["seq"]),
            (200, &json!(4)),
            "nothing changes"
        );
        let edit = world
            .patch("bob", &path(one))
            .body(json!({"body": "polite"}));
        assert_eq!(edit.problem().await, problem(409, "message_deleted", ""));
        let refused = world.delete("carol", &path(99)).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
        let reason = json!({"reason": "x".repeat(501)});
        let refused = world
            .delete("alice", &path(other))
            .body(reason)
            .problem()
            .await;
        assert_eq!(refused, problem(422, "invalid_body", "/reason"));
    }
}
