//! Codes of invites: `vi_` and 43 characters of base64url, which are the space's id (16 bytes) and 16
//! bytes that nobody guesses. The log keeps an HMAC of the code only.
//!
//! The 16 bytes are not drawn but derived from the server's secret and the invite, so that a retry of the
//! command that made it is told the same code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{InviteId, SpaceId};
use uuid::Uuid;

use crate::keys::{Secret, hex, keyed_hash};

/// What every code begins with.
const PREFIX: &str = "vi_";

/// Bytes of the id, which come first.
const ID_BYTES: usize = 16;

/// Bytes of the id and of what nobody guesses.
const CODE_BYTES: usize = 32;

/// Makes codes and their hashes.
pub struct InviteKeys {
    making: [u8; 32],
    hashing: [u8; 32],
}

impl InviteKeys {
    /// The keys that follow from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self {
            making: secret.derive("invite"),
            hashing: secret.derive("invite-hash"),
        }
    }

    /// The code of `invite` to `space`.
    pub fn code(&self, space: SpaceId, invite: InviteId) -> String {
        let data = format!("{space}\n{invite}");
        let mut bytes = space.0.as_bytes().to_vec();
        bytes.extend_from_slice(&keyed_hash(&self.making, data.as_bytes()));
        bytes.truncate(CODE_BYTES);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the log keeps of `code`.
    pub fn hash(&self, code: &str) -> String {
        hex(&keyed_hash(&self.hashing, code.as_bytes()))
    }

    /// To which space `code` is, if it has the shape of one.
    pub fn space_of(code: &str) -> Option<SpaceId> {
        let bytes = URL_SAFE_NO_PAD.decode(code.strip_prefix(PREFIX)?).ok()?;
        if bytes.len() != CODE_BYTES {
            return None;
        }
        let id = bytes.get(..ID_BYTES)?.try_into().ok()?;
        Some(SpaceId(Uuid::from_bytes(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_where_it_leads_and_follows_from_the_secret() {
        let keys = InviteKeys::new(&Secret::new([1; 32]));
        let space = SpaceId(Uuid::from_u128(1));
        let [one, other] = [2, 3].map(|id| InviteId(Uuid::from_u128(id)));
        let code = keys.code(space, one);
        assert_eq!(InviteKeys::space_of(&code), Some(space));
        assert_eq!(code, keys.code(space, one));
        assert_ne!(code, keys.code(space, other));
        let elsewhere = InviteKeys::new(&Secret::new([2; 32]));
        assert_ne!(code, elsewhere.code(space, one));
        assert_ne!(keys.hash(&code), elsewhere.hash(&code));
        assert!(!keys.hash(&code).contains(&code));
        for no_code in ["", "vi_", "vi_AAAA", &code[3..], &format!("{code}A")] {
            assert_eq!(InviteKeys::space_of(no_code), None, "{no_code}");
        }
    }
}
