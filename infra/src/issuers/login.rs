//! A login on its way through another service. All that must be known when the browser comes back is
//! sealed ([`crate::seal`]) and travels with the client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::UserId;
use domain::values::IssuerName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::clock::fresh_id;
use crate::failure::Failure;
use crate::keys::Secret;
use crate::seal::Seal;

/// How long somebody may take at the issuer.
const LOGIN_TIME_MAX: TimeDelta = TimeDelta::minutes(10);

/// A login that was begun.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pending {
    /// Names it: what comes of it derives from this.
    pub id: Uuid,
    /// At whom.
    pub issuer: IssuerName,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// What it is for.
    pub purpose: Purpose,
    /// After this moment it is worth nothing.
    pub expires_at: DateTime<Utc>,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// What a login at an issuer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To open a session.
    LogIn,
    /// To let the identity be a way into this account.
    Link(UserId),
}

/// Why a sealed login is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// It was not sealed here, or for another issuer.
    #[error("this is not a login that was begun here")]
    Invalid,
    /// It took too long.
    #[error("the login took too long; begin again")]
    Expired,
}

impl Pending {
    pub(super) fn begin(
        issuer: IssuerName,
        redirect_uri: &str,
        purpose: Purpose,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: fresh_id(),
            issuer,
            redirect_uri: redirect_uri.to_owned(),
            purpose,
            expires_at: now + LOGIN_TIME_MAX,
            state: random(),
            nonce: random(),
            verifier: random(),
        }
    }

    /// Whether `state`, which came with the browser, is the one that was sent. Compares in a time that
    /// says nothing.
    pub fn is_state(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }

    /// What the issuer is told of the verifier (S256).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

/// 256 random bits as text that needs no escaping.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Seals logins.
pub(super) struct LoginSeal(Seal);

impl LoginSeal {
    pub(super) fn new(secret: &Secret) -> Result<Self, Failure> {
        Seal::new(secret, "login-seal").map(Self)
    }

    pub(super) fn seal(&self, pending: &Pending) -> Result<String, Failure> {
        self.0.seal(pending)
    }

    pub(super) fn open(&self, sealed: &str) -> Result<Pending, LoginRefused> {
        self.0.open(sealed).ok_or(LoginRefused::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::seal::SEALED_BYTES_MAX;

    fn pending() -> Pending {
        let issuer = IssuerName::parse("google").unwrap();
        let uri = "https://app.example/callback";
        Pending::begin(issuer, uri, Purpose::LogIn, Clock::system().now())
    }

    #[test]
    fn what_was_sealed_here_is_opened_here_and_nowhere_else() {
        let seal = LoginSeal::new(&Secret::new([1; 32])).unwrap();
        let begun = pending();
        let sealed = seal.seal(&begun).unwrap();
        let opened = seal.open(&sealed).unwrap();
        assert_eq!((opened.id, &opened.verifier), (begun.id, &begun.verifier));
        assert!(opened.is_state(&begun.state) && !opened.is_state(&begun.nonce));
        assert_ne!(sealed, seal.seal(&begun).unwrap(), "no nonce comes twice");
        let other = LoginSeal::new(&Secret::new([2; 32])).unwrap();
        assert!(other.open(&sealed).is_err());
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let seal = LoginSeal::new(&Secret::new([1; 32])).unwrap();
        let sealed = seal.seal(&pending()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(seal.open(&changed).is_err(), "byte {index}");
        }
        for bad in ["", "AAAA", "!", &"A".repeat(SEALED_BYTES_MAX + 1)] {
            assert!(seal.open(bad).is_err());
        }
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let pending = Pending {
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(),
            ..pending()
        };
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(pending.challenge(), challenge);
    }
}
