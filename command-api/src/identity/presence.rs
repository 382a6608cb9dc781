//! Choosing as what one is shown while one is there.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::user::{Command, PresenceChoice, Shown};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// As what one is shown, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChoosePresence {
    /// `automatic`: as one's devices say. `away`, whatever they say. `invisible`: as offline.
    shown: Shown,
    /// When `automatic` holds again; without it, until one chooses anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

async fn choose_presence(
    api: &CommandApi,
    asking: Asking,
    request: ChoosePresence,
) -> Result<Answer, Problem> {
    let envelope = asking.envelope(&("choose_presence", request))?;
    let ChoosePresence { shown, until } = request;
    let command = Command::ChoosePresence {
        choice: PresenceChoice { shown, until },
        now: api.clock().now(),
    };
    let done = api.change_account(asking.user, envelope, command).await?;
    Ok(Answer::new(asking.user.0, done))
}

/// Choose as what one is shown
///
/// It holds on all devices, and is shown to others within about a second. Who is `invisible` gets
/// everything as before.
#[utoipa::path(
    put,
    path = "/v1/users/me/presence",
    tag = "users",
    request_body = ChoosePresence,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is chosen, or was so already"),
        CommandProblems,
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`ends_in_the_past`, `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ChoosePresence>,
) -> Result<Answered, Problem> {
    Ok(choose_presence(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::user::Shown;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_retry_after_the_end_gets_the_first_answer() {
        let world = World::with(&["alice"]).await;
        let until = world.clock.now() + chrono::TimeDelta::minutes(1);
        let choose = |key: &str| {
            let request = world.put("alice", "/v1/users/me/presence").key(key);
            request.body(json!({"shown": "away", "until": until}))
        };
        let (status, first) = choose("lunch").send().await;
        assert_eq!(status, 200);
        world.clock.set(until);
        let (status, again) = choose("lunch").send().await;
        assert_eq!((status, &again["seq"]), (200, &first["seq"]));
        let late = choose("late").problem().await;
        assert_eq!(late, problem(422, "ends_in_the_past", ""));
    }

    #[tokio::test]
    async fn presence_is_chosen_once_and_not_until_a_moment_that_is_over() {
        let world = World::with(&["alice"]).await;
        let choose = |body: Value| {
            let request = world.put("alice", "/v1/users/me/presence");
            request.body(body)
        };
        let invisible = || json!({"shown": "invisible", "until": "2100-01-01T00:00:00Z"});
        let (status, first) = choose(invisible()).send().await;
        assert_eq!(status, 200);
        let (_, again) = choose(invisible()).send().await;
        assert_eq!(again["seq"], first["seq"]);
        let account = world.api.account(world.id("alice")).await.unwrap();
        assert_eq!(account.unwrap().presence.shown, Shown::Invisible);
        let past = json!({"shown": "away", "until": "2000-01-01T00:00:00Z"});
        let refused = choose(past).problem().await;
        assert_eq!(refused, problem(422, "ends_in_the_past", ""));
        let refused = choose(json!({"shown": "hidden"})).problem().await;
        assert_eq!(refused, problem(422, "invalid_body", "/shown"));
    }
}
