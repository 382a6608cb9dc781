//! Access tokens: short JWTs signed with Ed25519 (RFC 8037), in the form of RFC 9068, checked by anybody
//! who has the JWKS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{SessionId, UserId};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::auth::NotLetIn;
use crate::auth::refresh_token::RefreshTokens;
use crate::auth::signing_keys::{Ring, SigningKeys};
use crate::clock::fresh_id;
use crate::failure::Failure;
use crate::keys::{Secret, keyed_hash};

/// Issuer and audience of our tokens.
const ISSUER: &str = "verbatim";

/// What the header says that it is, so that no other token of ours can be taken for one.
const TOKEN_TYPE: &str = "at+jwt";

/// How far the clocks of two nodes may be apart before a fresh token of the one is too early for the
/// other.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(30);

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    /// Who.
    pub sub: UserId,
    /// Through which login.
    pub sid: SessionId,
    /// Names the token.
    jti: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Claims {
    /// After this moment the token is worth nothing.
    pub fn expires_at(&self) -> DateTime<Utc> {
        // What is beyond the calendar never comes.
        DateTime::from_timestamp(self.exp, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Refuses what is no token yet, or no more.
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<(), TokenRefused> {
        if (now + SKEW_MAX).timestamp() < self.nbf {
            return Err(TokenRefused::Invalid);
        }
        if self.expires_at() <= now {
            return Err(TokenRefused::Expired);
        }
        Ok(())
    }
}

/// Signs and checks what we hand out.
pub struct Tokens {
    keys: SigningKeys,
    validation: Validation,
    refresh: RefreshTokens,
    csrf_key: [u8; 32],
}

/// A token that is worth nothing, and why, for the one who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Its time is over.
    #[error("the token has expired; refresh it, or log in again")]
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
    /// Signs with keys derived from the server's secret, of generation 0.
    pub fn new(secret: &Secret) -> Result<Self, Failure> {
        Self::of_generation(secret, 0)
    }

    /// Signs with keys of another generation: access tokens of one are worth nothing in another.
    /// Refresh tokens are the same in all.
    pub fn of_generation(secret: &Secret, generation: u32) -> Result<Self, Failure> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared with our own clock, in `Claims::check_time`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            keys: SigningKeys::new(secret, generation)?,
            validation,
            refresh: RefreshTokens::new(secret),
            csrf_key: secret.derive("csrf-token"),
        })
    }

    /// A token for `user`'s login `session`, good from `now` until `expires_at`, both in whole seconds.
    pub fn sign(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user,
            sid: session,
            jti: fresh_id(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        let ring = self.keys.at(now)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(ring.current.id.clone());
        jsonwebtoken::encode(&header, &claims, &ring.current.encoding)
            .map_err(|error| Failure::internal("sign a token", error))
    }

    /// What `token` says, if it is ours by the keys that are known at `now`. Whether its time has come
    /// and is not over is for [`Claims::check_time`].
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, NotLetIn> {
        let ring = self.keys.at(now)?;
        Ok(self.verify_with(&ring, token)?)
    }

    fn verify_with(&self, ring: &Ring, token: &str) -> Result<Claims, TokenRefused> {
        let invalid = |_| TokenRefused::Invalid;
        let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
        if header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(TokenRefused::Invalid);
        }
        let key = header.kid.as_deref().and_then(|id| ring.named(id));
        let key = key.ok_or(TokenRefused::Invalid)?;
        // The algorithm is what `validation` says, whatever stands in the header.
        jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation)
            .map(|token| token.claims)
            .map_err(invalid)
    }

    /// The public keys at `now`, as `/.well-known/jwks.json` serves them.
    pub fn jwks(&self, now: DateTime<Utc>) -> Result<JwkSet, Failure> {
        Ok(self.keys.at(now)?.public())
    }

    /// Makes refresh tokens, and knows them again.
    pub const fn refresh(&self) -> &RefreshTokens {
        &self.refresh
    }

    /// What a client that has its tokens in cookies of `session` says to show that it can read them. It
    /// follows from the session, so that a cookie which somebody else planted is of no use.
    pub fn csrf(&self, session: SessionId) -> String {
        URL_SAFE_NO_PAD.encode(keyed_hash(&self.csrf_key, session.0.as_bytes()))
    }

    /// Whether `said` is that of `session`. Compares in constant time.
    pub fn is_csrf(&self, session: SessionId, said: &[u8]) -> bool {
        self.csrf(session).as_bytes().ct_eq(said).into()
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;
    use jsonwebtoken::{DecodingKey, EncodingKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::signing_keys::PERIOD_DAYS;

    const SECRET: [u8; 32] = [1; 32];

    fn tokens() -> Tokens {
        Tokens::new(&Secret::new(SECRET)).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-03-04T05:06:07Z".parse().unwrap()
    }

    fn user() -> UserId {
        UserId(Uuid::from_u128(1))
    }

    fn session() -> SessionId {
        SessionId(Uuid::from_u128(2))
    }

    fn later(seconds: i64) -> DateTime<Utc> {
        now() + TimeDelta::seconds(seconds)
    }

    fn good(tokens: &Tokens) -> String {
        tokens.sign(user(), session(), now(), later(900)).unwrap()
    }

    /// What a token says, as every door asks.
    fn check(tokens: &Tokens, token: &str, at: DateTime<Utc>) -> Result<Claims, TokenRefused> {
        let claims = tokens.verify(token, at).map_err(|why| match why {
            NotLetIn::Token(refused) => refused,
            other @ (NotLetIn::Suspended { .. } | NotLetIn::Problem(_) | NotLetIn::Failure(_)) => {
                panic!("{other}")
            }
        })?;
        claims.check_time(at)?;
        Ok(claims)
    }

    fn refused(token: &str) -> TokenRefused {
        check(&tokens(), token, now()).unwrap_err()
    }

    fn decoded(token: &str, part: usize) -> Value {
        let part = token.split('.').nth(part).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    /// A token that is signed with our key, but says something else in one field.
    fn saying(field: &str, value: &Value) -> String {
        let tokens = tokens();
        let mut claims = decoded(&good(&tokens), 1);
        claims[field] = value.clone();
        let ring = tokens.keys.at(now()).unwrap();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(ring.current.id.clone());
        jsonwebtoken::encode(&header, &claims, &ring.current.encoding).unwrap()
    }

    /// The claims of a good token under a header of one's own, with a signature made by `sign`.
    fn under(header: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
        let token = good(&tokens());
        let claims = token.split('.').nth(1).unwrap();
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(sign(&signed));
        format!("{signed}.{signature}")
    }

    #[test]
    fn a_token_says_who_until_when_and_what_it_is() {
        let tokens = tokens();
        let token = good(&tokens);
        let claims = check(&tokens, &token, now()).unwrap();
        assert_eq!((claims.sub, claims.sid), (user(), session()));
        assert_eq!(claims.expires_at(), later(900));
        let header = decoded(&token, 0);
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], "EdDSA");
        let said = decoded(&token, 1);
        assert_eq!(
            (&said["iss"], &said["aud"]),
            (&json!("verbatim"), &json!("verbatim"))
        );
        assert_ne!(said["jti"], decoded(&good(&tokens), 1)["jti"]);
    }

    #[test]
    fn its_time_is_from_now_to_its_end() {
        let tokens = tokens();
        let token = good(&tokens);
        assert!(check(&tokens, &token, later(899)).is_ok());
        let over = check(&tokens, &token, later(900)).unwrap_err();
        assert_eq!(over, TokenRefused::Expired);
        assert!(
            check(&tokens, &token, later(-30)).is_ok(),
            "clocks may differ"
        );
        let early = check(&tokens, &token, later(-31)).unwrap_err();
        assert_eq!(early, TokenRefused::Invalid);
    }

    #[test]
    fn a_token_of_others_or_for_others_is_not_valid() {
        for field in ["iss", "aud"] {
            assert!(check(&tokens(), &saying(field, &json!("verbatim")), now()).is_ok());
            for other in [json!("another"), json!(""), json!(null), json!(["another"])] {
                let token = saying(field, &other);
                assert_eq!(refused(&token), TokenRefused::Invalid, "{field} {other}");
            }
        }
        let other = Tokens::new(&Secret::new([2; 32])).unwrap();
        assert_eq!(refused(&good(&other)), TokenRefused::Invalid);
    }

    #[test]
    fn a_token_that_was_changed_is_not_valid() {
        let tokens = tokens();
        let token = good(&tokens);
        let mut claims = decoded(&token, 1);
        claims["sub"] = json!(Uuid::from_u128(9));
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let parts: Vec<&str> = token.split('.').collect();
        let changed = format!("{}.{claims}.{}", parts[0], parts[2]);
        assert_eq!(refused(&changed), TokenRefused::Invalid);
        let unsigned = format!("{}.{}.", parts[0], parts[1]);
        assert_eq!(refused(&unsigned), TokenRefused::Invalid);
        for text in ["", ".", "..", "a.b.c", "no token"] {
            assert_eq!(refused(text), TokenRefused::Invalid, "{text}");
        }
    }

    #[test]
    fn a_token_without_a_signature_is_not_valid_whatever_it_says() {
        let key_id = decoded(&good(&tokens()), 0)["kid"].clone();
        for algorithm in ["none", "None", "NONE", ""] {
            let header = json!({"typ": "at+jwt", "alg": algorithm, "kid": key_id});
            let token = under(&header, |_| Vec::new());
            assert_eq!(refused(&token), TokenRefused::Invalid, "{algorithm}");
        }
    }

    #[test]
    fn the_public_key_is_no_secret_to_sign_with() {
        let tokens = tokens();
        let key_id = decoded(&good(&tokens), 0)["kid"].clone();
        let keys = serde_json::to_value(tokens.jwks(now()).unwrap()).unwrap();
        let public = keys["keys"][1]["x"].as_str().unwrap();
        let raw = URL_SAFE_NO_PAD.decode(public).unwrap();
        let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": key_id});
        for key in [raw.as_slice(), public.as_bytes()] {
            let token = under(&header, |signed| {
                let key = EncodingKey::from_secret(key);
                let signed = signed.as_bytes();
                let signature = jsonwebtoken::crypto::sign(signed, &key, Algorithm::HS256);
                URL_SAFE_NO_PAD.decode(signature.unwrap()).unwrap()
            });
            // It is what such a server would take that goes by the header.
            let mut fooled = Validation::new(Algorithm::HS256);
            fooled.set_audience(&[ISSUER]);
            fooled.validate_exp = false;
            let key = DecodingKey::from_secret(key);
            jsonwebtoken::decode::<Claims>(&token, &key, &fooled).unwrap();
            assert_eq!(refused(&token), TokenRefused::Invalid);
        }
    }

    #[test]
    fn another_type_of_token_is_none() {
        let tokens = tokens();
        let ring = tokens.keys.at(now()).unwrap();
        let claims = decoded(&good(&tokens), 1);
        for other in [None, Some("JWT"), Some("")] {
            let mut header = Header::new(Algorithm::EdDSA);
            header.typ = other.map(str::to_owned);
            header.kid = Some(ring.current.id.clone());
            let token = jsonwebtoken::encode(&header, &claims, &ring.current.encoding).unwrap();
            assert_eq!(refused(&token), TokenRefused::Invalid, "{other:?}");
        }
    }

    #[test]
    fn a_key_is_told_before_it_signs_and_known_for_a_period_after() {
        let tokens = tokens();
        let ids = |at: DateTime<Utc>| -> Vec<Value> {
            let keys = serde_json::to_value(tokens.jwks(at).unwrap()).unwrap();
            let keys = keys["keys"].as_array().unwrap().clone();
            keys.into_iter().map(|key| key["kid"].clone()).collect()
        };
        let period = |count: i64| {
            let days = Days::new((PERIOD_DAYS * count).unsigned_abs());
            now() + days
        };
        let (before, after) = (ids(now()), ids(period(1)));
        assert_eq!(before.len(), 3);
        assert_eq!(before[1..], after[..2]);
        let token = tokens.sign(user(), session(), now(), period(9)).unwrap();
        assert_eq!(decoded(&token, 0)["kid"], before[1]);
        assert!(check(&tokens, &token, period(1)).is_ok());
        let retired = check(&tokens, &token, period(2)).unwrap_err();
        assert_eq!(retired, TokenRefused::Invalid);
        // A node whose clock is ahead signs with the next key already.
        let ahead = tokens.sign(user(), session(), period(1), period(2));
        let ahead = tokens.verify(&ahead.unwrap(), now());
        assert!(ahead.is_ok(), "its key is known");
    }

    #[test]
    fn all_nodes_have_the_same_keys_and_those_of_another_generation_none_of_them() {
        let (one, other) = (tokens(), tokens());
        assert!(check(&other, &good(&one), now()).is_ok());
        let raised = Tokens::of_generation(&Secret::new(SECRET), 1).unwrap();
        let late = check(&raised, &good(&one), now()).unwrap_err();
        assert_eq!(late, TokenRefused::Invalid);
        let refresh = one.refresh().make(session(), 0);
        assert!(raised.refresh().read(refresh.text()).is_some());
    }

    #[test]
    fn what_is_said_against_forgery_is_of_one_session() {
        let tokens = tokens();
        let said = tokens.csrf(session());
        assert!(tokens.is_csrf(session(), said.as_bytes()));
        let other = SessionId(Uuid::from_u128(3));
        assert!(!tokens.is_csrf(other, said.as_bytes()));
        assert!(!tokens.is_csrf(session(), b""));
    }
}
