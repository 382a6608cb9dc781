//! Issuers of identities: other services whose word lets people in. What they say is fetched, checked
//! and handed on as a [`Profile`]; whose account that is, and whether it makes one, is decided
//! elsewhere. Nothing is stored here: what a login needs on its way travels sealed with the client.

mod cached;
mod claims;
mod config;
mod error;
mod fetch;
mod github;
mod keys;
mod login;
mod oidc;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::values::{Email, IssuerName, Subject};
use domain::{SessionId, StreamName};
use uuid::Uuid;

use crate::clock::Clock;
use crate::failure::Failure;
use crate::keys::{Secret, keyed_hash};

pub use config::{Client, ClientSecret, ConfigWrong, IssuerConfig, Kind, Policy, is_fetchable};
pub use error::IssuerError;
pub use login::{LoginRefused, Pending, Purpose};
pub use webhook::{Signed, WebhookRefused, WebhookSecret, verify as verify_webhook};

#[cfg(test)]
pub(crate) use claims::testing;
use fetch::Fetcher;
use github::GitHub;
use login::LoginSeal;
use oidc::Oidc;

/// How far an issuer's clock may be from ours, in seconds.
pub const SKEW_S: i64 = 60;

/// Namespace of the sessions that issuers' own access tokens are of.
const SESSIONS: Uuid = Uuid::from_u128(0x7d1e_42b8_90c3_5f16_a4d7_3be0_58f9_2c61);

/// What an issuer says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// For whom it vouches.
    pub subject: Subject,
    /// The address, where the issuer says that it was verified.
    pub email: Option<Email>,
    /// What they call themselves there, unchecked.
    pub username: Option<String>,
    /// What they want to be called, unchecked.
    pub name: Option<String>,
}

/// What an issuer's access token says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose word it is.
    pub issuer: IssuerName,
    /// Of whom.
    pub profile: Profile,
    /// Of which login there. Where the issuer names none (`sid`), each token is a session of its own.
    pub session: SessionId,
    /// Whether the issuer names the login, so that many tokens are of this session.
    pub names_session: bool,
    /// After this moment the token is worth nothing: its `exp`, and [`SKEW_S`].
    pub expires_at: DateTime<Utc>,
}

/// An issuer that is configured.
pub struct Issuer {
    config: IssuerConfig,
    provider: Provider,
}

enum Provider {
    Oidc(Oidc),
    GitHub(GitHub),
}

/// All issuers that are configured.
pub struct Issuers {
    by_name: BTreeMap<IssuerName, Issuer>,
    identity_key: [u8; 32],
    seal: LoginSeal,
    clock: Clock,
}

impl Issuers {
    /// Those that `configs` describe, which [`IssuerConfig::check`] found good. Nothing is fetched yet.
    ///
    /// # Errors
    /// This machine trusts no certificates, so that no issuer could be reached.
    pub fn new(
        configs: Vec<IssuerConfig>,
        secret: &Secret,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        let mut by_name = BTreeMap::new();
        if !configs.is_empty() {
            let http = fetch::client()?;
            for config in configs {
                let fetcher = Arc::new(Fetcher::new(http.clone()));
                let provider = match config.kind {
                    Kind::Oidc => Provider::Oidc(Oidc::new(&config, fetcher, clock)),
                    Kind::GitHub => Provider::GitHub(GitHub::new(&config, fetcher)),
                };
                by_name.insert(config.name.clone(), Issuer { config, provider });
            }
        }
        Ok(Self {
            by_name,
            identity_key: secret.derive("external-identity"),
            seal: LoginSeal::new(secret)?,
            clock: clock.clone(),
        })
    }

    /// The issuer `name`.
    pub fn get(&self, name: &IssuerName) -> Option<&Issuer> {
        self.by_name.get(name)
    }

    /// The issuer whose access tokens say that they are of `iss`.
    pub fn of_access_tokens(&self, iss: &str) -> Option<&Issuer> {
        let mut issuers = self.by_name.values();
        issuers.find(|issuer| issuer.config.audience.is_some() && issuer.config.url == iss)
    }

    /// Whether access tokens of any issuer are taken.
    pub fn take_access_tokens(&self) -> bool {
        let mut issuers = self.by_name.values();
        issuers.any(|issuer| issuer.config.audience.is_some())
    }

