//! Passkeys: the server's part of `WebAuthn`. Challenges travel sealed with the client, and what comes back
//! is checked by `webauthn-rs`: the challenge, the origin, the signature, and that the authenticator asked
//! its user for a PIN or a finger.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::UserId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Credential, CredentialID, DiscoverableAuthentication, Passkey, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, Url, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::failure::Failure;
use crate::keys::Secret;
use crate::seal::Seal;

/// How long a challenge may be answered.
const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// Longest credential that is kept, in bytes of JSON.
const CREDENTIAL_BYTES_MAX: usize = 4 * 1024;

/// The host for which any port on this machine will do, without TLS.
const LOCALHOST: &str = "localhost";

/// Whose passkeys they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingPartyConfig {
    /// What browsers and apps show.
    pub name: String,
    /// The domain that passkeys are for. With another one all passkeys are worth nothing.
    pub id: String,
    /// Origins of the pages that may use them. Without any, `https://` and the domain; for `localhost`,
    /// `http://localhost` with any port.
    pub origins: Vec<String>,
}

/// A relying party that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("passkeys of {id} cannot be used at {origin}: an origin has the domain or one below it")]
pub struct RelyingPartyInvalid {
    id: String,
    origin: String,
}

/// Asks for passkeys and checks them.
pub struct RelyingParty {
    name: String,
    webauthn: Webauthn,
    registrations: Seal,
    answers: Seal,
}

/// What a client is asked.
#[derive(Clone, Debug)]
pub struct PasskeyChallenge {
    /// To be given back with the answer.
    pub challenge: String,
    /// What `navigator.credentials` takes, in the JSON of `WebAuthn` level 3.
    pub options: Value,
}

/// A challenge as it travels.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// Who asked; `None` where that is for the answer to say.
    user: Option<UserId>,
    at: DateTime<Utc>,
    state: T,
}

/// A passkey that answered its first challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// By which authenticators name it: base64url without padding.
    pub credential_id: String,
    /// What its answers are checked with: JSON.
    pub credential: String,
    /// How often it was used, by its own count.
    pub sign_count: u32,
    /// When the challenge was made.
    pub challenged_at: DateTime<Utc>,
}

/// A right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How often the passkey was used, by its own count.
    pub sign_count: u32,
    /// When the challenge was made.
    pub challenged_at: DateTime<Utc>,
}

/// Why an answer is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefused {
    /// The challenge was not made here for this, or too long ago.
    #[error("the challenge is not valid or too old; ask for another")]
    Challenge,
    /// The answer does not fit.
    #[error("the passkey did not answer this challenge here")]
    Answer,
}

