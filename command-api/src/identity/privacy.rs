//! Saying what others learn of oneself.

use axum::extract::State;
use domain::user::{Command, PrivacyDraft, ShownTo};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What others learn from now on; what is absent stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePrivacy {
    /// Who learns what one has seen: `everyone` in the conversation, or `nobody`. It holds for what is
    /// seen from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<ShownTo>,
    /// Who learns when one was here last: `everyone` with whom one shares a conversation, or `nobody`.
    /// Who keeps it to themselves does not learn that of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<ShownTo>,
}

async fn change_privacy(
    api: &CommandApi,
    asking: Asking,
    request: ChangePrivacy,
) -> Result<Answer, Problem> {
    let envelope = asking.envelope(&("change_privacy", request))?;
    let ChangePrivacy { seen, last_seen } = request;
    let command = Command::ChangePrivacy(PrivacyDraft { seen, last_seen });
    let done = api.change_account(asking.user, envelope, command).await?;
    Ok(Answer::new(asking.user.0, done))
}

/// Say what others learn of oneself
///
/// It counts for marks made through this node at once, and through others within half a second. That
/// somebody made a private mark is not hidden from who looks for it: in a direct conversation it is known
/// by whom.
#[utoipa::path(
    put,
    path = "/v1/users/me/privacy",
    tag = "users",
    request_body = ChangePrivacy,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is so from now on, or was so already"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ChangePrivacy>,
) -> Result<Answered, Problem> {
    Ok(change_privacy(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::{Event, StreamName};
    use serde_json::{Value, json};

    const PATH: &str = "/v1/users/me/privacy";

    #[tokio::test]
    async fn what_is_not_said_stays_and_the_same_again_is_not_stored() {
        let world = World::with(&["alice"]).await;
        let change = |body: Value| world.put("alice", PATH).body(body);
        let (status, first) = change(json!({"seen": "nobody"})).send().await;
        assert_eq!(status, 200);
        let both = json!({"seen": "nobody", "last_seen": "everyone"});
        let (_, again) = change(both).send().await;
        assert_eq!(again["seq"], first["seq"]);
        let refused = change(json!({"seen": "some"})).problem().await;
        assert_eq!(refused, problem(422, "invalid_body", "/seen"));
        let refused = change(json!({"heard": "nobody"})).problem().await;
        assert_eq!(refused.1, "invalid_body");
    }

    #[tokio::test]
    async fn marks_are_ones_own_from_the_change_on() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        let root = world.say("alice", &group, "one").await;
        world.say("alice", &group, "two").await;
        let mark = |path: &str, seq: u64| {
            let path = format!("/v1/conversations/{group}/{path}");
            world.put("bob", &path).body(json!({ "seq": seq }))
        };
        let thread = format!("threads/{root}/seen");
        assert_eq!(mark("receipts/seen", root).send().await.0, 200);
        let nobody = json!({"seen": "nobody"});
        assert_eq!(world.put("bob", PATH).body(nobody).send().await.0, 200);
        for path in ["receipts/seen", "receipts/delivered", &thread] {
            assert_eq!(mark(path, root + 1).send().await.0, 200);
        }
        let stream = StreamName::receipts(group.parse().unwrap());
        let events = world.events(&stream).await;
        let mut private: Vec<_> = events
            .iter()
            .filter_map(|event| match event.event() {
                Ok(Event::Receipts(event)) => Some((event.event_type(), event.only_for())),
                _ => None,
            })
            .collect();
        private.sort_unstable_by_key(|(event_type, only_for)| (*event_type, *only_for));
        let bob = Some(world.id("bob"));
        assert_eq!(
            private,
            [
                ("delivered-up-to", None),
                ("seen-up-to", None),
                ("seen-up-to", bob),
                ("thread-seen-up-to", bob),
            ]
        );
    }
}
