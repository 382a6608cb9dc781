//! Changing what one says of oneself.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::user::{Command, ProfileDraft};
use domain::values::{DisplayName, Emoji, Invalid, Locale, Pronouns, StatusText, TimeZone};
use domain::{Change, StreamName};
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

/// What becomes different about the profile: what is absent stays as it is, what is null is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeProfile {
    /// What to be called: 1 to 80 characters; never null.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    display_name: Change<String>,
    /// What one is up to: 1 to 140 characters.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    status_text: Change<String>,
    /// The same as a picture: an emoji.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    status_emoji: Change<String>,
    /// From when on text and picture are not shown any more. A new one without it stays.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    status_until: Change<DateTime<Utc>>,
    /// Where one's clock is: a name of the tz database, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    time_zone: Change<String>,
    /// One's language: a tag as in BCP 47, such as `de-CH`. Only oneself sees it.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    locale: Change<String>,
    /// How to speak of one: 1 to 40 characters.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>, required = false)]
    pronouns: Change<String>,
}

/// Checks one field.
fn field<T>(
    pointer: &str,
    asked: &Change<String>,
    parse: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Result<Change<T>, Problem> {
    let parsed = asked.clone().try_map(|text| parse(&text));
    parsed.map_err(|invalid| broken(pointer, invalid))
}

impl ChangeProfile {
    fn checked(&self) -> Result<ProfileDraft, Problem> {
        let display_name = match field("/display_name", &self.display_name, DisplayName::parse)? {
            Change::Keep => None,
            Change::Set(name) => Some(name),
            Change::Clear => {
                let rule = "everybody is called something";
                return Err(Problem::invalid_field("/display_name", "missing", rule));
            }
        };
        Ok(ProfileDraft {
            display_name,
            status_text: field("/status_text", &self.status_text, StatusText::parse)?,
            status_emoji: field("/status_emoji", &self.status_emoji, Emoji::parse)?,
            status_until: self.status_until,
            time_zone: field("/time_zone", &self.time_zone, TimeZone::parse)?,
            locale: field("/locale", &self.locale, Locale::parse)?,
            pronouns: field("/pronouns", &self.pronouns, Pronouns::parse)?,
        })
    }
}

/// Changes the asker's profile.
async fn change_profile(
    api: &CommandApi,
    asking: Asking,
    request: ChangeProfile,
) -> Result<Answer, Problem> {
    let profile = Box::new(request.checked()?);
    let (user, now) = (asking.user, api.clock().now());
    let envelope = asking.envelope(&("change_profile", &request))?;
    let command = Command::ChangeProfile { user, profile, now };
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
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`ends_in_the_past`, `invalid_body`, `idempotency_key_reused`"),
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
    async fn fields_are_filled_and_emptied_and_wrong_ones_pointed_at() {
        let world = World::with(&["alice"]).await;
        let change = |body: serde_json::Value| world.patch("alice", "/v1/users/me").body(body);
        let full = json!({
            "status_text": "Away", "time_zone": "europe/berlin", "locale": "de-CH",
            "pronouns": "she/her", "status_emoji": "🍜", "status_until": "2100-01-01T00:00:00Z",
        });
        assert_eq!(change(full).send().await.0, 200);
        assert_eq!(change(json!({"status_text": null})).send().await.0, 200);
        let (status, nothing) = change(json!({})).send().await;
        assert_eq!((status, &nothing["seq"]), (200, &json!(5)));
        let user = world.id("alice");
        let account = world.api.account(user).await.unwrap().unwrap();
        assert_eq!(account.profile.status_text, None);
        let zone = account.profile.time_zone.unwrap();
        assert_eq!(zone.as_str(), "Europe/Berlin");
        for (body, pointer) in [
            (json!({"display_name": null}), "/display_name"),
            (json!({"status_text": "x".repeat(141)}), "/status_text"),
            (json!({"status_emoji": "two words"}), "/status_emoji"),
            (json!({"time_zone": "Mars/Olympus"}), "/time_zone"),
            (json!({"locale": "de_CH"}), "/locale"),
            (json!({"pronouns": 7}), "/pronouns"),
        ] {
            let refused = change(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer));
        }
        let past = json!({"status_until": "2000-01-01T00:00:00Z"});
        let refused = change(past).problem().await;
        assert_eq!(refused, problem(422, "ends_in_the_past", ""));
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
