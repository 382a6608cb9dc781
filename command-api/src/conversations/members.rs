//! Who is in a group, and as what.

use axum::extract::State;
use domain::conversation::{Act, Role};
use domain::{ConversationId, UserId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::no_such_user;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Whom to take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddMember {
    /// Whom.
    user: UserId,
    /// As what: `member` unless said otherwise, never `owner`.
    #[serde(default = "default_role")]
    #[schema(default = "member")]
    role: Role,
}

const fn default_role() -> Role {
    Role::Member
}

/// The new role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRole {
    /// Making another the owner makes the owner an admin.
    role: Role,
}

/// Takes somebody in.
pub(crate) async fn add_member(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: AddMember,
) -> Result<Answer, Problem> {
    if !api.user_exists(request.user).await? {
        // Whoever may not know of the conversation learns nothing about users through it.
        api.membership(asking.user, conversation).await?;
        return Err(no_such_user("/user"));
    }
    let act = Act::AddMember {
        user: request.user,
        role: request.role,
    };
    api.converse(asking, conversation, act, "add_member", &request)
        .await
}

/// Puts somebody out.
pub(crate) async fn remove_member(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    user: UserId,
) -> Result<Answer, Problem> {
    if user == asking.user {
        return leave(api, asking, conversation).await;
    }
    let act = Act::RemoveMember { user };
    api.converse(asking, conversation, act, "remove_member", &user)
        .await
}

/// Goes.
pub(crate) async fn leave(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
) -> Result<Answer, Problem> {
    api.converse(asking, conversation, Act::Leave, "leave_conversation", &())
        .await
}

/// Lets somebody do more or less.
pub(crate) async fn change_role(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    user: UserId,
    request: ChangeRole,
) -> Result<Answer, Problem> {
    let act = Act::ChangeRole {
        user,
        role: request.role,
    };
    api.converse(asking, conversation, act, "change_role", &(user, request))
        .await
}

/// Add a member to a group
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation}/members",
    tag = "members",
    request_body = AddMember,
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 201, body = Accepted, description = "They are in it now"),
        (status = 200, body = Accepted, description = "They were in it already, whatever their role"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conversation_archived`, `owner_stays`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body` (a user who does not exist: `user_not_found`), \
                        `too_many_members`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<AddMember>,
) -> Result<Answered, Problem> {
    Ok(add_member(&api, asked.asking, conversation, request)
        .await?
        .created())
}

/// Change a member's role
#[utoipa::path(
    patch,
    path = "/v1/conversations/{conversation}/members/{user}",
    tag = "members",
    request_body = ChangeRole,
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("user" = UserId, Path, description = "Whose role"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They have the role, or had it already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; `no_such_member`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conversation_archived`, `owner_stays`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, user)): InPath<(ConversationId, UserId)>,
    Body(request): Body<ChangeRole>,
) -> Result<Answered, Problem> {
    Ok(change_role(&api, asked.asking, conversation, user, request)
        .await?
        .ok())
}

/// Remove a member, or leave
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/members/{user}",
    tag = "members",
    params(
        ("conversation" = ConversationId, Path, description = "Which"),
        ("user" = UserId, Path, description = "Who goes; oneself to leave"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They are not in it any more"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`direct_conversation`, `conversation_archived`, `owner_must_stay`, \
                        `owner_stays`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, user)): InPath<(ConversationId, UserId)>,
) -> Result<Answered, Problem> {
    Ok(remove_member(&api, asked.asking, conversation, user)
        .await?
        .ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use infra::clock::fresh_id;
    use serde_json::json;

    #[tokio::test]
    async fn members_come_change_and_go() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/members");
        let of = |who: &str| format!("{path}/{}", world.id(who));
        let add = |by: &str, user: &str| {
            let body = json!({"user": world.id(user)});
            world.post(by, &path).body(body)
        };
        assert_eq!(
            add("bob", "carol").problem().await,
            problem(403, "role_too_low", "")
        );
        assert_eq!(add("alice", "carol").send().await.0, 201);
        assert_eq!(add("alice", "carol").send().await.0, 200, "already in");
        let role = |role: &str| json!({ "role": role });
        let promoted = world.patch("alice", &of("carol")).body(role("admin"));
        assert_eq!(promoted.send().await.0, 200);
        assert_eq!(world.delete("carol", &of("bob")).send().await.0, 200);
        let gone = world.patch("alice", &of("bob")).body(role("admin"));
        assert_eq!(gone.problem().await, problem(404, "no_such_member", ""));
        let owner = world.delete("alice", &of("alice")).problem().await;
        assert_eq!(owner, problem(409, "owner_must_stay", ""));
        assert_eq!(
            world.delete("carol", &of("carol")).send().await.0,
            200,
            "leaves"
        );
        let types = world
            .types(&domain::StreamName::conversation(group.parse().unwrap()))
            .await;
        assert_eq!(
            types[1..],
            [
                "member-added",
                "member-role-changed",
                "member-removed",
                "member-left"
            ]
        );
    }

    #[tokio::test]
    async fn who_does_not_exist_is_pointed_at_but_only_for_members() {
        let world = World::with(&["alice", "carol"]).await;
        let path = format!(
            "/v1/conversations/{}/members",
            world.group("alice", &[]).await
        );
        let nobody = json!({"user": fresh_id()});
        let refused = world
            .post("alice", &path)
            .body(nobody.clone())
            .problem()
            .await;
        assert_eq!(refused, problem(422, "invalid_body", "/user"));
        let refused = world.post("carol", &path).body(nobody).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }
}
