//! Changing one's preferences.

use axum::extract::State;
use domain::StreamName;
use domain::user::{Command, Preferences};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde_json::{Map, Value};

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::conversations::broken;
use crate::problems::CommandProblems;

/// Puts these preferences in place of those before.
async fn change_preferences(
    api: &CommandApi,
    asking: Asking,
    object: Map<String, Value>,
) -> Result<Answer, Problem> {
    let preferences = Preferences::parse(object).map_err(|(key, invalid)| {
        let key = key.map(|key| key.replace('~', "~0").replace('/', "~1"));
        let pointer = key.map_or_else(String::new, |key| format!("/{key}"));
        broken(&pointer, invalid)
    })?;
    let user = asking.user;
    let envelope = asking.envelope(&("change_preferences", &preferences))?;
    let command = Command::ChangePreferences { user, preferences };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Change one's preferences
///
/// All of them at once, in place of those before: a JSON object of at most 8 KiB with at most 64
/// keys. `discoverable`, true or false, says whether the directory shows the user; true where it is
/// absent. Everything else means nothing to the server and is for the user's clients.
#[utoipa::path(
    put,
    path = "/v1/users/me/preferences",
    tag = "users",
    request_body = Object,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "They are changed, or were so already"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(object): Body<Map<String, Value>>,
) -> Result<Answered, Problem> {
    Ok(change_preferences(&api, asked.asking, object).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::{Value, json};

    #[tokio::test]
    async fn preferences_are_replaced_and_bounded() {
        let world = World::with(&["alice"]).await;
        let change = |body: Value| {
            let request = world.put("alice", "/v1/users/me/preferences");
            request.body(body)
        };
        let (status, first) = change(json!({"theme": "dark", "discoverable": false}))
            .send()
            .await;
        assert_eq!(status, 200);
        let (_, again) = change(json!({"discoverable": false, "theme": "dark"}))
            .send()
            .await;
        assert_eq!(again["seq"], first["seq"]);
        assert_eq!(change(json!({})).send().await.0, 200);
        for (body, pointer) in [
            (json!({"discoverable": "no"}), "/discoverable"),
            (json!({"k".repeat(65): 1}), &*format!("/{}", "k".repeat(65))),
            (json!({"a": "x".repeat(9_000)}), ""),
        ] {
            let refused = change(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer));
        }
        let array = change(json!([1])).problem().await;
        assert_eq!(array, problem(422, "invalid_body", ""));
    }
}
