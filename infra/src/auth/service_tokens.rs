//! Tokens of services: `vs_` and 64 characters of base64url, which are the service's id (16 bytes)
//! and 32 bytes that nobody guesses. The log keeps their SHA-256 only.
//!
//! The 32 bytes are not drawn but derived from the server's secret, the service and the number of
//! the token, so that a retry of the command that issued it is told the same token. Whoever has the
//! secret can make every token, as they can sign every other one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ServiceId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::keys::{Secret, hex, keyed_hash};

/// What every token of a service begins with, and no other token.
const PREFIX: &str = "vs_";

/// Bytes of the id, which come first.
const ID_BYTES: usize = 16;

/// Bytes of the id and of what nobody guesses.
const TOKEN_BYTES: usize = 48;

/// Makes the tokens of services.
pub struct ServiceTokens {
    key: [u8; 32],
}

impl ServiceTokens {
    /// Makes those that follow from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self {
            key: secret.derive("service-token"),
        }
    }

    /// The token number `generation` of `service`.
    pub fn token(&self, service: ServiceId, generation: u32) -> String {
        let data = format!("{service}\n{generation}");
        let mut bytes = service.0.as_bytes().to_vec();
        bytes.extend_from_slice(&keyed_hash(&self.key, data.as_bytes()));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Whether `token` is one of a service, good or not.
pub(super) fn is_service_token(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Whose `token` says it is; `None` where it has not the shape of a service's token.
pub(super) fn service_of(token: &str) -> Option<ServiceId> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    if bytes.len() != TOKEN_BYTES {
        return None;
    }
    let id = bytes.get(..ID_BYTES)?.try_into().ok()?;
    Some(ServiceId(Uuid::from_bytes(id)))
}

/// What the log keeps of `token`: its SHA-256 in lower-case hex.
pub fn hash_of_service_token(token: &str) -> String {
    hex(&Sha256::digest(token))
}

/// Whether `hash`, as the log keeps it, is that of `token`. Takes the same time for every other one.
pub(super) fn is_hash_of(hash: &str, token: &str) -> bool {
    hash_of_service_token(token)
        .as_bytes()
        .ct_eq(hash.as_bytes())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fresh_id;

    #[test]
    fn a_token_says_whose_it_is_and_follows_from_the_secret() {
        let tokens = ServiceTokens::new(&Secret::new([1; 32]));
        let service = ServiceId(fresh_id());
        let token = tokens.token(service, 1);
        assert_eq!(token.len(), PREFIX.len() + 64);
        assert!(is_service_token(&token));
        assert_eq!(service_of(&token), Some(service));
        assert_eq!(token, tokens.token(service, 1));
        let other_secret = ServiceTokens::new(&Secret::new([2; 32]));
        for other in [
            tokens.token(service, 2),
            tokens.token(ServiceId(fresh_id()), 1),
            other_secret.token(service, 1),
        ] {
            assert_ne!(other, token);
            assert!(!is_hash_of(&hash_of_service_token(&token), &other));
        }
        assert!(is_hash_of(&hash_of_service_token(&token), &token));
    }

    #[test]
    fn what_has_another_shape_is_nobodys() {
        for other in ["", "vs_", "vs_abc", "eyJhbGciOi", "vs_!!!!"] {
            assert_eq!(service_of(other), None, "{other}");
        }
        let long = format!("vs_{}", "A".repeat(66));
        assert_eq!(service_of(&long), None);
    }
}
