//! What a webhook says of a user: the claims of `OpenID Connect`, or the shape that hosted identity
//! services have come to share. Whatever is missing or not understood is not said.

use chrono::{DateTime, Utc};
use domain::values::{Email, Subject};
use infra::issuers::Profile;
use serde::Deserialize;
use serde_json::Value;

/// A webhook.
#[derive(Deserialize)]
pub(super) struct Webhook {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    data: Value,
}

/// What happened at the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// There is a user, who is like this from then on.
    Known(Profile),
    /// There is no such user any more.
    Deleted(Subject),
    /// Something that is of no use here.
    Other,
}

impl Webhook {
    /// What happened; `None` where it is of a user whom it does not name.
    pub(super) fn happened(&self) -> Option<Happened> {
        match self.event_type.as_str() {
            "user.created" | "user.updated" => Some(Happened::Known(self.profile()?)),
            "user.deleted" => Some(Happened::Deleted(self.subject()?)),
            _ => Some(Happened::Other),
        }
    }

    /// When it happened there: as the record says, else the webhook, else when it was sent.
    pub(super) fn as_of(&self, sent_at: DateTime<Utc>) -> DateTime<Utc> {
        let record = ["updated_at", "deleted_at"].map(|name| self.data.get(name));
        let said = record.into_iter().chain([self.timestamp.as_ref()]);
        said.flatten().find_map(moment).unwrap_or(sent_at)
    }

    fn subject(&self) -> Option<Subject> {
        let said = self.text(&["sub", "id", "user_id"])?;
        Subject::parse(said).ok()
    }

    fn profile(&self) -> Option<Profile> {
        let name = self.text(&["name"]).map(str::to_owned);
        let in_parts = || {
            let parts = ["first_name", "last_name"].map(|part| self.text(&[part]));
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        };
        Some(Profile {
            subject: self.subject()?,
            email: self.address().and_then(|email| Email::parse(email).ok()),
            username: self
                .text(&["preferred_username", "username"])
                .map(str::to_owned),
            name: name.or_else(in_parts),
        })
    }

    /// The address, where it says that it was verified.
    fn address(&self) -> Option<&str> {
        if let Some(email) = self.text(&["email"]) {
            let is_verified = self.data.get("email_verified").and_then(Value::as_bool);
            return is_verified.unwrap_or_default().then_some(email);
        }
        let primary = self.data.get("primary_email_address_id")?;
        let addresses = self.data.get("email_addresses")?.as_array()?;
        let address = addresses
            .iter()
            .find(|address| address.get("id") == Some(primary))?;
        let status = address.pointer("/verification/status")?.as_str()?;
        let email = address.get("email_address")?.as_str()?;
        (status == "verified").then_some(email)
    }

    /// The first of these fields that has text.
    fn text(&self, names: &[&str]) -> Option<&str> {
        let said = names
            .iter()
            .filter_map(|name| self.data.get(name)?.as_str());
        said.map(str::trim).find(|text| !text.is_empty())
    }
}

/// A moment as text (RFC 3339), or as a number of seconds or milliseconds since 1970.
fn moment(value: &Value) -> Option<DateTime<Utc>> {
    /// From here on it is milliseconds: in seconds this is the year 5138.
    const SECONDS_MAX: i64 = 100_000_000_000;
    match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|moment| moment.to_utc()),
        Value::Number(number) => match number.as_i64()? {
            seconds if seconds < SECONDS_MAX => DateTime::from_timestamp(seconds, 0),
            milliseconds => DateTime::from_timestamp_millis(milliseconds),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn webhook(webhook: Value) -> Webhook {
        serde_json::from_value(webhook).unwrap()
    }

    fn moment_of(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn alice(email: Option<&str>) -> Profile {
        Profile {
            subject: Subject::parse("user_1").unwrap(),
            email: email.map(|email| Email::parse(email).unwrap()),
            username: Some("alice".to_owned()),
            name: Some("Alice Liddell".to_owned()),
        }
    }

    #[test]
    fn both_shapes_say_the_same() {
        let claims = webhook(json!({
            "type": "user.created", "timestamp": "2023-11-14T22:13:20Z",
            "data": {
                "sub": "user_1", "email": "alice@example.org", "email_verified": true,
                "preferred_username": "alice", "name": "Alice Liddell",
            },
        }));
        let hosted = webhook(json!({
            "type": "user.updated", "timestamp": 1_700_000_001_000_i64,
            "data": {
                "id": "user_1", "username": "alice", "first_name": "Alice", "last_name": "Liddell",
                "primary_email_address_id": "two", "updated_at": 1_700_000_000_000_i64,
                "email_addresses": [
                    {"id": "one", "email_address": "other@example.org",
                     "verification": {"status": "verified"}},
                    {"id": "two", "email_address": "alice@example.org",
                     "verification": {"status": "verified"}},
                ],
            },
        }));
        for webhook in [claims, hosted] {
            let known = Happened::Known(alice(Some("alice@example.org")));
            assert_eq!(webhook.happened(), Some(known));
            assert_eq!(webhook.as_of(moment_of(9)), moment_of(1_700_000_000));
        }
    }

    #[test]
    fn an_address_that_was_not_verified_is_not_said() {
        for data in [
            json!({"email": "alice@example.org"}),
            json!({"email": "alice@example.org", "email_verified": "true"}),
            json!({"email_addresses": [{"id": "one", "email_address": "alice@example.org"}],
                   "primary_email_address_id": "one"}),
            json!({"email_addresses": [{"id": "one", "email_address": "alice@example.org",
                                        "verification": {"status": "unverified"}}],
                   "primary_email_address_id": "one"}),
        ] {
            let mut data = data;
            data["id"] = "user_1".into();
            data["username"] = "alice".into();
            data["name"] = "Alice Liddell".into();
            let webhook = webhook(json!({"type": "user.created", "data": data}));
            assert_eq!(webhook.happened(), Some(Happened::Known(alice(None))));
        }
    }

    #[test]
    fn what_is_of_nobody_or_of_no_use_is_known_as_such() {
        let nobody = webhook(json!({"type": "user.created", "data": {"id": " "}}));
        assert_eq!(nobody.happened(), None);
        let other = webhook(json!({"type": "session.created"}));
        assert_eq!(other.happened(), Some(Happened::Other));
        assert_eq!(other.as_of(moment_of(9)), moment_of(9));
    }
}
