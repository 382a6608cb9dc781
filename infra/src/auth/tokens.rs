//! Access tokens: short JWTs signed with Ed25519 (RFC 8037), checked by anybody who has the JWKS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use domain::{SessionId, UserId};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::Secret;

/// Issuer and audience of our tokens.
const ISSUER: &str = "verbatim";

/// PKCS #8 of an Ed25519 private key up to the 32 bytes of the seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    /// Who.
    pub sub: UserId,
    /// Through which login.
    pub sid: SessionId,
    iat: i64,
    exp: i64,
}

impl Claims {
    /// After this moment the token is worth nothing.
    pub fn expires_at(&self) -> DateTime<Utc> {
        // What is beyond the calendar never comes.
        DateTime::from_timestamp(self.exp, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// Signs and checks tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    key_id: String,
    jwks: JwkSet,
    validation: Validation,
}

/// A token that is worth nothing, and why, for the one who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Its time is over.
    #[error("the token has expired; log in again")]
    Expired,
    /// It is not a token of ours.
    #[error("the token is not valid")]
    Invalid,
    /// Its session was revoked, or never was.
    #[error("the session has ended; log in again")]
    SessionEnded,
    /// It is an issuer's, of somebody or of a login that is not known here yet, and this process cannot
    /// change that.
    #[error("no account is ready for this token; make one call to the command API with it first")]
    AccountNotReady,
}

impl Tokens {
    /// Signs with a key derived from the server's secret.
    pub fn new(secret: &Secret) -> Result<Self, Failure> {
        let failed = |error| Failure::internal("make the key for tokens", error);
        let mut der = PKCS8_PREFIX.to_vec();
        der.extend_from_slice(&secret.derive("token-signing"));
        let encoding = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).map_err(failed)?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(failed)?;
        let key_id = URL_SAFE_NO_PAD.encode(&secret.derive("token-key-id")[..9]);
        jwk.common.key_id = Some(key_id.clone());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 0;
        Ok(Self {
            encoding,
            decoding,
            key_id,
            jwks: JwkSet { keys: vec![jwk] },
            validation,
        })
    }

    /// A token for `user`'s login `session`, good from `now` until `expires_at`.
    pub fn sign(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user,
            sid: session,
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        jsonwebtoken::encode(&header, &claims, &self.encoding)
            .map_err(|error| Failure::internal("sign a token", error))
    }

    /// What `token` says, if it is ours and has not expired.
    pub fn check(&self, token: &str) -> Result<Claims, TokenRefused> {
        jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenRefused::Expired,
                _ => TokenRefused::Invalid,
            })
    }

    /// The public keys, as `/.well-known/jwks.json` serves them.
    pub const fn jwks(&self) -> &JwkSet {
        &self.jwks
    }
}
