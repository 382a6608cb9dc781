//! Refresh tokens: opaque to clients. Each follows from its session, its number and the server's secret,
//! so that one whose answer was lost can be given again, and nothing that is secret is stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::SessionId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::keys::{Secret, keyed_hash};

/// What every refresh token begins with, so that those who look for leaked secrets find it.
const PREFIX: &str = "vr_";

/// Bytes of the session's id.
const SESSION_BYTES: usize = 16;

/// Bytes of the session's id and the number after it, big-endian; the HMAC of both follows.
const NAMED_BYTES: usize = SESSION_BYTES + size_of::<u32>();

/// Bytes of a whole token before its text.
const TOKEN_BYTES: usize = NAMED_BYTES + 32;

/// Makes refresh tokens and knows them again.
pub struct RefreshTokens {
    key: [u8; 32],
}

/// A refresh token that we made.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Of which session.
    pub session: SessionId,
    /// Its number in the session: 0 for that of the login.
    pub generation: u32,
    text: String,
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RefreshToken({} of {})", self.generation, self.session)
    }
}

impl RefreshTokens {
    /// Those of a server with `secret`.
    pub(super) fn new(secret: &Secret) -> Self {
        Self {
            key: secret.derive("refresh-token"),
        }
    }

    /// The token number `generation` of `session`.
    pub fn make(&self, session: SessionId, generation: u32) -> RefreshToken {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..SESSION_BYTES].copy_from_slice(session.0.as_bytes());
        bytes[SESSION_BYTES..NAMED_BYTES].copy_from_slice(&generation.to_be_bytes());
        let proof = keyed_hash(&self.key, &bytes[..NAMED_BYTES]);
        bytes[NAMED_BYTES..].copy_from_slice(&proof);
        RefreshToken {
            session,
            generation,
            text: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)),
        }
    }

    /// The token that a client sent; `None` where it is none of ours.
    pub fn read(&self, text: &str) -> Option<RefreshToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let bytes: [u8; TOKEN_BYTES] = bytes.try_into().ok()?;
        let (session, rest) = bytes.split_first_chunk::<SESSION_BYTES>()?;
        let (generation, _) = rest.split_first_chunk()?;
        let session = SessionId(Uuid::from_bytes(*session));
        let ours = self.make(session, u32::from_be_bytes(*generation));
        bool::from(ours.text.as_bytes().ct_eq(text.as_bytes())).then_some(ours)
    }
}

impl RefreshToken {
    /// As the client gets it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text: what stands in the log.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// The one that it is exchanged for.
    #[must_use]
    pub fn next(&self, tokens: &RefreshTokens) -> Self {
        tokens.make(self.session, self.generation.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(byte: u8) -> RefreshTokens {
        RefreshTokens::new(&Secret::new([byte; 32]))
    }

    #[test]
    fn a_token_is_known_again_and_made_again_the_same() {
        let session = SessionId(Uuid::from_u128(7));
        let token = tokens(1).make(session, 3);
        assert_eq!(tokens(1).read(token.text()), Some(token.clone()));
        assert_eq!((token.session, token.generation), (session, 3));
        assert_eq!(
            tokens(1).make(session, 2).next(&tokens(1)).text(),
            token.text()
        );
    }

    #[test]
    fn what_is_not_ours_or_was_changed_is_no_token() {
        let token = tokens(1).make(SessionId(Uuid::from_u128(7)), 3);
        assert_eq!(tokens(2).read(token.text()), None, "of another server");
        for place in 0..token.text().len() {
            for by in ['A', 'B'] {
                let mut changed = token.text().to_owned();
                changed.replace_range(place..=place, &by.to_string());
                let is_same = changed == token.text();
                assert_eq!(tokens(1).read(&changed).is_some(), is_same, "{changed}");
            }
        }
        for text in ["", "vr_", "vr_AAAA", "no token"] {
            assert_eq!(tokens(1).read(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let token = tokens(1).make(SessionId(Uuid::from_u128(7)), 3);
        let shown = format!("{token:?}");
        assert!(!shown.contains("vr_"), "{shown}");
    }
}
