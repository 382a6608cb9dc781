//! What a user can set.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::notifications::quiet::QuietHours;
use crate::notifications::verdict::Place;

/// Of how much one is told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Of every message outside threads, and of what `mentions` has.
    All,
    /// Of messages that call one, answer one's message, or are in a thread that one follows.
    Mentions,
    /// Of nothing.
    None,
}

/// What is set for one conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Of how much one is told; what is set for all where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Until then one is told of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<DateTime<Utc>>,
}

impl Rule {
    /// Whether it says nothing, so that what is set for all conversations holds.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether one is told of nothing at `at`.
    pub fn is_muted(&self, at: DateTime<Utc>) -> bool {
        self.muted_until.is_some_and(|until| at < until)
    }
}

/// What is set for all conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Of how much one is told of direct conversations.
    pub direct: Level,
    /// Of how much one is told of groups. Absent: of everything in those with up to 32 members, of
    /// mentions in larger ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Level>,
    /// When nothing is pushed and no digest is mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    /// After so many seconds of absence what was missed is mailed; never where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_after_s: Option<u32>,
    /// Whether pushes have the text of messages.
    pub include_text: bool,
}

impl Default for Settings {
    /// Direct conversations in full, groups by their size, no quiet hours, no digest, no text.
    fn default() -> Self {
        Self {
            direct: Level::All,
            groups: None,
            quiet_hours: None,
            digest_after_s: None,
            include_text: false,
        }
    }
}

impl Settings {
    /// The longest absence after which a digest may be wanted, in seconds: 30 days.
    pub const DIGEST_AFTER_S_MAX: u32 = 30 * 24 * 60 * 60;

    /// Of how much of a conversation one is told.
    pub fn level(&self, rule: Rule, place: Place) -> Level {
        let by_default = match place {
            Place::Direct => self.direct,
            Place::SmallGroup => self.groups.unwrap_or(Level::All),
            Place::LargeGroup => self.groups.unwrap_or(Level::Mentions),
        };
        rule.level.unwrap_or(by_default)
    }
}