impl RelyingParty {
    /// The one of `config`.
    ///
    /// # Errors
    /// [`RelyingPartyInvalid`] for an origin that is not of the domain.
    pub fn new(config: &RelyingPartyConfig, secret: &Secret) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::internal("set up passkeys", error.to_string());
        Ok(Self {
            name: config.name.clone(),
            webauthn: config.webauthn().map_err(|error| failed(&error))?,
            registrations: Seal::new(secret, "passkey-registration")?,
            answers: Seal::new(secret, "passkey-answer")?,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for a new passkey of `user`, called so, who has those with `known` ids.
    ///
    /// # Errors
    /// No challenge can be made.
    pub fn ask_new(
        &self,
        user: UserId,
        (handle, display_name): (&str, &str),
        known: impl Iterator<Item = impl AsRef<str>>,
        now: DateTime<Utc>,
    ) -> Result<PasskeyChallenge, Failure> {
        let known = known.filter_map(|id| credential_id(id.as_ref())).collect();
        let (asked, state) = self
            .webauthn
            .start_passkey_registration(user.0, handle, display_name, Some(known))
            .map_err(failed)?;
        let mut options = json!(asked.public_key);
        // One that is found without a name lets its user in without one.
        options["authenticatorSelection"]["residentKey"] = json!("preferred");
        Ok(PasskeyChallenge {
            challenge: seal(&self.registrations, Some(user), now, state)?,
            options,
        })
    }

    /// The passkey that `answer`, from `navigator.credentials.create`, is of.
    ///
    /// # Errors
    /// Challenge or answer are not right.
    pub fn check_new(
        &self,
        user: UserId,
        challenge: &str,
        answer: &Value,
        now: DateTime<Utc>,
    ) -> Result<Registered, ChallengeRefused> {
        let sealed = open::<PasskeyRegistration>(&self.registrations, challenge, now)?;
        if sealed.user != Some(user) {
            return Err(ChallengeRefused::Challenge);
        }
        let answer = RegisterPublicKeyCredential::deserialize(answer).map_err(|_| ANSWER)?;
        let passkey = self
            .webauthn
            .finish_passkey_registration(&answer, &sealed.state);
        let mut credential = Credential::from(passkey.map_err(|error| refused(&error))?);
        // The count is kept in the log: the domain says whether it grows.
        let sign_count = std::mem::take(&mut credential.counter);
        let credential_id = URL_SAFE_NO_PAD.encode(&credential.cred_id);
        let credential = serde_json::to_string(&Passkey::from(credential)).map_err(|_| ANSWER)?;
        if credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(ANSWER);
        }
        Ok(Registered {
            credential_id,
            credential,
            sign_count,
            challenged_at: sealed.at,
        })
    }

    /// Asks for any passkey, or for one of those with `wanted` ids.
    ///
    /// # Errors
    /// No challenge can be made.
    pub fn ask(
        &self,
        wanted: impl Iterator<Item = impl AsRef<str>>,
        now: DateTime<Utc>,
    ) -> Result<PasskeyChallenge, Failure> {
        let asked = self.webauthn.start_discoverable_authentication();
        let (asked, state) = asked.map_err(failed)?;
        let mut options = json!(asked.public_key);
        let wanted = wanted.map(|id| json!({ "type": "public-key", "id": id.as_ref() }));
        options["allowCredentials"] = wanted.collect();
        Ok(PasskeyChallenge {
            challenge: seal(&self.answers, None, now, state)?,
            options,
        })
    }

    /// Checks `answer`, from `navigator.credentials.get`, with the `credential` of the passkey.
    ///
    /// # Errors
    /// Challenge or answer are not right.
    pub fn check(
        &self,
        challenge: &str,
        answer: &PasskeyAnswer,
        credential: &str,
        now: DateTime<Utc>,
    ) -> Result<Answered, ChallengeRefused> {
        let sealed = open::<DiscoverableAuthentication>(&self.answers, challenge, now)?;
        let passkey: Passkey = serde_json::from_str(credential).map_err(|_| ANSWER)?;
        let checked = self
            .webauthn
            .finish_discoverable_authentication_v2(&answer.0, sealed.state, passkey)
            .map_err(|error| refused(&error))?;
        if !checked.user_verified() {
            return Err(ANSWER);
        }
        Ok(Answered {
            sign_count: checked.counter(),
            challenged_at: sealed.at,
        })
    }
}

const ANSWER: ChallengeRefused = ChallengeRefused::Answer;

/// What `navigator.credentials.get` gave.
pub struct PasskeyAnswer(PublicKeyCredential);

impl PasskeyAnswer {
    /// Reads it from the JSON of `WebAuthn` level 3; `None` where it is none.
    pub fn parse(answer: &Value) -> Option<Self> {
        PublicKeyCredential::deserialize(answer).ok().map(Self)
    }

    /// By which the authenticator names the passkey: base64url without padding.
    pub fn credential_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.get_credential_id())
    }

    /// Whose it is, as the authenticator says.
    pub fn user(&self) -> Option<UserId> {
        let user = uuid::Uuid::from_slice(self.0.get_user_unique_id()?);
        user.ok().map(UserId)
    }
}

