//! The public keys of an issuer (RFC 7517), and signatures checked with them. The key says which
//! algorithm it is for; a token that says another is refused, and none is ever symmetric.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::issuers::error::IssuerError;

/// Keys that an issuer may publish; one that has more is away.
const KEYS_MAX: usize = 64;

/// Longest token that is looked at, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Shortest modulus of an RSA key, in bytes: 2048 bits.
const RSA_BYTES_MIN: usize = 256;

/// What an issuer publishes.
#[derive(Deserialize)]
pub(super) struct Document {
    keys: Vec<Value>,
}

/// The keys of an issuer that are of use here: of RS256, ES256 and `EdDSA`.
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why a token is not what an issuer signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSigned {
    /// It is signed with a key that is not among these, perhaps a newer one.
    #[error("it is signed with a key that the issuer does not publish")]
    UnknownKey,
    /// It is worth nothing, whatever the keys.
    #[error("it is not signed as it should be")]
    Never,
}

impl KeySet {
    /// The keys of a document. Those that are of no use here are left out.
    pub(super) fn new(document: &Document) -> Result<Self, IssuerError> {
        if document.keys.len() > KEYS_MAX {
            let text = format!("it publishes more than {KEYS_MAX} keys");
            return Err(IssuerError::Away(text));
        }
        let keys = document.keys.iter().filter_map(Key::new);
        Ok(Self(keys.collect()))
    }

    /// What `token` says, if one of these keys signed it. Who may say it to whom, and when, is not
    /// checked here.
    pub(super) fn open<C: DeserializeOwned>(&self, token: &str) -> Result<C, NotSigned> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NotSigned::Never);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| NotSigned::Never)?;
        // What is said to be critical is not understood here (RFC 7515, section 4.1.11).
        let is_known = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].contains(&header.alg);
        if !is_known || header.crit.is_some() {
            return Err(NotSigned::Never);
        }
        let key = self.find(header.kid.as_deref(), header.alg)?;
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims.clear();
        // By our own clock, later.
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<C>(token, &key.decoding, &validation)
            .map(|token| token.claims)
            .map_err(|_| NotSigned::Never)
    }

    /// The key of that name. A token that names none is of the only key of its algorithm.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, NotSigned> {
        let fits = |key: &&Key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => key.algorithm == algorithm,
        };
        let mut found = self.0.iter().filter(fits);
        let key = found.next().ok_or(NotSigned::UnknownKey)?;
        let is_only = id.is_some() || found.next().is_none();
        if is_only && key.algorithm == algorithm {
            Ok(key)
        } else {
            Err(NotSigned::Never)
        }
    }
}

impl Key {
    fn new(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
                let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
                (bytes >= RSA_BYTES_MIN).then_some(Algorithm::RS256)?
            }
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let signs = matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        let said = jwk.common.key_algorithm;
        let is_said = said.is_none_or(|said| said == KeyAlgorithm::from(algorithm));
        if !signs || !is_said {
            return None;
        }
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            decoding: DecodingKey::from_jwk(&jwk).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;
    use crate::issuers::claims::testing::{SignsAs, signer};

    fn keys(of: &[&SignsAs]) -> KeySet {
        let keys = of.iter().map(|signer| signer.jwk.clone()).collect();
        KeySet::new(&Document { keys }).unwrap()
    }

    fn open(keys: &KeySet, token: &str) -> Result<Value, NotSigned> {
        keys.open(token)
    }

    #[test]
    fn what_a_published_key_signed_is_opened() {
        let (one, other) = (signer("one"), signer("other"));
        let token = one.sign(&json!({"sub": "7"}));
        assert_eq!(open(&keys(&[&one, &other]), &token).unwrap()["sub"], "7");
        let unknown = open(&keys(&[&other]), &token).unwrap_err();
        assert_eq!(unknown, NotSigned::UnknownKey);
    }

    #[test]
    fn what_was_changed_on_the_way_is_refused() {
        let signer = signer("one");
        let keys = keys(&[&signer]);
        let token = signer.sign(&json!({"sub": "7"}));
        let parts: Vec<&str> = token.split('.').collect();
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"8"}"#);
        let tampered = format!("{}.{payload}.{}", parts[0], parts[2]);
        for bad in [
            tampered.as_str(),
            &format!("{}.{}.", parts[0], parts[1]),
            &format!("{}.{}", parts[0], parts[1]),
            "",
            "..",
            &"a".repeat(TOKEN_BYTES_MAX + 1),
        ] {
            assert_eq!(open(&keys, bad), Err(NotSigned::Never));
        }
    }

    #[test]
    fn no_algorithm_and_a_symmetric_one_are_refused() {
        let signer = signer("one");
        let keys = keys(&[&signer]);
        let encode = |header: Value| {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            format!("{header}.{}.", URL_SAFE_NO_PAD.encode(r#"{"sub":"7"}"#))
        };
        for none in ["none", "None", "NONE"] {
            let token = encode(json!({"alg": none, "kid": "one"}));
            assert_eq!(open(&keys, &token), Err(NotSigned::Never));
        }
        // The public key as it is published, taken for a shared secret.
        let x = signer.jwk["x"].as_str().unwrap();
        for secret in [x.as_bytes(), &URL_SAFE_NO_PAD.decode(x).unwrap()] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some("one".to_owned());
            let key = EncodingKey::from_secret(secret);
            let token = jsonwebtoken::encode(&header, &json!({"sub": "7"}), &key).unwrap();
            assert_eq!(open(&keys, &token), Err(NotSigned::Never));
        }
    }

    #[test]
    fn what_is_said_to_be_critical_is_refused() {
        let signer = signer("one");
        let mut header = signer.header();
        header.crit = Some(vec!["exp".to_owned()]);
        let token = signer.sign_with(&header, &json!({"sub": "7"}));
        assert_eq!(open(&keys(&[&signer]), &token), Err(NotSigned::Never));
    }

    #[test]
    fn a_token_that_names_no_key_is_of_the_only_one() {
        let (one, other) = (signer("one"), signer("other"));
        let mut header = one.header();
        header.kid = None;
        let token = one.sign_with(&header, &json!({"sub": "7"}));
        assert!(open(&keys(&[&one]), &token).is_ok());
        let unclear = open(&keys(&[&one, &other]), &token);
        assert_eq!(unclear, Err(NotSigned::Never));
    }

    #[test]
    fn keys_that_are_not_for_this_are_left_out() {
        let mut good = signer("one").jwk;
        let changed = |name: &str, value: &str| {
            let mut jwk = signer("one").jwk;
            jwk[name] = value.into();
            Key::new(&jwk)
        };
        assert!(Key::new(&good).is_some());
        assert!(changed("use", "enc").is_none());
        assert!(changed("alg", "RS256").is_none());
        assert!(changed("alg", "HS256").is_none());
        assert!(changed("crv", "X25519").is_none());
        good["kty"] = "oct".into();
        assert!(Key::new(&json!({"kty": "oct", "k": "c2VjcmV0", "kid": "one"})).is_none());
        let short = URL_SAFE_NO_PAD.encode([0xff; RSA_BYTES_MIN - 1]);
        assert!(Key::new(&json!({"kty": "RSA", "n": short, "e": "AQAB"})).is_none());
        let many = vec![signer("one").jwk; KEYS_MAX + 1];
        assert!(KeySet::new(&Document { keys: many }).is_err());
    }
}
