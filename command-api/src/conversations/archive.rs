//! Closing a group until it is opened again.

use axum::extract::State;
use domain::ConversationId;
use domain::conversation::Act;
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Closes a group.
pub(crate) async fn archive(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
) -> Result<Answer, Problem> {
    api.converse(
        asking,
        conversation,
        Act::Archive,
        "archive_conversation",
        &(),
    )
    .await
}

/// Opens a group again.
pub(crate) async fn unarchive(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
) -> Result<Answer, Problem> {
    let act = Act::Unarchive;
    api.converse(asking, conversation, act, "unarchive_conversation", &())
        .await
}

/// Archive a group
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/archived",
    tag = "conversations",
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is archived, or was already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
) -> Result<Answered, Problem> {
    Ok(archive(&api, asked.asking, conversation).await?.ok())
}

/// Open an archived group again
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/archived",
    tag = "conversations",
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is open, or was already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
) -> Result<Answered, Problem> {
    Ok(unarchive(&api, asked.asking, conversation).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn an_archived_group_takes_no_messages_until_it_is_opened() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/archived");
        let messages = format!("/v1/conversations/{group}/messages");
        let refused = world.put("bob", &path).problem().await;
        assert_eq!(refused, problem(403, "role_too_low", ""));
        let refused = world.put("carol", &path).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
        assert_eq!(world.put("alice", &path).send().await.0, 200);
        assert_eq!(world.put("alice", &path).send().await.0, 200, "again");
        let send = world.post("bob", &messages).body(json!({"body": "hello?"}));
        assert_eq!(
            send.problem().await,
            problem(409, "conversation_archived", "")
        );
        assert_eq!(world.delete("alice", &path).send().await.0, 200);
        assert_eq!(world.say("bob", &group, "hello").await, 4);
    }
}