    /// The stream that says whose account `subject` of `issuer` is. It hangs on the issuer's address,
    /// not on its name here: another service under an old name vouches for nobody of the old one.
    pub fn identity_stream(&self, issuer: &Issuer, subject: &Subject) -> StreamName {
        let url = issuer.config.url.as_str();
        let data = format!("{}\n{url}\n{}", url.len(), subject.as_str());
        let digest = keyed_hash(&self.identity_key, data.as_bytes());
        StreamName::identity(&crate::keys::hex(&digest))
    }

    /// Begins a login at `issuer`: where to send the user's browser, and what the client keeps and
    /// brings back.
    ///
    /// # Errors
    /// The issuer is away.
    pub async fn begin(
        &self,
        issuer: &Issuer,
        client: &Client,
        redirect_uri: &str,
        purpose: Purpose,
    ) -> Result<Begun, IssuerError> {
        let name = issuer.config.name.clone();
        let pending = Pending::begin(name, redirect_uri, purpose, self.clock.now());
        let authorization_url = match &issuer.provider {
            Provider::Oidc(oidc) => oidc.authorization_url(client, &pending).await?,
            Provider::GitHub(github) => github.authorization_url(client, &pending),
        };
        Ok(Begun {
            authorization_url,
            login: self.seal.seal(&pending)?,
            expires_at: pending.expires_at,
        })
    }

    /// Opens what [`Issuers::begin`] sealed, if it was for `issuer` and is not over.
    pub fn pending(&self, issuer: &Issuer, login: &str) -> Result<Pending, LoginRefused> {
        let pending = self.seal.open(login)?;
        if pending.issuer != issuer.config.name {
            return Err(LoginRefused::Invalid);
        }
        if pending.expires_at <= self.clock.now() {
            return Err(LoginRefused::Expired);
        }
        Ok(pending)
    }
}

/// A login that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where to send the user's browser.
    pub authorization_url: String,
    /// What the client keeps and brings back; it is no use to others without the code.
    pub login: String,
    /// After this moment it is no use at all.
    pub expires_at: DateTime<Utc>,
}

impl Issuer {
    /// How it is configured.
    pub const fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Shows the issuer the code that it sent with the browser, and says for whom it vouches. A code
    /// is good once.
    ///
    /// # Errors
    /// The issuer is away, does not take the code, or says something that does not hold.
    pub async fn redeem(
        &self,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<Profile, IssuerError> {
        match &self.provider {
            Provider::Oidc(oidc) => oidc.redeem(client, pending, code).await,
            Provider::GitHub(github) => github.redeem(client, pending, code).await,
        }
    }

    /// Whether an answer of the issuer that says it is of `iss` (RFC 9207) may be its own. One that
    /// always says so must.
    ///
    /// # Errors
    /// The issuer is away.
    pub async fn answers_as(&self, iss: Option<&str>) -> Result<bool, IssuerError> {
        match &self.provider {
            Provider::Oidc(oidc) => oidc.answers_as(iss).await,
            Provider::GitHub(_) => Ok(iss.is_none_or(|iss| iss == self.config.url)),
        }
    }

    /// Checks an access token of the issuer for `audience`: signature, issuer, audience, time.
    ///
    /// # Errors
    /// The issuer is away while its keys are needed, or the token is worth nothing.
    pub async fn access_token(&self, token: &str) -> Result<AccessToken, IssuerError> {
        let Some(audience) = &self.config.audience else {
            return Err(IssuerError::Refused(
                "its access tokens are not taken".into(),
            ));
        };
        match &self.provider {
            Provider::Oidc(oidc) => {
                let claims = oidc.access_claims(token, audience).await?;
                claims.access_token(&self.config)
            }
            Provider::GitHub(_) => Err(IssuerError::Refused("GitHub signs no tokens".into())),
        }
    }
}

/// The session that the login `login` at the issuer `url` is.
fn session_of(url: &str, login: &str) -> SessionId {
    let name = format!("{}\n{url}\n{login}", url.len());
    SessionId(Uuid::new_v5(&SESSIONS, name.as_bytes()))
}
