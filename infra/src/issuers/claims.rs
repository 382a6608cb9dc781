//! What an issuer's tokens say, and whether it may say so: to us, now, of this login.

use chrono::{DateTime, TimeDelta, Utc};
use domain::values::{Email, Subject};
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq as _;

use crate::issuers::config::IssuerConfig;
use crate::issuers::error::IssuerError;
use crate::issuers::{AccessToken, Profile, SKEW_S, session_of};

/// The claims that are of use here (RFC 7519; `OpenID Connect` Core, sections 2 and 5.1).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Audience,
    #[serde(deserialize_with = "seconds")]
    exp: i64,
    #[serde(default, deserialize_with = "seconds_or_none")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "seconds_or_none")]
    iat: Option<i64>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(flatten)]
    pub(super) person: PersonClaims,
}

/// The claims about a person, in an id token or from the userinfo endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct PersonClaims {
    #[serde(default)]
    pub(super) email: Option<String>,
    #[serde(default)]
    email_verified: Option<Truth>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// One or several audiences.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Several(Vec<String>),
}

/// A boolean that some issuers write as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Truth {
    Said(bool),
    Written(String),
}

/// Why a token that its issuer signed is worth nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// Another issuer says it.
    #[error("iss is not the issuer's address")]
    Issuer,
    /// It is for somebody else.
    #[error("aud does not name us")]
    Audience,
    /// It was given to somebody else.
    #[error("azp does not name us")]
    AuthorizedParty,
    /// Its time is over.
    #[error("exp is past")]
    Expired,
    /// Its time has not come.
    #[error("nbf or iat is to come")]
    NotYet,
    /// It is of another login.
    #[error("nonce is not that of this login")]
    Nonce,
    /// It says of nobody, or of somebody who cannot be named here.
    #[error("sub is empty or too long")]
    Subject,
}

impl From<Wrong> for IssuerError {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Expired => Self::Expired,
            Wrong::Issuer
            | Wrong::Audience
            | Wrong::AuthorizedParty
            | Wrong::NotYet
            | Wrong::Nonce
            | Wrong::Subject => Self::Refused(wrong.to_string()),
        }
    }
}

impl Audience {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one) => one == wanted,
            Self::Several(several) => several.iter().any(|one| one == wanted),
        }
    }

    fn is_several(&self) -> bool {
        matches!(self, Self::Several(several) if several.len() > 1)
    }
}

impl Truth {
    fn is_true(&self) -> bool {
        match self {
            Self::Said(said) => *said,
            Self::Written(text) => text == "true",
        }
    }
}

impl PersonClaims {
    fn profile(self, subject: Subject) -> Profile {
        let is_verified = self.email_verified.is_some_and(|truth| truth.is_true());
        let email = self.email.filter(|_| is_verified);
        Profile {
            subject,
            email: email.and_then(|email| Email::parse(&email).ok()),
            username: self.preferred_username,
            name: self.name,
        }
    }
}

impl Claims {
    /// Checks what holds of every token: it is the issuer's, for `audience`, and its time is now.
    pub(super) fn check(&self, iss: &str, audience: &str, now: DateTime<Utc>) -> Result<(), Wrong> {
        if self.iss != iss {
            return Err(Wrong::Issuer);
        }
        if !self.aud.has(audience) {
            return Err(Wrong::Audience);
        }
        let now = now.timestamp();
        if self.exp.saturating_add(SKEW_S) <= now {
            return Err(Wrong::Expired);
        }
        let from = [self.nbf, self.iat].into_iter().flatten();
        if from.max().is_some_and(|from| from > now + SKEW_S) {
            return Err(Wrong::NotYet);
        }
        Subject::parse(&self.sub).map_err(|_| Wrong::Subject)?;
        Ok(())
    }

    /// Checks what holds of an id token besides: it was given to `client`, in the login with `nonce`
    /// (`OpenID Connect` Core, section 3.1.3.7).
    pub(super) fn check_login(&self, client: &str, nonce: &str) -> Result<(), Wrong> {
        let is_ours = match &self.azp {
            Some(azp) => azp == client,
            None => !self.aud.is_several(),
        };
        if !is_ours {
            return Err(Wrong::AuthorizedParty);
        }
        let said = self.nonce.as_deref().unwrap_or_default();
        if bool::from(said.as_bytes().ct_eq(nonce.as_bytes())) {
            Ok(())
        } else {
            Err(Wrong::Nonce)
        }
    }

    /// Whom it is about, as [`Claims::check`] found it good.
    pub(super) fn subject(&self) -> Result<Subject, Wrong> {
        Subject::parse(&self.sub).map_err(|_| Wrong::Subject)
    }

    /// What it says of them.
    pub(super) fn profile(self) -> Result<Profile, IssuerError> {
        let subject = self.subject()?;
        Ok(self.person.profile(subject))
    }

