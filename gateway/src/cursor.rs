//! Cursors: how far a client is in the log, as text that only its own user can use.
//!
//! A cursor is `{position}.{tag}`. The tag is the same for all cursors of a user: the first 9 bytes
//! of HMAC-SHA-256 over the user's id, in base64url. So a cursor that leaks to another user is
//! refused, and yet no event costs a MAC: everything before the tag is shared by all who get the
//! event. The position itself is no secret (acks carry positions), and a user who writes a position
//! of their own before their tag gets no more than what they may see anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Position, UserId};
use infra::keys::{Secret, keyed_hash};

/// Bytes of the HMAC that are kept: enough that guessing is hopeless, short enough to be sent with
/// every event.
const TAG_BYTES: usize = 9;

/// Makes the tags.
#[derive(Clone)]
pub(crate) struct CursorKey([u8; 32]);

impl CursorKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(secret.derive("cursor"))
    }

    pub(crate) fn tag_of(&self, user: UserId) -> CursorTag {
        let hash = keyed_hash(&self.0, user.0.as_bytes());
        CursorTag(URL_SAFE_NO_PAD.encode(&hash[..TAG_BYTES]))
    }
}

/// The part of a cursor that says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CursorTag(String);

impl CursorTag {
    /// The cursor of this user at `position`.
    pub(crate) fn at(&self, position: Position) -> String {
        format!("{position}.{}", self.0)
    }

    /// The position in `cursor`, if it is one of this user.
    pub(crate) fn open(&self, cursor: &str) -> Option<Position> {
        let (position, tag) = cursor.split_once('.')?;
        let well_formed = !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit());
        if well_formed && tag == self.0 {
            position.parse().ok()
        } else {
            None
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use domain::{Position, UserId};
    use infra::keys::Secret;
    use uuid::Uuid;

    use super::CursorKey;

    #[test]
    fn a_cursor_opens_for_its_user_only() {
        let key = CursorKey::new(&Secret::new([7; 32]));
        let ada = key.tag_of(UserId(Uuid::from_u128(1)));
        let bob = key.tag_of(UserId(Uuid::from_u128(2)));
        let cursor = ada.at(Position(42));
        assert_eq!(ada.open(&cursor), Some(Position(42)));
        assert_eq!(bob.open(&cursor), None);
        for text in ["", "42", "42.", ".", "+42.x", "99999999999999999999999.x"] {
            assert_eq!(ada.open(text), None, "{text}");
            let mut tagged = text.to_owned();
            tagged.push_str(ada.as_str());
            assert_eq!(ada.open(&tagged), (text == "42.").then_some(Position(42)));
        }
    }
}
