//! Setting of how much of all conversations one is told, and when.

use std::collections::BTreeSet;

use axum::extract::State;
use domain::notifications::{ClockTime, Command, Level, QuietHours, Settings, Weekday};
use domain::values::TimeZone;
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::conversations::broken;
use crate::problems::CommandProblems;

/// Hours in which nothing is pushed and no digest is mailed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuietHoursRequest {
    /// Whose clock counts: a name of the tz database, such as `Europe/Berlin`.
    time_zone: String,
    /// When they begin: `HH:MM`.
    from: String,
    /// When they end; on the next day, where that is earlier.
    until: String,
    /// On which days they begin; on all where this is empty or absent.
    #[serde(default)]
    days: BTreeSet<Weekday>,
}

/// What is set for all conversations from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationSettings {
    /// Of how much of direct conversations one is told: `all` unless said otherwise.
    #[serde(default)]
    direct: Option<Level>,
    /// Of how much of groups. Absent: `all` in those with up to 32 members, `mentions` in larger ones.
    #[serde(default)]
    groups: Option<Level>,
    /// When one wants to be left alone; absent: never.
    #[serde(default)]
    quiet_hours: Option<QuietHoursRequest>,
    /// After so many seconds of absence what was missed is mailed: at least 900 unless the server is set
    /// otherwise, at most 2,592,000. Absent: never.
    #[serde(default)]
    digest_after_s: Option<u32>,
    /// Whether pushes have the text of messages that is not encrypted: false unless said otherwise.
    #[serde(default)]
    include_text: bool,
}

impl QuietHoursRequest {
    fn checked(&self) -> Result<QuietHours, Problem> {
        let at = |name: &str| format!("/quiet_hours/{name}");
        let time = |name: &str, text: &str| {
            ClockTime::parse(text).map_err(|invalid| broken(&at(name), invalid))
        };
        let time_zone = TimeZone::parse(&self.time_zone);
        let hours = QuietHours {
            time_zone: time_zone.map_err(|invalid| broken(&at("time_zone"), invalid))?,
            from: time("from", &self.from)?,
            until: time("until", &self.until)?,
            days: self.days.clone(),
        };
        if hours.from == hours.until {
            let rule = "quiet hours end at another time than they begin";
            return Err(Problem::invalid_field(&at("until"), "invalid", rule));
        }
        Ok(hours)
    }
}

impl NotificationSettings {
    fn checked(&self, digest_seconds_min: u32) -> Result<Settings, Problem> {
        let quiet_hours = self.quiet_hours.as_ref();
        let within = digest_seconds_min..=Settings::DIGEST_AFTER_S_MAX;
        if self.digest_after_s.is_some_and(|it| !within.contains(&it)) {
            let rule = format!(
                "a digest is mailed after {} to {} seconds",
                within.start(),
                within.end()
            );
            let pointer = "/digest_after_s";
            return Err(Problem::invalid_field(pointer, "out_of_range", rule));
        }
        Ok(Settings {
            direct: self.direct.unwrap_or(Settings::default().direct),
            groups: self.groups,
            quiet_hours: quiet_hours.map(QuietHoursRequest::checked).transpose()?,
            digest_after_s: self.digest_after_s,
            include_text: self.include_text,
        })
    }
}

async fn change_settings(
    api: &CommandApi,
    asking: Asking,
    request: NotificationSettings,
) -> Result<Answer, Problem> {
    let settings = request.checked(api.telling().rules.digest_seconds_min)?;
    let user = asking.user;
    let command = Command::ChangeSettings { user, settings };
    let name = "change_notification_settings";
    ask(api, asking, command, name, &request).await
}

/// Set of how much one is told, and when
///
/// All of it at once, in place of what was set before.
#[utoipa::path(
    put,
    path = "/v1/users/me/notifications",
    tag = "notifications",
    request_body = NotificationSettings,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is set, or was so already"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<NotificationSettings>,
) -> Result<Answered, Problem> {
    Ok(change_settings(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::StreamName;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn settings_are_replaced_and_checked() {
        let world = World::with(&["alice"]).await;
        let set = |body: Value| world.put("alice", "/v1/users/me/notifications").body(body);
        let night = |time_zone: &str, from: &str, until: &str| json!({"quiet_hours": {"time_zone": time_zone, "from": from, "until": until}});
        let all = json!({
            "direct": "mentions", "groups": "none", "digest_after_s": 900, "include_text": true,
            "quiet_hours": {
                "time_zone": "europe/berlin", "from": "22:00", "until": "07:30", "days": ["sunday"],
            },
        });
        let (status, first) = set(all.clone()).send().await;
        assert_eq!(status, 200, "{first}");
        let (_, again) = set(all).send().await;
        assert_eq!(again["position"], first["position"]);
        assert_eq!(set(json!({})).send().await.0, 200);
        for (body, pointer) in [
            (json!({"direct": "some"}), "/direct"),
            (json!({"digest_after_s": 899}), "/digest_after_s"),
            (json!({"digest_after_s": 2_592_001}), "/digest_after_s"),
            (night("Mars", "22:00", "07:00"), "/quiet_hours/time_zone"),
            (night("UTC", "24:00", "07:00"), "/quiet_hours/from"),
            (night("UTC", "22:00", "7"), "/quiet_hours/until"),
            (night("UTC", "22:00", "22:00"), "/quiet_hours/until"),
        ] {
            let refused = set(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer));
        }
        let stream = StreamName::notifications(world.id("alice"));
        let expected = ["notification-settings-changed"; 2];
        assert_eq!(world.types(&stream).await, expected);
    }
}