impl RelyingPartyConfig {
    /// Checks that every origin is of the domain.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), RelyingPartyInvalid> {
        self.webauthn().map(|_| ())
    }

    fn webauthn(&self) -> Result<Webauthn, RelyingPartyInvalid> {
        let default = if self.id == LOCALHOST {
            format!("http://{LOCALHOST}")
        } else {
            format!("https://{}", self.id)
        };
        let invalid = |origin: &str| RelyingPartyInvalid {
            id: self.id.clone(),
            origin: origin.to_owned(),
        };
        let mut builder: Option<WebauthnBuilder<'_>> = None;
        let is_default = self.origins.is_empty();
        let default = [default];
        let origins = if is_default {
            &default[..]
        } else {
            &self.origins
        };
        let parsed = origins.iter().map(|origin| {
            let url = Url::parse(origin).ok();
            url.map(|url| (origin, url)).ok_or_else(|| invalid(origin))
        });
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        for (origin, url) in &parsed {
            // Each by itself, as only the first is checked.
            let alone = WebauthnBuilder::new(&self.id, url).map_err(|_| invalid(origin))?;
            builder = Some(match builder {
                None => alone.rp_name(&self.name),
                Some(builder) => builder.append_allowed_origin(url),
            });
        }
        let any_port = is_default && self.id == LOCALHOST;
        let builder = builder.map(|builder| builder.allow_any_port(any_port));
        let built = builder.and_then(|builder| builder.build().ok());
        built.ok_or_else(|| invalid(""))
    }
}

fn credential_id(text: &str) -> Option<CredentialID> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn failed(error: WebauthnError) -> Failure {
    Failure::internal("ask for a passkey", error)
}

/// Why, for who runs the server; the client learns no more than that it was not right.
fn refused(error: &WebauthnError) -> ChallengeRefused {
    tracing::debug!(%error, "a passkey was not right");
    ChallengeRefused::Answer
}

fn seal<T: Serialize>(
    seal: &Seal,
    user: Option<UserId>,
    at: DateTime<Utc>,
    state: T,
) -> Result<String, Failure> {
    seal.seal(&Sealed { user, at, state })
}

fn open<T: DeserializeOwned>(
    seal: &Seal,
    challenge: &str,
    now: DateTime<Utc>,
) -> Result<Sealed<T>, ChallengeRefused> {
    let sealed: Option<Sealed<T>> = seal.open(challenge);
    let sealed = sealed.filter(|sealed| now - sealed.at < CHALLENGE_LIFETIME);
    sealed.ok_or(ChallengeRefused::Challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(id: &str, origins: &[&str]) -> RelyingPartyConfig {
        RelyingPartyConfig {
            name: "Verbatim".to_owned(),
            id: id.to_owned(),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        }
    }

    #[test]
    fn an_origin_has_the_domain_or_one_below_it() {
        for (id, origins) in [
            ("localhost", &[][..]),
            ("example.org", &[][..]),
            (
                "example.org",
                &["https://example.org", "https://app.example.org:8443"][..],
            ),
        ] {
            assert_eq!(config(id, origins).check(), Ok(()), "{id} {origins:?}");
        }
        for (id, origins) in [
            ("example.org", &["https://example.com"][..]),
            (
                "example.org",
                &["https://example.org", "https://badexample.org"][..],
            ),
            ("example.org", &["nonsense"][..]),
            ("not a host", &[][..]),
        ] {
            assert!(config(id, origins).check().is_err(), "{id} {origins:?}");
        }
    }

    #[test]
    fn a_challenge_is_of_its_time_and_purpose() {
        let secret = Secret::new([1; 32]);
        let party = RelyingParty::new(&config("localhost", &[]), &secret).unwrap();
        let now = DateTime::UNIX_EPOCH;
        let none: [&str; 0] = [];
        let asked = party.ask(none.iter(), now).unwrap();
        let of_any = party.ask_new(UserId(uuid::Uuid::nil()), ("a", "b"), none.iter(), now);
        let of_any = of_any.unwrap();
        assert_eq!(of_any.options["rp"]["id"], "localhost");
        let selection = &of_any.options["authenticatorSelection"];
        assert_eq!(selection["userVerification"], "required");
        assert_eq!(asked.options["userVerification"], "required");
        let opens = |challenge: &str, now| {
            open::<DiscoverableAuthentication>(&party.answers, challenge, now).is_ok()
        };
        assert!(opens(&asked.challenge, now));
        assert!(!opens(&asked.challenge, now + CHALLENGE_LIFETIME));
        assert!(!opens(&of_any.challenge, now));
    }

    /// As it stands in logs: what is stored is read for ever.
    #[test]
    fn a_credential_that_was_stored_is_read() {
        let stored = include_str!("stored_credential.json");
        let passkey: Passkey = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&passkey).unwrap(), stored.trim_end());
    }
}
