//! Following a thread or not, and saying up to where one has seen it.

use axum::extract::State;
use domain::conversation::{Act, Refused};
use domain::receipts::{Mark, MarkOf};
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;

use super::receipts::MarkUpTo;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Follows a thread.
pub(crate) async fn follow_thread(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    thread: Seq,
) -> Result<Answer, Problem> {
    let root = api.message(asking.user, conversation, thread).await?;
    let act = Act::FollowThread { root };
    api.converse(asking, conversation, act, "follow_thread", &thread)
        .await
}

/// Follows a thread no longer.
pub(crate) async fn unfollow_thread(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    thread: Seq,
) -> Result<Answer, Problem> {
    let root = api.message(asking.user, conversation, thread).await?;
    let act = Act::UnfollowThread { root };
    api.converse(asking, conversation, act, "unfollow_thread", &thread)
        .await
}

/// Moves the asker's mark in a thread.
pub(crate) async fn mark_thread_seen(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    thread: Seq,
    request: MarkUpTo,
) -> Result<Answer, Problem> {
    let state = api.membership(asking.user, conversation).await?;
    let root = api.message(asking.user, conversation, thread).await?;
    if root.thread.is_some() {
        return Err(Problem::refused(&Refused::NoThread));
    }
    let mark = Mark {
        of: MarkOf::Thread(thread),
        member: asking.user,
        seq: request.seq,
        head: state.version,
        shown_to: api.privacy(asking.user).await?.seen,
    };
    let envelope = asking.envelope(&("mark_thread_seen", conversation, thread, request))?;
    let done = api.marks().mark(conversation, mark, envelope).await?;
    Ok(Answer::new(conversation.0, done))
}

/// Follow a thread
///
/// Who writes in a thread follows it, and so does who wrote the message that it began with.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/threads/{thread}/followed",
    tag = "threads",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("thread" = u64, Path, description = "The message that the thread began with, or may"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is followed"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`no_thread` of a message that is in a thread itself; `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, thread)): InPath<(ConversationId, Seq)>,
) -> Result<Answered, Problem> {
    Ok(follow_thread(&api, asked.asking, conversation, thread)
        .await?
        .ok())
}

/// Follow a thread no longer
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation}/threads/{thread}/followed",
    tag = "threads",
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("thread" = u64, Path, description = "The message that the thread began with"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is not followed, until the asker writes in it"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`no_thread` of a message that is in a thread itself; `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, thread)): InPath<(ConversationId, Seq)>,
) -> Result<Answered, Problem> {
    Ok(unfollow_thread(&api, asked.asking, conversation, thread)
        .await?
        .ok())
}

/// Say up to where one has seen a thread
///
/// A mark only moves forward. At most one is stored a second: what comes sooner is answered with
/// the next one that is stored.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/threads/{thread}/seen",
    tag = "threads",
    request_body = MarkUpTo,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("thread" = u64, Path, description = "The message that the thread began with"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`seq_beyond_the_end`, `no_thread`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put_seen(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, thread)): InPath<(ConversationId, Seq)>,
    Body(request): Body<MarkUpTo>,
) -> Result<Answered, Problem> {
    Ok(
        mark_thread_seen(&api, asked.asking, conversation, thread, request)
            .await?
            .ok(),
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn a_thread_is_written_in_followed_and_seen() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let root = world.say("alice", &group, "tea?").await;
        let messages = format!("/v1/conversations/{group}/messages");
        let write = |who: &str, thread: u64| {
            let body = json!({"body": "yes", "thread": thread});
            world.post(who, &messages).body(body)
        };
        let (status, answer) = write("bob", root).send().await;
        assert_eq!(status, 201);
        let answer = answer["seq"].as_u64().unwrap();
        let refused = write("bob", answer).problem().await;
        assert_eq!(refused, problem(422, "no_thread", ""));
        let refused = write("bob", 1).problem().await;
        assert_eq!(refused, problem(404, "message_not_found", "/thread"));
        let path =
            |thread: u64, what: &str| format!("/v1/conversations/{group}/threads/{thread}/{what}");
        assert_eq!(
            world.put("alice", &path(root, "followed")).send().await.0,
            200
        );
        assert_eq!(
            world
                .delete("alice", &path(root, "followed"))
                .send()
                .await
                .0,
            200
        );
        let see = |who: &str, thread: u64, seq: u64| {
            let body = json!({"seq": seq});
            world.put(who, &path(thread, "seen")).body(body)
        };
        let (status, seen) = see("alice", root, answer).send().await;
        assert_eq!((status, &seen["seq"]), (200, &json!(1)));
        let refused = see("alice", answer, answer).problem().await;
        assert_eq!(refused, problem(422, "no_thread", ""));
        let refused = see("alice", root, 99).problem().await;
        assert_eq!(refused, problem(422, "seq_beyond_the_end", ""));
        for refused in [
            see("carol", root, answer),
            world.put("carol", &path(root, "followed")),
            world.delete("carol", &path(99, "followed")),
        ] {
            let refused = refused.problem().await;
            assert_eq!(refused, problem(404, "conversation_not_found", ""));
        }
        let stream = domain::StreamName::receipts(group.parse().unwrap());
        assert_eq!(world.types(&stream).await, ["thread-seen-up-to"]);
    }
}
