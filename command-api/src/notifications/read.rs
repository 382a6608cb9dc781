//! Saying up to where one has read the list of what concerned one.

use axum::extract::State;
use domain::Position;
use domain::notifications::Command;
use infra::commands::Accepted;
use infra::event_store::end_of;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// How far the list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadNotifications {
    /// The `position` of the newest entry that was read.
    up_to: Position,
}

/// Moves the asker's mark in the list.
pub(crate) async fn read_notifications(
    api: &CommandApi,
    asking: Asking,
    request: ReadNotifications,
) -> Result<Answer, Problem> {
    let mut head = *api.store().head().borrow();
    // Another node may have told the asker of what this one has not heard of.
    if request.up_to > head {
        head = end_of(api.store()).await?;
    }
    let command = Command::ReadUpTo {
        position: request.up_to,
        head,
    };
    ask(api, asking, command, "read_notifications", &request).await
}

/// Say up to where one has read the list of what concerned one
///
/// The mark only moves forward.
#[utoipa::path(
    put,
    path = "/v1/notifications/read",
    tag = "notifications",
    request_body = ReadNotifications,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "The mark is there, or further"),
        CommandProblems,
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`position_beyond_the_end`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ReadNotifications>,
) -> Result<Answered, Problem> {
    Ok(read_notifications(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn the_mark_moves_forward_and_not_beyond_the_end() {
        let world = World::with(&["alice"]).await;
        let read = |up_to: u64| {
            let body = json!({ "up_to": up_to });
            world.put("alice", "/v1/notifications/read").body(body)
        };
        let (status, first) = read(2).send().await;
        assert_eq!((status, &first["seq"]), (200, &json!(1)));
        let (_, behind) = read(1).send().await;
        assert_eq!(behind["position"], first["position"]);
        let refused = read(1_000).problem().await;
        assert_eq!(refused, problem(422, "position_beyond_the_end", ""));
    }
}
