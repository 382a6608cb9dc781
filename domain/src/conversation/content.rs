//! What a message says: text, plain or Markdown, or an envelope that only its readers' devices open.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{Invalid, MessageBody};

/// How a text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// As it stands.
    #[default]
    Plain,
    /// `CommonMark`. Raw HTML in it is text.
    Markdown,
}

impl TextFormat {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// Something encrypted by the author's device for the devices of the readers. The server keeps it as
/// it is and never needs to open it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Encrypted {
    /// How it is encrypted, in the clients' own terms: 1 to 64 of visible ASCII.
    pub algorithm: String,
    /// The keys that open it: 1 to 64, each named by 1 to 128 of visible ASCII.
    pub key_ids: Vec<String>,
    /// Base64, in either alphabet: 1 to 128 characters.
    pub nonce: String,
    /// Base64, in either alphabet: 1 to 32,768 characters.
    pub ciphertext: String,
}

impl Encrypted {
    /// The most keys that open one envelope.
    pub const KEYS_MAX: usize = 64;

    /// The longest ciphertext, in characters of Base64.
    pub const CIPHERTEXT_MAX: usize = 32 * 1024;

    /// Checks its shape; what is in it nobody here knows.
    ///
    /// # Errors
    /// A part is missing, too long, or of other characters.
    pub fn checked(self) -> Result<Self, Invalid> {
        let keys = (1..=Self::KEYS_MAX).contains(&self.key_ids.len())
            && self.key_ids.iter().all(|key| is_visible(key, 128));
        if keys
            && is_visible(&self.algorithm, 64)
            && is_base64(&self.nonce, 128)
            && is_base64(&self.ciphertext, Self::CIPHERTEXT_MAX)
        {
            Ok(self)
        } else {
            Err(Invalid {
                code: "invalid_envelope",
                rule: "an envelope has an algorithm (1 to 64 of visible ASCII), 1 to 64 key_ids (each 1 \
                       to 128 of visible ASCII), and as Base64 a nonce (up to 128 characters) and a \
                       ciphertext (up to 32768 characters)",
            })
        }
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Encrypted({} characters)", self.ciphertext.len())
    }
}

fn is_visible(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_base64(text: &str, bytes_max: usize) -> bool {
    let is_of_it =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(is_of_it)
}

/// Which of the two a message is. It never changes: an edit of an envelope is another envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// Text.
    Text,
    /// An envelope.
    Encrypted,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        body: MessageBody,
        /// How it is meant.
        format: TextFormat,
    },
    /// An envelope.
    Encrypted(Encrypted),
}

impl Content {
    /// Plain text.
    pub const fn plain(body: MessageBody) -> Self {
        let format = TextFormat::Plain;
        Self::Text { body, format }
    }

    /// Which of the two it is.
    pub const fn kind(&self) -> ContentKind {
        match self {
            Self::Text { .. } => ContentKind::Text,
            Self::Encrypted(_) => ContentKind::Encrypted,
        }
    }

    /// Whether it is a text without any.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text { body, .. } => body.as_str().trim().is_empty(),
            Self::Encrypted(_) => false,
        }
    }

    /// The same as `author` says it, to whom it is personal.
    pub fn said_by(&self, author: UserId) -> Said {
        match self.clone() {
            Self::Text { body, format } => Said::Text {
                body: Personal::new(author, body),
                format,
            },
            Self::Encrypted(encrypted) => Said::Encrypted {
                encrypted: Personal::new(author, encrypted),
            },
        }
    }
}

/// What was said, as events have it: `body`, with `format` where it is not plain; or `encrypted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// Text.
    Text {
        /// The text, personal to its author.
        body: Personal<MessageBody>,
        /// How it is meant.
        #[serde(default, skip_serializing_if = "TextFormat::is_plain")]
        format: TextFormat,
    },
    /// An envelope.
    Encrypted {
        /// The envelope, personal to its author.
        encrypted: Personal<Encrypted>,
    },
}

impl Said {
    /// Plain text.
    pub const fn plain(author: UserId, body: MessageBody) -> Self {
        Self::Text {
            body: Personal::new(author, body),
            format: TextFormat::Plain,
        }
    }

    /// Whose it is.
    pub const fn of(&self) -> UserId {
        match self {
            Self::Text { body, .. } => body.of,
            Self::Encrypted { encrypted } => encrypted.of,
        }
    }

    /// Which of the two it is.
    pub const fn kind(&self) -> ContentKind {
        match self {
            Self::Text { .. } => ContentKind::Text,
            Self::Encrypted { .. } => ContentKind::Encrypted,
        }
    }

    /// The text; `None` of an envelope.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { body, .. } => Some(body.value.as_str()),
            Self::Encrypted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Encrypted {
        Encrypted {
            algorithm: "xchacha20-poly1305".to_owned(),
            key_ids: vec!["device:1".to_owned()],
            nonce: "AAEC".to_owned(),
            ciphertext: "3q2-7w==".to_owned(),
        }
    }

    #[test]
    fn an_envelope_is_kept_as_it_is() {
        assert_eq!(envelope().checked(), Ok(envelope()));
        let largest = Encrypted {
            key_ids: vec!["k".repeat(128); 64],
            ciphertext: "A".repeat(Encrypted::CIPHERTEXT_MAX),
            ..envelope()
        };
        assert!(largest.checked().is_ok());
    }

    #[test]
    fn every_part_of_an_envelope_is_there_and_bounded() {
        let text = str::to_owned;
        for bad in [
            Encrypted {
                algorithm: text(""),
                ..envelope()
            },
            Encrypted {
                algorithm: text("a b"),
                ..envelope()
            },
            Encrypted {
                algorithm: "a".repeat(65),
                ..envelope()
            },
            Encrypted {
                key_ids: vec![],
                ..envelope()
            },
            Encrypted {
                key_ids: vec![text(""); 1],
                ..envelope()
            },
            Encrypted {
                key_ids: vec!["k".repeat(129)],
                ..envelope()
            },
            Encrypted {
                key_ids: vec![text("k"); 65],
                ..envelope()
            },
            Encrypted {
                nonce: text(""),
                ..envelope()
            },
            Encrypted {
                nonce: "A".repeat(129),
                ..envelope()
            },
            Encrypted {
                ciphertext: text("not base64"),
                ..envelope()
            },
            Encrypted {
                ciphertext: text("A\0"),
                ..envelope()
            },
            Encrypted {
                ciphertext: "A".repeat(Encrypted::CIPHERTEXT_MAX + 1),
                ..envelope()
            },
        ] {
            let refused = bad.clone().checked().expect_err("a bad envelope");
            assert_eq!(refused.code, "invalid_envelope", "{bad:?}");
        }
    }

    #[test]
    fn an_envelope_does_not_show_in_logs() {
        assert_eq!(format!("{:?}", envelope()), "Encrypted(8 characters)");
    }
}