    /// What it says as an access token of `issuer`.
    pub(super) fn access_token(self, issuer: &IssuerConfig) -> Result<AccessToken, IssuerError> {
        let login = match (&self.sid, &self.jti) {
            (Some(sid), _) => format!("sid\n{}\n{sid}", self.sub),
            (None, Some(jti)) => format!("jti\n{}\n{jti}", self.sub),
            (None, None) => format!("iat\n{}\n{:?}\n{}", self.sub, self.iat, self.exp),
        };
        // What is beyond the calendar never comes.
        let expires_at = DateTime::from_timestamp(self.exp, 0)
            .and_then(|at| at.checked_add_signed(TimeDelta::seconds(SKEW_S)))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(AccessToken {
            issuer: issuer.name.clone(),
            session: session_of(&issuer.url, &login),
            names_session: self.sid.is_some(),
            expires_at,
            profile: self.profile()?,
        })
    }
}

/// A `NumericDate`: seconds, which may have a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float to an integer stops at its bounds"
)]
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    f64::deserialize(deserializer).map(|seconds| seconds as i64)
}

fn seconds_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    seconds(deserializer).map(Some)
}

#[cfg(test)]
pub(crate) mod testing {
    //! An issuer of the tests: a key that signs what it is told.

    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::Value;

    /// PKCS #8 of an Ed25519 private key up to the seed.
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];

    pub(crate) struct SignsAs {
        id: String,
        key: EncodingKey,
        pub(crate) jwk: Value,
    }

    /// Somebody whose key is called `id`; the same every time.
    pub(crate) fn signer(id: &str) -> SignsAs {
        let mut der = PREFIX.to_vec();
        let mut seed = [7; 32];
        for (byte, letter) in seed.iter_mut().zip(id.bytes()) {
            *byte = letter;
        }
        der.extend_from_slice(&seed);
        let key = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        SignsAs {
            id: id.to_owned(),
            jwk: serde_json::to_value(jwk).unwrap(),
            key,
        }
    }

    impl SignsAs {
        pub(crate) fn header(&self) -> Header {
            let mut header = Header::new(Algorithm::EdDSA);
            header.kid = Some(self.id.clone());
            header
        }

        pub(crate) fn sign(&self, claims: &Value) -> String {
            self.sign_with(&self.header(), claims)
        }

        pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
            jsonwebtoken::encode(header, claims, &self.key).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn claims(changes: &Value) -> Claims {
        let mut claims = json!({
            "iss": "https://id.example", "sub": "7", "aud": "us", "exp": NOW + 60, "iat": NOW,
            "nonce": "n-1", "email": "alice@example.org", "email_verified": true,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        serde_json::from_value(claims).unwrap()
    }

    fn check(changes: &Value) -> Result<(), Wrong> {
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let claims = claims(changes);
        claims.check("https://id.example", "us", now)?;
        claims.check_login("us", "n-1")
    }

    #[test]
    fn a_token_for_us_of_this_login_is_good_now() {
        for good in [
            json!({}),
            json!({"aud": ["us"]}),
            json!({"aud": ["us", "them"], "azp": "us"}),
            json!({"exp": NOW - SKEW_S + 1}),
            json!({"exp": 1_700_000_060.5}),
            json!({"nbf": NOW + SKEW_S, "iat": NOW + SKEW_S}),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (bad, why) in [
            (json!({"iss": "https://id.example/"}), Wrong::Issuer),
            (json!({"iss": "https://evil.example"}), Wrong::Issuer),
            (json!({"aud": "them"}), Wrong::Audience),
            (json!({"aud": []}), Wrong::Audience),
            (json!({"aud": null}), Wrong::Audience),
            (json!({"exp": NOW - SKEW_S}), Wrong::Expired),
            (json!({"exp": -1}), Wrong::Expired),
            (json!({"nbf": NOW + SKEW_S + 1}), Wrong::NotYet),
            (json!({"iat": NOW + SKEW_S + 1}), Wrong::NotYet),
            (json!({"sub": ""}), Wrong::Subject),
            (json!({"sub": "a".repeat(256)}), Wrong::Subject),
            (json!({"nonce": "n-2"}), Wrong::Nonce),
            (json!({"nonce": null}), Wrong::Nonce),
            (json!({"aud": ["us", "them"]}), Wrong::AuthorizedParty),
            (json!({"azp": "them"}), Wrong::AuthorizedParty),
        ] {
            assert_eq!(check(&bad), Err(why), "{bad}");
        }
        for broken in [
            json!({"sub": "7"}),
            json!({"iss": "x", "sub": "7", "exp": "soon"}),
        ] {
            assert!(serde_json::from_value::<Claims>(broken).is_err());
        }
    }

    #[test]
    fn an_address_counts_only_where_the_issuer_verified_it() {
        let address = |changes: &Value| claims(changes).profile().unwrap().email;
        for verified in [json!(true), json!("true")] {
            assert!(address(&json!({"email_verified": verified})).is_some());
        }
        for not in [json!(false), json!("false"), json!("yes"), json!(null)] {
            assert_eq!(address(&json!({"email_verified": not})), None, "{not}");
        }
        assert_eq!(address(&json!({"email": "nonsense"})), None);
    }
}
