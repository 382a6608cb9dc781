//! The records of an export as Slack writes them. Only what is imported is read; unknown fields are
//! passed over, as Slack adds some every year.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A record of `users.json`.
#[derive(Debug, Deserialize)]
pub(super) struct SlackUser {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) real_name: Option<String>,
    #[serde(default)]
    pub(super) profile: Profile,
}

/// How a user presents themselves.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Profile {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) real_name: Option<String>,
    #[serde(default)]
    pub(super) display_name: Option<String>,
    #[serde(default)]
    pub(super) email: Option<String>,
}

/// A record of `channels.json`, `groups.json`, `dms.json` or `mpims.json`.
#[derive(Debug, Deserialize)]
pub(super) struct SlackConversation {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    /// In seconds since 1970.
    #[serde(default)]
    pub(super) created: Option<i64>,
    #[serde(default)]
    pub(super) creator: Option<String>,
    #[serde(default)]
    pub(super) is_archived: bool,
    #[serde(default)]
    pub(super) members: Vec<String>,
}

/// A record of a day.
#[derive(Debug, Deserialize)]
pub(super) struct SlackMessage {
    #[serde(default)]
    pub(super) subtype: Option<String>,
    pub(super) ts: Timestamp,
    #[serde(default)]
    pub(super) thread_ts: Option<Timestamp>,
    #[serde(flatten)]
    pub(super) author: SlackAuthor,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) edited: Option<Edited>,
    #[serde(default)]
    pub(super) reactions: Vec<SlackReaction>,
    #[serde(default)]
    pub(super) files: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) attachments: Vec<serde::de::IgnoredAny>,
    /// Of `message_changed`: the message after the change.
    #[serde(default)]
    pub(super) message: Option<Box<ChangedMessage>>,
}

/// Who wrote a message: a user, or a bot under some name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SlackAuthor {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) bot_id: Option<String>,
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) user_profile: Option<NamedProfile>,
    #[serde(default)]
    pub(super) bot_profile: Option<NamedProfile>,
}

/// What a message says of its author.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct NamedProfile {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) real_name: Option<String>,
}

/// That a message was edited, the last time when.
#[derive(Debug, Deserialize)]
pub(super) struct Edited {
    pub(super) ts: Timestamp,
}

/// A message as a change left it.
#[derive(Debug, Deserialize)]
pub(super) struct ChangedMessage {
    pub(super) ts: Timestamp,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(flatten)]
    pub(super) author: SlackAuthor,
}

/// Everybody who reacted with one emoji.
#[derive(Debug, Deserialize)]
pub(super) struct SlackReaction {
    pub(super) name: String,
    #[serde(default)]
    pub(super) users: Vec<String>,
    #[serde(default)]
    pub(super) count: u64,
}

/// Slack's time, which names a message within its conversation: microseconds since 1970, written as
/// seconds with six decimals in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Timestamp(i64);

impl Timestamp {
    fn parse(text: &str) -> Option<Self> {
        let (seconds, micros) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(seconds) || !digits(micros) || micros.len() > 6 {
            return None;
        }
        let seconds: i64 = seconds.parse().ok()?;
        let micros: i64 = format!("{micros:0<6}").parse().ok()?;
        let micros = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
        DateTime::from_timestamp_micros(micros).map(|_| Self(micros))
    }

    /// The moment.
    pub(super) fn moment(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// The one way to write it, by which ids are derived.
    pub(super) fn key(self) -> String {
        format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no time of Slack's")))
    }
}

/// What a record of a day is, by its subtype. What Slack adds one day is taken as a message, so that
/// nothing that was said gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Somebody said something.
    Message,
    /// A message was changed afterwards.
    Change,
    /// A message was deleted afterwards.
    Deletion,
    /// Slack's own line about the conversation.
    Notice,
}

/// Subtypes of what Slack writes by itself. A `tombstone` stands where the first message of a thread
/// was deleted.
const NOTICES: [&str; 37] = [
    "bot_add",
    "bot_disable",
    "bot_enable",
    "bot_remove",
    "channel_archive",
    "channel_canvas_updated",
    "channel_convert_to_private",
    "channel_convert_to_public",
    "channel_join",
    "channel_leave",
    "channel_name",
    "channel_posting_permissions",
    "channel_purpose",
    "channel_topic",
    "channel_unarchive",
    "document_mention",
    "ekm_access_denied",
    "group_archive",
    "group_join",
    "group_leave",
    "group_name",
    "group_purpose",
    "group_topic",
    "group_unarchive",
    "huddle_thread",
    "joiner_notification",
    "joiner_notification_for_inviter",
    "mpdm_move",
    "pinned_item",
    "reminder_add",
    "reminder_delete",
    "sh_room_created",
    "sh_room_shared",
    "sharing_notification",
    "tabbed_canvas_updated",
    "tombstone",
    "unpinned_item",
];

impl SlackMessage {
    pub(super) fn sort(&self) -> Sort {
        match self.subtype.as_deref() {
            Some("message_changed") => Sort::Change,
            Some("message_deleted") => Sort::Deletion,
            Some(subtype) if NOTICES.contains(&subtype) => Sort::Notice,
            Some(_) | None => Sort::Message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond_and_written_one_way() {
        let time = Timestamp::parse("1524308079.000117").unwrap();
        assert_eq!(
            time.moment().to_rfc3339(),
            "2018-04-21T10:54:39.000117+00:00"
        );
        assert_eq!(time.key(), "1524308079.000117");
        assert_eq!(Timestamp::parse("12.5").unwrap().key(), "12.500000");
        assert_eq!(Timestamp::parse("12").unwrap().key(), "12.000000");
        for bad in [
            "",
            ".",
            "1.",
            ".1",
            "-1.0",
            "1e3",
            "1.0000001",
            "x",
            "99999999999999999.0",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_subtype_that_is_not_known_is_a_message() {
        let sort = |subtype: &str| {
            let text = format!(r#"{{"ts": "1.0", "subtype": "{subtype}"}}"#);
            serde_json::from_str::<SlackMessage>(&text).unwrap().sort()
        };
        assert_eq!(sort("of_next_year"), Sort::Message);
        assert_eq!(sort("bot_message"), Sort::Message);
        assert_eq!(sort("channel_join"), Sort::Notice);
        assert_eq!(sort("message_changed"), Sort::Change);
        assert_eq!(sort("message_deleted"), Sort::Deletion);
    }
}
