//! Renaming a group, and changing what is set for it: what those who join later see, who may write and
//! how often.

use axum::extract::State;
use domain::ConversationId;
use domain::conversation::{Act, HistoryVisibility, SettingsChange, WhoMayPost};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::title;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What to change: the title or settings, because each is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeConversation {
    /// The new title: 1 to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What those who join from now on see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history_visibility: Option<HistoryVisibility>,
    /// How long members wait between two messages, in seconds: up to 21,600; 0 is not at all. The owner
    /// and admins do not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow_mode_s: Option<u32>,
    /// Who may write: `members` or `admins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who_may_post: Option<WhoMayPost>,
}

/// The new title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameConversation {
    title: String,
}

/// The new settings: at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history_visibility: Option<HistoryVisibility>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow_mode_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who_may_post: Option<WhoMayPost>,
}

/// Gives a group another title.
pub(crate) async fn rename(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: RenameConversation,
) -> Result<Answer, Problem> {
    let act = Act::Rename {
        title: title(&request.title)?,
    };
    api.converse(asking, conversation, act, "rename_conversation", &request)
        .await
}

/// Changes what is set for a group.
pub(crate) async fn change_settings(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: ChangeSettings,
) -> Result<Answer, Problem> {
    if request == ChangeSettings::default() {
        let rule = "give history_visibility, slow_mode_s or who_may_post";
        return Err(Problem::invalid_field("", "missing", rule));
    }
    let act = Act::ChangeSettings(SettingsChange {
        history_visibility: request.history_visibility,
        slow_mode_s: request.slow_mode_s,
        who_may_post: request.who_may_post,
    });
    api.converse(asking, conversation, act, "change_settings", &request)
        .await
}

/// Rename a group, or change its settings
#[utoipa::path(
    patch,
    path = "/v1/conversations/{conversation}",
    tag = "conversations",
    request_body = ChangeConversation,
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is changed, or was so already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conversation_archived`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`slow_mode_too_long`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<ChangeConversation>,
) -> Result<Answered, Problem> {
    let asking = asked.asking;
    let settings = ChangeSettings {
        history_visibility: request.history_visibility,
        slow_mode_s: request.slow_mode_s,
        who_may_post: request.who_may_post,
    };
    let answer = match request.title {
        Some(title) if settings == ChangeSettings::default() => {
            rename(&api, asking, conversation, RenameConversation { title }).await?
        }
        None => change_settings(&api, asking, conversation, settings).await?,
        Some(_) => {
            let rule = "give either title or settings";
            return Err(Problem::invalid_field("", "one_of", rule));
        }
    };
    Ok(answer.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn those_who_run_a_group_change_one_thing_at_a_time() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let path = format!("/v1/conversations/{}", world.group("alice", &["bob"]).await);
        let change = |who: &str, body| world.patch(who, &path).body(body);
        let (status, renamed) = change("alice", json!({"title": "Tea"})).send().await;
        assert_eq!((status, &renamed["seq"]), (200, &json!(2)));
        let (status, changed) = change("alice", json!({"history_visibility": "start"}))
            .send()
            .await;
        assert_eq!((status, &changed["seq"]), (200, &json!(3)));
        let both = json!({"title": "Tea", "history_visibility": "start"});
        for body in [json!({}), both] {
            let refused = change("alice", body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", ""));
        }
        let refused = change("alice", json!({"title": ""})).problem().await;
        assert_eq!(refused, problem(422, "invalid_body", "/title"));
        let refused = change("bob", json!({"title": "Mine"})).problem().await;
        assert_eq!(refused, problem(403, "role_too_low", ""));
        let refused = change("carol", json!({"title": "Mine"})).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }

    #[tokio::test]
    async fn in_slow_mode_members_wait() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}");
        let slow = json!({"slow_mode_s": 30, "who_may_post": "members"});
        let changed = world.patch("alice", &path).body(slow).send().await;
        assert_eq!(changed.0, 200);
        let messages = format!("{path}/messages");
        let send = |who| world.post(who, &messages).body(json!({"body": "hello"}));
        assert_eq!(send("bob").send().await.0, 201);
        assert_eq!(send("bob").problem().await, problem(409, "slow_mode", ""));
        assert_eq!(send("alice").send().await.0, 201);
        world.later(chrono::TimeDelta::seconds(30));
        assert_eq!(send("bob").send().await.0, 201);
        let closed = json!({"who_may_post": "admins"});
        let changed = world.patch("alice", &path).body(closed).send().await;
        assert_eq!(changed.0, 200);
        assert_eq!(
            send("bob").problem().await,
            problem(403, "role_too_low", "")
        );
        let too_slow = world
            .patch("alice", &path)
            .body(json!({"slow_mode_s": 21_601}));
        let refused = too_slow.problem().await;
        assert_eq!(refused, problem(422, "slow_mode_too_long", ""));
    }
}
