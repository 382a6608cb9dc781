//! What a client keeps for us and gives back: sealed (AES-256-GCM), so that it can be neither read nor made
//! by others. Nothing is stored, and any process can go on.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::keys::Secret;

/// Longest sealed text that is looked at, in bytes.
pub(crate) const SEALED_BYTES_MAX: usize = 8 * 1024;

/// What failed.
const SEAL: &str = "seal what a client keeps";

/// Seals what is for one purpose.
pub struct Seal {
    key: RandomizedNonceKey,
    purpose: &'static str,
}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seal({})", self.purpose)
    }
}

impl Seal {
    /// The seal for `purpose`. What is sealed for one is worth nothing for another.
    ///
    /// # Errors
    /// The cipher cannot be had.
    pub fn new(secret: &Secret, purpose: &'static str) -> Result<Self, Failure> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &secret.derive(purpose));
        let key = key.map_err(|error| Failure::internal(SEAL, error))?;
        Ok(Self { key, purpose })
    }

    /// `content`, sealed, as text that needs no escaping.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn seal(&self, content: &impl Serialize) -> Result<String, Failure> {
        let failed = |error: &dyn fmt::Display| Failure::internal(SEAL, error.to_string());
        let mut text = serde_json::to_vec(content).map_err(|error| failed(&error))?;
        let nonce = self.key.seal_in_place_append_tag(self.aad(), &mut text);
        let nonce = nonce.map_err(|error| failed(&error))?;
        let sealed = [nonce.as_ref().as_slice(), &text].concat();
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What is in `sealed`; `None` where it was not sealed here for this purpose.
    pub fn open<T: DeserializeOwned>(&self, sealed: &str) -> Option<T> {
        if sealed.len() > SEALED_BYTES_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = self.key.open_in_place(nonce, self.aad(), &mut text).ok()?;
        serde_json::from_slice(content).ok()
    }

    fn aad(&self) -> Aad<&'static [u8]> {
        Aad::from(self.purpose.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_for_its_purpose_under_its_secret_unless_it_was_touched() {
        let secret = Secret::new([1; 32]);
        let seal = Seal::new(&secret, "one").unwrap();
        let sealed = seal.seal(&("secret", 7)).unwrap();
        let open = |seal: &Seal, text: &str| seal.open::<(String, u8)>(text);
        assert_eq!(open(&seal, &sealed), Some(("secret".to_owned(), 7)));
        assert_ne!(seal.seal(&("secret", 7)).unwrap(), sealed);

        let other_purpose = Seal::new(&secret, "other").unwrap();
        let other_secret = Seal::new(&Secret::new([2; 32]), "one").unwrap();
        for other in [&other_purpose, &other_secret] {
            assert_eq!(open(other, &sealed), None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            let mut touched = bytes.clone();
            touched[at] ^= 1;
            assert_eq!(open(&seal, &URL_SAFE_NO_PAD.encode(touched)), None, "{at}");
        }
        for nonsense in ["", "AAAA", "not base64!"] {
            assert_eq!(open(&seal, nonsense), None);
        }
    }
}
