//! Blocking other users. Who is blocked starts no direct conversation with the blocker and takes
//! them into no group; in the direct conversation that they have, neither of the two speaks. Messages
//! in groups are not held back: clients hide them.

use axum::extract::State;
use domain::UserId;
use domain::user::{Command, Refused};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Blocks `user`.
async fn block(api: &CommandApi, asking: Asking, user: UserId) -> Result<Answer, Problem> {
    if !api.user_exists(user).await? {
        return Err(Problem::refused(&Refused::NotFound));
    }
    let by = asking.user;
    let block = Command::Block { by, user };
    change(api, asking, ("block_user", user), block).await
}

/// Minds `user` no more.
async fn unblock(api: &CommandApi, asking: Asking, user: UserId) -> Result<Answer, Problem> {
    let unblock = Command::Unblock { user };
    change(api, asking, ("unblock_user", user), unblock).await
}

async fn change(
    api: &CommandApi,
    asking: Asking,
    body: (&str, UserId),
    command: Command,
) -> Result<Answer, Problem> {
    let envelope = asking.envelope(&body)?;
    let done = api.change_account(asking.user, envelope, command).await?;
    Ok(Answer::new(asking.user.0, done))
}

/// Block a user
#[utoipa::path(
    put,
    path = "/v1/users/me/blocks/{user}",
    tag = "users",
    params(
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They are blocked, or were so already"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`too_many_blocks`: a user blocks at most 5,000 others; `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`blocks_oneself`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(user): InPath<UserId>,
) -> Result<Answered, Problem> {
    Ok(block(&api, asked.asking, user).await?.ok())
}

/// Block a user no more
#[utoipa::path(
    delete,
    path = "/v1/users/me/blocks/{user}",
    tag = "users",
    params(
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They are not blocked, or were not"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`not_found`: this is no user's id"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(user): InPath<UserId>,
) -> Result<Answered, Problem> {
    Ok(unblock(&api, asked.asking, user).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::ConversationId;
    use serde_json::json;

    fn direct<'a>(world: &'a World, who: &str, with: &str) -> crate::testing::Asked<'a> {
        let body = json!({"kind": "direct", "with": world.id(with)});
        world.post(who, "/v1/conversations").body(body)
    }

    fn blocks(world: &World, whom: &str) -> String {
        format!("/v1/users/me/blocks/{}", world.id(whom))
    }

    #[tokio::test]
    async fn who_is_blocked_starts_nothing_with_the_blocker() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let path = blocks(&world, "bob");
        assert_eq!(world.put("alice", &path).send().await.0, 200);
        for (who, with) in [("bob", "alice"), ("alice", "bob")] {
            let refused = direct(&world, who, with).problem().await;
            assert_eq!(refused, problem(403, "blocked", ""), "{who}");
        }
        assert_eq!(direct(&world, "bob", "carol").send().await.0, 201);
        let group = json!({"kind": "group", "title": "Tea", "members": [world.id("alice")]});
        let refused = world.post("bob", "/v1/conversations").body(group);
        assert_eq!(refused.problem().await, problem(403, "blocked", ""));
        let group = world.group("bob", &["carol"]).await;
        let members = format!("/v1/conversations/{group}/members");
        let add = world.post("bob", &members);
        let add = add.body(json!({"user": world.id("alice")}));
        assert_eq!(add.problem().await, problem(403, "blocked", ""));
        world.group("alice", &["bob"]).await;

        assert_eq!(world.delete("alice", &path).send().await.0, 200);
        assert_eq!(direct(&world, "bob", "alice").send().await.0, 201);
    }

    #[tokio::test]
    async fn in_a_direct_conversation_neither_speaks_while_one_blocks() {
        let world = World::with(&["alice", "bob"]).await;
        let (_, started) = direct(&world, "alice", "bob").send().await;
        let id = ConversationId::direct(world.id("alice"), world.id("bob"));
        assert_eq!(started["id"], json!(id));
        let seq = world.say("bob", &id.to_string(), "hi").await;
        world.put("alice", &blocks(&world, "bob")).send().await;
        let messages = format!("/v1/conversations/{id}/messages");
        let one = format!("{messages}/{seq}");
        let reaction = format!("{one}/reactions/%F0%9F%91%8D");
        for who in ["alice", "bob"] {
            let said = world.post(who, &messages).body(json!({"body": "hi"}));
            assert_eq!(said.problem().await, problem(403, "blocked", ""), "{who}");
            let reacted = world.put(who, &reaction).problem().await;
            assert_eq!(reacted, problem(403, "blocked", ""), "{who}");
        }
        let edited = world.patch("bob", &one).body(json!({"body": "hello"}));
        assert_eq!(edited.problem().await, problem(403, "blocked", ""));
        assert_eq!(world.delete("bob", &one).send().await.0, 200);
        let (status, again) = direct(&world, "bob", "alice").send().await;
        assert_eq!((status, &again["id"]), (200, &started["id"]));
    }

    #[tokio::test]
    async fn only_others_who_exist_are_blocked() {
        let world = World::with(&["alice"]).await;
        let oneself = world.put("alice", &blocks(&world, "alice")).problem().await;
        assert_eq!(oneself, problem(422, "blocks_oneself", ""));
        let nobody = format!("/v1/users/me/blocks/{}", infra::clock::fresh_id());
        let refused = world.put("alice", &nobody).problem().await;
        assert_eq!(refused, problem(404, "user_not_found", ""));
        assert_eq!(world.delete("alice", &nobody).send().await.0, 200);
    }
}
