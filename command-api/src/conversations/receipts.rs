//! Moving one's own delivered and seen marks.

use axum::extract::State;
use domain::receipts::{Mark, MarkKind, MarkOf};
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// How far the mark goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkUpTo {
    /// The last seq that it covers.
    pub(crate) seq: Seq,
}

/// Moves a mark of the asker.
pub(crate) async fn mark(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    kind: MarkKind,
    request: MarkUpTo,
) -> Result<Answer, Problem> {
    let state = api.membership(asking.user, conversation).await?;
    let mark = Mark {
        of: MarkOf::Conversation(kind),
        member: asking.user,
        seq: request.seq,
        head: state.version,
        shown_to: api.privacy(asking.user).await?.seen,
    };
    let envelope = asking.envelope(&("mark", conversation, kind, request))?;
    let done = api.marks().mark(conversation, mark, envelope).await?;
    Ok(Answer::new(conversation.0, done))
}

/// Say up to where one has seen a conversation
///
/// A mark only moves forward. At most one is stored a second: what comes sooner is answered with
/// the next one that is stored.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/receipts/seen",
    tag = "receipts",
    request_body = MarkUpTo,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`seq_beyond_the_end`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put_seen(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<MarkUpTo>,
) -> Result<Answered, Problem> {
    Ok(
        mark(&api, asked.asking, conversation, MarkKind::Seen, request)
            .await?
            .ok(),
    )
}

/// Say up to where a conversation has reached one of one's devices
///
/// A mark only moves forward. At most one is stored a second: what comes sooner is answered with
/// the next one that is stored.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation}/receipts/delivered",
    tag = "receipts",
    request_body = MarkUpTo,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`seq_beyond_the_end`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put_delivered(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<MarkUpTo>,
) -> Result<Answered, Problem> {
    Ok(mark(
        &api,
        asked.asking,
        conversation,
        MarkKind::Delivered,
        request,
    )
    .await?
    .ok())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::testing::{World, problem};
    use domain::receipts::ReceiptsEvent;
    use domain::{Event, StreamName};
    use futures::future::{Either, join_all, select};
    use serde_json::json;

    /// Seqs of the seen marks that are stored.
    async fn stored(world: &World, group: &str) -> Vec<u64> {
        let stream = StreamName::receipts(group.parse().unwrap());
        let events = world.events(&stream).await;
        let seqs = events.iter().filter_map(|event| match event.event() {
            Ok(Event::Receipts(ReceiptsEvent::Seen(mark))) => Some(mark.seq.0),
            _ => None,
        });
        seqs.collect()
    }

    #[tokio::test]
    async fn marks_of_one_second_are_stored_as_two_and_all_answered() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        for number in 0..20 {
            world.say("alice", &group, &number.to_string()).await;
        }
        let path = format!("/v1/conversations/{group}/receipts/seen");
        let mark = |seq: u64| world.put("bob", &path).body(json!({ "seq": seq }));
        let began = Instant::now();
        let (status, first) = mark(2).send().await;
        assert_eq!((status, &first["seq"]), (200, &json!(1)));
        // The first is stored at once; what follows within its second waits together.
        let seqs = (3..=10).chain([21]).chain(11..=20);
        let answers = join_all(seqs.map(|seq| mark(seq).send())).await;
        assert!(began.elapsed().as_millis() >= 1_000);
        for (status, answer) in answers {
            assert_eq!((status, &answer["seq"]), (200, &json!(2)));
        }
        assert_eq!(stored(&world, &group).await, [2, 21]);
    }

    #[tokio::test]
    async fn a_mark_behind_the_stored_one_waits_for_nothing() {
        let world = World::with(&["alice"]).await;
        let group = world.group("alice", &[]).await;
        world.say("alice", &group, "one").await;
        world.say("alice", &group, "two").await;
        let path = format!("/v1/conversations/{group}/receipts/seen");
        let mark = |seq: u64| world.put("alice", &path).body(json!({ "seq": seq }));
        assert_eq!(mark(2).send().await.0, 200);
        let waits = Box::pin(mark(3).send());
        let behind = Box::pin(mark(1).send());
        let Either::Right(((status, answer), waits)) = select(waits, behind).await else {
            panic!("the mark that waits for its turn came first");
        };
        assert_eq!((status, &answer["seq"]), (200, &json!(1)));
        assert_eq!(waits.await.0, 200);
        assert_eq!(stored(&world, &group).await, [2, 3]);
    }

    #[tokio::test]
    async fn a_mark_that_waits_is_private_once_that_is_asked_for() {
        let world = World::with(&["alice"]).await;
        let group = world.group("alice", &[]).await;
        world.say("alice", &group, "one").await;
        world.say("alice", &group, "two").await;
        let path = format!("/v1/conversations/{group}/receipts/seen");
        let mark = |seq: u64| world.put("alice", &path).body(json!({ "seq": seq }));
        assert_eq!(mark(2).send().await.0, 200);
        let nobody = world.put("alice", "/v1/users/me/privacy");
        let nobody = nobody.body(json!({"seen": "nobody"}));
        let waits = Box::pin(mark(3).send());
        let Either::Right(((status, _), waits)) = select(waits, Box::pin(nobody.send())).await
        else {
            panic!("the mark did not wait for its turn");
        };
        assert_eq!(status, 200);
        assert_eq!(waits.await.0, 200);
        let stream = StreamName::receipts(group.parse().unwrap());
        let events = world.events(&stream).await;
        let only_for = events.iter().map(|event| match event.event() {
            Ok(Event::Receipts(event)) => event.only_for(),
            other => panic!("{other:?}"),
        });
        let only_for: Vec<_> = only_for.collect();
        assert_eq!(only_for, [None, Some(world.id("alice"))]);
    }

    #[tokio::test]
    async fn what_waits_is_stored_before_the_server_closes() {
        let world = World::with(&["alice"]).await;
        let group = world.group("alice", &[]).await;
        world.say("alice", &group, "one").await;
        world.say("alice", &group, "two").await;
        let path = format!("/v1/conversations/{group}/receipts/seen");
        let mark = |seq: u64| world.put("alice", &path).body(json!({ "seq": seq }));
        assert_eq!(mark(2).send().await.0, 200);
        let ((status, _), ()) = futures::join!(mark(3).send(), async {
            // The mark is asked for first: join polls in order, and it waits for its turn.
            tokio::task::yield_now().await;
            world.api.close().await;
        });
        assert_eq!(status, 200);
        assert_eq!(stored(&world, &group).await, [2, 3]);
        assert_eq!(mark(3).problem().await, problem(503, "shutting_down", ""));
    }

    #[tokio::test]
    async fn a_mark_is_a_members_and_not_beyond_the_end() {
        let world = World::with(&["alice", "carol"]).await;
        let group = world.group("alice", &[]).await;
        let path = format!("/v1/conversations/{group}/receipts/delivered");
        let mark = |who: &str, seq: u64| world.put(who, &path).body(json!({ "seq": seq }));
        let refused = mark("alice", 2).problem().await;
        assert_eq!(refused, problem(422, "seq_beyond_the_end", ""));
        assert_eq!(mark("alice", 1).send().await.0, 200);
        let refused = mark("carol", 1).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }
}
