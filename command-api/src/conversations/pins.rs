//! Showing a message to all as important, and no longer.

use axum::extract::State;
use domain::conversation::Act;
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Pins a message.
pub(crate) async fn pin_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Answer, Problem> {
    let message = api.message(asking.user, conversation, seq).await?;
    let act = Act::Pin { message };
    api.converse(asking, conversation, act, "pin_message", &seq)
        .await
}

/// Unpins a message.
pub(crate) async fn unpin_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Answer, Problem> {
    let message = api.message(asking.user, conversation, seq).await?;
    let act = Act::Unpin { message };
    api.converse(asking, conversation, act, "unpin_message", &seq)
        .await
}

/// Pin a message
///
/// Shows it to all as important. In a group its owner and admins may, in a direct conversation both.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/messages/{seq}/pin",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "Which message"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is pinned, or was already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`; `blocked` in a direct conversation"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `message_deleted`, `too_many_pins`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, seq)): InPath<(ConversationId, Seq)>,
) -> Result<Answered, Problem> {
    Ok(pin_message(&api, asked.asking, conversation, seq)
        .await?
        .ok())
}

/// Unpin a message
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/messages/{seq}/pin",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "Which message"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is not pinned, or was not"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
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
) -> Result<Answered, Problem> {
    Ok(unpin_message(&api, asked.asking, conversation, seq)
        .await?
        .ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn those_who_run_a_group_pin_its_messages() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let seq = world.say("bob", &group, "the rules").await;
        let path = |seq: u64| format!("/v1/conversations/{group}/messages/{seq}/pin");
        let (status, pinned) = world.put("alice", &path(seq)).send().await;
        assert_eq!((status, &pinned["seq"]), (200, &json!(seq + 1)));
        let (_, again) = world.put("alice", &path(seq)).send().await;
        assert_eq!(again["seq"], json!(seq + 1), "nothing changes");
        let refused = world.delete("bob", &path(seq)).problem().await;
        assert_eq!(refused, problem(403, "role_too_low", ""));
        assert_eq!(world.delete("alice", &path(seq)).send().await.0, 200);
        let refused = world.put("alice", &path(1)).problem().await;
        assert_eq!(refused, problem(404, "message_not_found", ""));
        for any in [1, seq] {
            let refused = world.put("carol", &path(any)).problem().await;
            assert_eq!(refused, problem(404, "conversation_not_found", ""));
        }
    }
}
