//! Sending a message.

use axum::extract::State;
use domain::conversation::{Act, Draft};
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendMessage {
    /// Plain text: 1 byte to 16 KiB, not only white space.
    body: String,
    /// The seq of the message that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Seq>,
}

/// Says something.
pub(crate) async fn send_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: SendMessage,
) -> Result<Answer, Problem> {
    let body = body(&request.body)?;
    if let Some(seq) = request.reply_to {
        api.message(asking.user, conversation, seq)
            .await
            .map_err(|problem| match problem.code.as_str() {
                "message_not_found" => {
                    let rule = "reply_to names a message of this conversation";
                    problem.with_field("/reply_to", "message_not_found", rule)
                }
                _ => problem,
            })?;
    }
    let draft = Draft {
        body,
        reply_to: request.reply_to,
    };
    api.converse(
        asking,
        conversation,
        Act::Send(draft),
        "send_message",
        &request,
    )
    .await
}

/// Send a message
///
/// The answer's `seq` names the message.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation}/messages",
    tag = "messages",
    request_body = SendMessage,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 201, body = Accepted, description = "It is sent"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found` for a `reply_to` that is no message"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<SendMessage>,
) -> Result<Answered, Problem> {
    Ok(send_message(&api, asked.asking, conversation, request)
        .await?
        .created())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use infra::trace::TraceParent;
    use serde_json::json;

    #[tokio::test]
    async fn a_message_is_sent_once_and_named_by_its_seq() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let send = || {
            world
                .post("bob", &path)
                .key("k")
                .body(json!({"body": "hello"}))
        };
        let trace = TraceParent::fresh();
        let (status, first) = trace.scope(send().send()).await;
        assert_eq!(status, 201);
        assert_eq!((&first["id"], &first["seq"]), (&json!(group), &json!(2)));
        assert_eq!(send().send().await, (201, first.clone()));
        let world = world.restarted().await;
        let again = world
            .post("bob", &path)
            .key("k")
            .body(json!({"body": "hello"}));
        assert_eq!(again.send().await, (201, first));

        let events = world
            .events(&domain::StreamName::conversation(group.parse().unwrap()))
            .await;
        assert_eq!(events.len(), 2);
        let metadata = events[1].metadata().unwrap();
        assert_eq!(metadata.actor, domain::Actor::User(world.id("bob")));
        assert_eq!(metadata.traceparent, Some(trace.to_string()));
        assert_eq!(metadata.command_hash.len(), 32);
    }

    #[tokio::test]
    async fn a_reply_answers_a_message_of_this_conversation() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let seq = world.say("alice", &group, "hello").await;
        let reply = |who: &str, to: u64| {
            let body = json!({"body": "hello yourself", "reply_to": to});
            world.post(who, &path).body(body)
        };
        assert_eq!(reply("bob", seq).send().await.0, 201);
        for no_message in [0, 1, 99, u64::MAX] {
            let refused = reply("bob", no_message).problem().await;
            assert_eq!(refused, problem(404, "message_not_found", "/reply_to"));
            let refused = reply("carol", no_message).problem().await;
            assert_eq!(refused, problem(404, "conversation_not_found", ""));
        }
        let refused = reply("carol", seq).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }

    #[tokio::test]
    async fn what_is_no_message_is_pointed_at() {
        let world = World::with(&["alice"]).await;
        let path = format!(
            "/v1/conversations/{}/messages",
            world.group("alice", &[]).await
        );
        for body in [
            json!({"body": " "}),
            json!({"body": "x".repeat(16_385)}),
            json!({"body": 7}),
        ] {
            let refused = world.post("alice", &path).body(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", "/body"));
        }
        let no_id = world.post("alice", "/v1/conversations/7/messages");
        let refused = no_id.body(json!({"body": "x"})).problem().await;
        assert_eq!(refused, problem(404, "not_found", ""));
    }
}
