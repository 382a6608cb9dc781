//! Adding a reaction to a message and taking it back.

use axum::extract::State;
use axum::http::StatusCode;
use domain::conversation::Act;
use domain::values::Emoji;
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Which reaction: an emoji or a short code, 1 to 64 bytes without white space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReactionFields {
    emoji: String,
}

fn emoji(fields: &ReactionFields) -> Result<Emoji, Problem> {
    Emoji::parse(&fields.emoji).map_err(|invalid| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, invalid.code, "This is no reaction").with_detail(invalid)
    })
}

/// Adds a reaction.
pub(crate) async fn add_reaction(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
    request: ReactionFields,
) -> Result<Answer, Problem> {
    let act = Act::React {
        emoji: emoji(&request)?,
        message: api.message(asking.user, conversation, seq).await?,
    };
    api.converse(asking, conversation, act, "add_reaction", &(seq, &request))
        .await
}

/// Takes a reaction back.
pub(crate) async fn remove_reaction(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
    request: ReactionFields,
) -> Result<Answer, Problem> {
    let act = Act::Unreact {
        emoji: emoji(&request)?,
        message: api.message(asking.user, conversation, seq).await?,
    };
    api.converse(
        asking,
        conversation,
        act,
        "remove_reaction",
        &(seq, &request),
    )
    .await
}

/// Add a reaction
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "To which message"),
        ("emoji" = String, Path, description = "Which: 1 to 64 bytes without white space"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The reaction is there"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `message_deleted`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_emoji`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, seq, emoji)): InPath<(ConversationId, Seq, String)>,
) -> Result<Answered, Problem> {
    let request = ReactionFields { emoji };
    Ok(add_reaction(&api, asked.asking, conversation, seq, request)
        .await?
        .ok())
}

/// Take a reaction back
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "From which message"),
        ("emoji" = String, Path, description = "Which: 1 to 64 bytes without white space"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The reaction is gone"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `message_deleted`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_emoji`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, seq, emoji)): InPath<(ConversationId, Seq, String)>,
) -> Result<Answered, Problem> {
    let request = ReactionFields { emoji };
    Ok(
        remove_reaction(&api, asked.asking, conversation, seq, request)
            .await?
            .ok(),
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};

    #[tokio::test]
    async fn a_reaction_comes_and_goes() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let seq = world.say("alice", &group, "tea?").await;
        let path = |seq: u64, emoji: &str| {
            format!("/v1/conversations/{group}/messages/{seq}/reactions/{emoji}")
        };
        let thumb = path(seq, "%F0%9F%91%8D");
        assert_eq!(world.put("bob", &thumb).send().await.0, 200);
        assert_eq!(world.delete("bob", &thumb).send().await.0, 200);
        let refused = world.put("bob", &path(1, "x")).problem().await;
        assert_eq!(refused, problem(404, "message_not_found", ""));
        let refused = world.put("bob", &path(seq, "a%20b")).problem().await;
        assert_eq!(refused, problem(422, "invalid_emoji", ""));
        let refused = world.put("carol", &path(1, "x")).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }
}
