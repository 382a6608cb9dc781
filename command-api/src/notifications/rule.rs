//! Setting of how much of one conversation one is told.

use axum::extract::State;
use domain::ConversationId;
use domain::notifications::{Command, Rule};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What is set for the conversation from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetNotifications {
    /// Of how much one is told: `all`, `mentions` or `none`; as of all others where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<domain::notifications::Level>,
    /// Until this moment one is told of nothing; absent: one is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    muted_until: Option<chrono::DateTime<chrono::Utc>>,
}

/// Sets this for a conversation that the asker is in.
pub(crate) async fn set_notifications(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: SetNotifications,
) -> Result<Answer, Problem> {
    let rule = Rule {
        level: request.level,
        muted_until: request.muted_until,
    };
    // Who has left may still end what is set.
    if !rule.is_empty() {
        api.membership(asking.user, conversation).await?;
    }
    let command = Command::ChangeRule { conversation, rule };
    let fields = (conversation, request);
    ask(api, asking, command, "set_notifications", &fields).await
}

/// Set of how much of a conversation one is told
///
/// In place of what was set before; an empty body ends it. `muted_until` counts for more than `level`.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/notifications",
    tag = "notifications",
    request_body = SetNotifications,
    params(
        ("conversation" = ConversationId, Path, description = "Which conversation"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is set, or was so already"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`too_many_notification_rules`: 1,000 conversations have one; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<SetNotifications>,
) -> Result<Answered, Problem> {
    let answer = set_notifications(&api, asked.asking, conversation, request);
    Ok(answer.await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::StreamName;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_member_sets_and_ends_what_they_are_told() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/notifications");
        let set = |who: &str, body: Value| world.put(who, &path).body(body);
        let until = json!({"level": "mentions", "muted_until": "2030-01-01T00:00:00Z"});
        let (status, first) = set("bob", until.clone()).send().await;
        assert_eq!((status, &first["seq"]), (200, &json!(1)));
        let (_, again) = set("bob", until).send().await;
        assert_eq!(again["position"], first["position"]);
        assert_eq!(set("bob", json!({})).send().await.0, 200);
        let refused = set("carol", json!({"level": "none"})).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
        for (body, pointer) in [
            (json!({"level": "some"}), "/level"),
            (json!({"muted_until": "later"}), "/muted_until"),
        ] {
            let refused = set("bob", body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer));
        }
        let stream = StreamName::notifications(world.id("bob"));
        let expected = ["notification-rule-changed"; 2];
        assert_eq!(world.types(&stream).await, expected);
    }
}
