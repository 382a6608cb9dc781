//! Values that people type. Each is checked once, when it comes in, by its `parse`; what is stored
//! already is taken as it is, so that a later, stricter rule never makes old events unreadable.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a value was not taken. The text is for people and says the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Invalid {
    /// Stable name of the rule that was broken, snake_case.
    pub code: &'static str,
    /// The rule as a sentence.
    pub rule: &'static str,
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
}

text_value!(
    /// The unique name by which others find a user: 2 to 32 of `a-z 0-9 _ . -`, starting with a
    /// letter or digit. Upper case is folded.
    Handle
);
text_value!(
    /// An e-mail address, lower-cased: something, `@`, a domain; at most 254 bytes.
    Email
);
text_value!(
    /// What a user wants to be called: 1 to 80 characters, no control characters.
    DisplayName
);
text_value!(
    /// What a group is called: 1 to 120 characters, no control characters.
    Title
);
text_value!(
    /// A message as plain text: 1 byte to 16 KiB of UTF-8, not only white space.
    MessageBody
);
text_value!(
    /// A reaction: an emoji or a short code, 1 to 64 bytes without white space or control
    /// characters.
    Emoji
);
text_value!(
    /// Why a message was deleted, in the moderator's words: at most 500 characters.
    Reason
);

fn plain(text: &str, characters_max: usize) -> bool {
    !text.is_empty()
        && text.chars().count() <= characters_max
        && !text.chars().any(char::is_control)
}

impl Handle {
    /// Checks and folds a handle.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let folded = text.to_ascii_lowercase();
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let starts_well = folded
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if starts_well && (2..=32).contains(&folded.len()) && folded.bytes().all(allowed) {
            Ok(Self(folded))
        } else {
            Err(Invalid {
                code: "invalid_handle",
                rule: "a handle has 2 to 32 of a-z, 0-9, _ . - and starts with a letter or digit",
            })
        }
    }
}

impl Email {
    /// Checks and lower-cases an address. That it takes mail is known only after verification.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let folded = text.trim().to_lowercase();
        let well_formed = folded.len() <= 254
            && !folded.chars().any(|c| c.is_whitespace() || c.is_control())
            && folded.rsplit_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && !local.contains('@')
                    && domain.split('.').all(|label| !label.is_empty())
            });
        if well_formed {
            Ok(Self(folded))
        } else {
            Err(Invalid {
                code: "invalid_email",
                rule: "an e-mail address looks like name@domain and has at most 254 bytes",
            })
        }
    }
}

impl DisplayName {
    /// Trims and checks a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 80) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_display_name",
                rule: "a display name has 1 to 80 characters and no control characters",
            })
        }
    }
}

impl Title {
    /// Trims and checks a title.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 120) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_title",
                rule: "a title has 1 to 120 characters and no control characters",
            })
        }
    }
}

impl MessageBody {
    /// The longest body that a client may send, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Checks a body that a client sends.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            Err(Invalid {
                code: "empty_body",
                rule: "a message has some text",
            })
        } else if text.len() > Self::BYTES_MAX {
            Err(Invalid {
                code: "body_too_long",
                rule: "a message has at most 16384 bytes",
            })
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// Takes a body from another system's history as it is: history may hold messages without
    /// text, and longer ones than are sent here.
    pub fn imported(text: String) -> Self {
        Self(text)
    }
}

impl Emoji {
    /// Checks a reaction.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if (1..=64).contains(&text.len()) && clean {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_emoji",
                rule: "a reaction has 1 to 64 bytes without white space",
            })
        }
    }
}

impl Reason {
    /// Trims and checks a reason.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 500) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_reason",
                rule: "a reason has 1 to 500 characters and no control characters",
            })
        }
    }
}
