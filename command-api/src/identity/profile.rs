//! Changing what one is called.

use axum::extract::State;
use domain::StreamName;
use domain::user::Command;
use domain::values::DisplayName;
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::conversations::broken;
use crate::problems::CommandProblems;

/// The new profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeProfile {
    /// What to be called: 1 to 80 characters.
    display_name: String,
}

/// Changes the asker's profile.
async fn change_profile(
    api: &CommandApi,
    asking: Asking,
    request: ChangeProfile,
) -> Result<Answer, Problem> {
    let display_name = DisplayName::parse(&request.display_name)
        .map_err(|invalid| broken("/display_name", invalid))?;
    let user = asking.user;
    let envelope = asking.envelope(&("change_profile", &request))?;
    let command = Command::ChangeProfile { user, display_name };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Change one's profile
#[utoipa::path(
    patch,
    path = "/v1/users/me",
    tag = "users",
    request_body = ChangeProfile,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is changed, or was so already"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ChangeProfile>,
) -> Result<Answered, Problem> {
    Ok(change_profile(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::StreamName;
    use serde_json::json;

    #[tokio::test]
    async fn a_profile_is_changed_once_and_checked() {
        let world = World::with(&["alice"]).await;
        let change = |name: &str| {
            let request = world.patch("alice", "/v1/users/me");
            request.body(json!({ "display_name": name }))
        };
        let (status, first) = change("Alice Liddell").send().await;
        assert_eq!(status, 200);
        let (status, second) = change("Alice Liddell").send().await;
        assert_eq!((status, &second["seq"]), (200, &first["seq"]));
        let invalid = change("a\u{7}b").problem().await;
        assert_eq!(invalid, problem(422, "invalid_body", "/display_name"));
        let types = world.types(&StreamName::user(world.id("alice"))).await;
        assert_eq!(
            types,
            [
                "user-registered",
                "password-set",
                "code-issued",
                "profile-changed"
            ]
        );
    }

    #[tokio::test]
    async fn a_key_is_checked_and_its_reuse_refused() {
        let world = World::with(&["alice"]).await;
        let change = |name: &str, key: &str| {
            let request = world.patch("alice", "/v1/users/me").key(key);
            request.body(json!({ "display_name": name }))
        };
        for key in ["", &"k".repeat(201)] {
            let invalid = change("Alice", key).problem().await;
            assert_eq!(invalid, problem(400, "invalid_idempotency_key", ""));
        }
        assert_eq!(change("Alice", &"k".repeat(200)).send().await.0, 200);
        let reused = change("Another", &"k".repeat(200)).problem().await;
        assert_eq!(reused, problem(422, "idempotency_key_reused", ""));
    }
}
