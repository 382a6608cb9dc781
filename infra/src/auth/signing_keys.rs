//! The keys that sign tokens. Each is good for a period of [`PERIOD_DAYS`] days and follows from the
//! server's secret and the period's number, so that all nodes have the same without telling each other.
//! Whoever checks knows the keys of the last, this and the next period: tokens outlive the end of a
//! period, and clocks differ.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use parking_lot::RwLock;

use crate::failure::Failure;
use crate::keys::Secret;

/// How long one key signs, in days. The periods are counted from 1970.
pub(super) const PERIOD_DAYS: i64 = 30;

/// PKCS #8 of an Ed25519 private key up to the 32 bytes of the seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// Bytes of a key's id; enough that no two are alike.
const KEY_ID_BYTES: usize = 9;

/// Makes the keys of every period, and keeps those of this one.
pub(super) struct SigningKeys {
    secret: Secret,
    generation: u32,
    ring: RwLock<Arc<Ring>>,
}

/// The keys that are known in one period.
pub(super) struct Ring {
    period: i64,
    /// Of the period before.
    previous: Key,
    /// The one that signs.
    pub(super) current: Key,
    /// Of the period after.
    next: Key,
}

/// One key.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    public: Jwk,
}

impl SigningKeys {
    /// The keys of `secret`. Those of one `generation` know nothing of those of another.
    pub(super) fn new(secret: &Secret, generation: u32) -> Result<Self, Failure> {
        // Any period will do: that keys can be made at all shows at the start.
        let ring = Ring::new(secret, generation, 0)?;
        Ok(Self {
            secret: secret.clone(),
            generation,
            ring: RwLock::new(Arc::new(ring)),
        })
    }

    /// The keys that are known at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> Result<Arc<Ring>, Failure> {
        let period = now.timestamp().div_euclid(PERIOD_DAYS * 24 * 60 * 60);
        let kept = Arc::clone(&self.ring.read());
        if kept.period == period {
            return Ok(kept);
        }
        let ring = Arc::new(Ring::new(&self.secret, self.generation, period)?);
        *self.ring.write() = Arc::clone(&ring);
        Ok(ring)
    }
}

impl Ring {
    fn new(secret: &Secret, generation: u32, period: i64) -> Result<Self, Failure> {
        Ok(Self {
            period,
            previous: Key::new(secret, generation, period - 1)?,
            current: Key::new(secret, generation, period)?,
            next: Key::new(secret, generation, period + 1)?,
        })
    }

    /// The key that is called `id`.
    pub(super) fn named(&self, id: &str) -> Option<&Key> {
        [&self.current, &self.previous, &self.next]
            .into_iter()
            .find(|key| key.id == id)
    }

    /// The public halves, oldest first.
    pub(super) fn public(&self) -> JwkSet {
        let keys = [&self.previous, &self.current, &self.next];
        JwkSet {
            keys: keys.map(|key| key.public.clone()).to_vec(),
        }
    }
}

impl Key {
    fn new(secret: &Secret, generation: u32, period: i64) -> Result<Self, Failure> {
        let failed = |error| Failure::internal("make the key for tokens", error);
        let derive = |purpose: &str| secret.derive(&format!("{purpose} {generation} {period}"));
        let mut der = PKCS8_PREFIX.to_vec();
        der.extend_from_slice(&derive("token-signing"));
        let encoding = EncodingKey::from_ed_der(&der);
        let mut public = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).map_err(failed)?;
        let decoding = DecodingKey::from_jwk(&public).map_err(failed)?;
        let id = URL_SAFE_NO_PAD.encode(&derive("token-key-id")[..KEY_ID_BYTES]);
        public.common.key_id = Some(id.clone());
        Ok(Self {
            id,
            encoding,
            decoding,
            public,
        })
    }
}
