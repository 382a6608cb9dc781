//! The key with which push services know us (VAPID, RFC 8292). It follows from the server's secret, so that
//! all nodes have the same; browsers are told its public half when they subscribe.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::failure::Failure;
use crate::keys::Secret;

/// How long a token is good; a day at most by the RFC.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Derived numbers that are looked at until one is a key: that the first is none happens once in 2^32.
const TRIES_MAX: u8 = 8;

/// What failed.
const MAKE: &str = "make the key that push services know us by";

/// Signs tokens for push services.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    public: String,
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VapidKey({})", self.public)
    }
}

impl VapidKey {
    /// The key of `secret`.
    ///
    /// # Errors
    /// No key can be made, which is a defect.
    pub fn new(secret: &Secret) -> Result<Self, Failure> {
        let (number, key) = (0..TRIES_MAX)
            .find_map(|attempt| {
                let number = secret.derive(&format!("vapid {attempt}"));
                let key = PrivateKey::from_private_key(&ECDH_P256, &number).ok()?;
                Some((number, key))
            })
            .ok_or_else(|| Failure::internal(MAKE, "no derived number is a key"))?;
        let public = key
            .compute_public_key()
            .map_err(|error| Failure::internal(MAKE, error))?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number, public.as_ref());
        Ok(Self {
            pair: pair.map_err(|error| Failure::internal(MAKE, error))?,
            public: URL_SAFE_NO_PAD.encode(public),
        })
    }

    /// The public half as browsers take it: an uncompressed point in base64url.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The `Authorization` of a request to the push service at `origin`; `contact` says who runs this
    /// server.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(super) fn authorization(
        &self,
        origin: &str,
        contact: &str,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let exp = (now + TOKEN_LIFETIME).timestamp();
        let claims = json!({ "aud": origin, "exp": exp, "sub": contact });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({ "typ": "JWT", "alg": "ES256" }));
        let signed = format!("{head}.{}", part(&claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|error| Failure::internal("sign a token for a push service", error))?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;

    #[test]
    fn a_token_is_for_one_push_service_and_checked_with_the_public_key() {
        let key = VapidKey::new(&Secret::new([7; 32])).unwrap();
        let same = VapidKey::new(&Secret::new([7; 32])).unwrap();
        assert_eq!(key.public(), same.public());
        let now = DateTime::UNIX_EPOCH;
        let contact = "mailto:noreply@example.org";
        let authorization = key.authorization("https://push.example", contact, now);
        let authorization = authorization.unwrap();
        let (token, public) = authorization
            .strip_prefix("vapid t=")
            .and_then(|rest| rest.split_once(", k="))
            .unwrap();
        assert_eq!(public, key.public());
        let point = URL_SAFE_NO_PAD.decode(public).unwrap();
        let (x, y) = point[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let decoding = DecodingKey::from_ec_components(&x, &y).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["https://push.example"]);
        validation.validate_exp = false;
        let claims = decode::<serde_json::Value>(token, &decoding, &validation);
        let claims = claims.unwrap().claims;
        assert_eq!(claims["exp"], 12 * 60 * 60);
        assert_eq!(claims["sub"], contact);
    }
}
