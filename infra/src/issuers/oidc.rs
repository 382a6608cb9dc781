//! `OpenID Connect` by discovery: the authorization code flow with PKCE (RFC 7636, S256), a nonce and a
//! state, and access tokens that are JWTs.

use std::sync::Arc;

use domain::values::Subject;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::clock::Clock;
use crate::issuers::Profile;
use crate::issuers::cached::Cached;
use crate::issuers::claims::{Claims, PersonClaims};
use crate::issuers::config::{Client, IssuerConfig};
use crate::issuers::error::IssuerError;
use crate::issuers::fetch::{Fetcher, parse};
use crate::issuers::keys::{Document, KeySet, NotSigned};
use crate::issuers::login::Pending;

/// An issuer that speaks `OpenID Connect`.
pub(super) struct Oidc {
    url: String,
    fetcher: Arc<Fetcher>,
    clock: Clock,
    discovered: Cached<Discovered>,
    keys: Cached<KeySet>,
}

/// What an issuer says of itself (`OpenID Connect` Discovery, section 3).
#[derive(Debug, Deserialize)]
struct Discovered {
    issuer: String,
    /// Issuers whose access tokens alone are taken need not have the two.
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What comes of a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// A refusal as RFC 6749, section 5.2, words it.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// What the userinfo endpoint says.
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    person: PersonClaims,
}

impl Oidc {
    pub(super) fn new(config: &IssuerConfig, fetcher: Arc<Fetcher>, clock: &Clock) -> Self {
        Self {
            url: config.url.clone(),
            fetcher,
            clock: clock.clone(),
            discovered: Cached::new(clock),
            keys: Cached::new(clock),
        }
    }

    pub(super) async fn authorization_url(
        &self,
        client: &Client,
        pending: &Pending,
    ) -> Result<String, IssuerError> {
        let discovered = self.discovered().await?;
        let endpoint = discovered.authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| lacks("authorization_endpoint"))?;
        let mut url = Url::parse(endpoint).map_err(|_| {
            IssuerError::Away(format!("it names {endpoint:?}, which is no address"))
        })?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("scope", &client.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &pending.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    pub(super) async fn redeem(
        &self,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<Profile, IssuerError> {
        let discovered = self.discovered().await?;
        let tokens = self.tokens(&discovered, client, pending, code).await?;
        let mut claims = self.open(&discovered, &tokens.id_token).await?;
        claims.check(&self.url, &client.id, self.clock.now())?;
        claims.check_login(&client.id, &pending.nonce)?;
        // Many issuers tell no more than `sub` in the id token (section 5.4).
        if let (None, Some(endpoint), Some(token)) = (
            &claims.person.email,
            &discovered.userinfo_endpoint,
            &tokens.access_token,
        ) {
            claims.person = self.user_info(endpoint, token, &claims.subject()?).await?;
        }
        claims.profile()
    }

    pub(super) async fn answers_as(&self, iss: Option<&str>) -> Result<bool, IssuerError> {
        if let Some(iss) = iss {
            return Ok(iss == self.url);
        }
        let discovered = self.discovered().await?;
        Ok(!discovered.authorization_response_iss_parameter_supported)
    }

    /// What an access token says, once it is known to be the issuer's, for `audience`, now.
    pub(super) async fn access_claims(
        &self,
        token: &str,
        audience: &str,
    ) -> Result<Claims, IssuerError> {
        let discovered = self.discovered().await?;
        let claims = self.open(&discovered, token).await?;
        claims.check(&self.url, audience, self.clock.now())?;
        Ok(claims)
    }

    async fn tokens(
        &self,
        discovered: &Discovered,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<Tokens, IssuerError> {
        let endpoint = discovered.token_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| lacks("token_endpoint"))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &pending.redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let request = self.fetcher.post(endpoint)?;
        let request = identify(request, client, &mut form, discovered);
        let (status, body) = self.fetcher.answer(request.form(&form)).await?;
        if status.is_success() {
            return parse(&body);
        }
        Err(refusal(status, &body))
    }

    async fn user_info(
        &self,
        endpoint: &str,
        token: &str,
        subject: &Subject,
    ) -> Result<PersonClaims, IssuerError> {
        let request = self.fetcher.get(endpoint)?.bearer_auth(token);
        let told: UserInfo = self.fetcher.json(request).await?;
        // Section 5.3.2: otherwise it is somebody else's.
        if told.sub == subject.as_str() {
            Ok(told.person)
        } else {
            let text = "userinfo is of another sub than the id token";
            Err(IssuerError::Refused(text.into()))
        }
    }

    /// What a token says that the issuer signed. A key that is not known is looked for, once a while.
    async fn open(&self, discovered: &Discovered, token: &str) -> Result<Claims, IssuerError> {
        let refused = |why: NotSigned| IssuerError::Refused(why.to_string());
        let keys = self.keys.get(self.fetch_keys(discovered)).await?;
        match keys.open(token) {
            Err(NotSigned::UnknownKey) => {
                let newer = self.keys.get_newer(keys, self.fetch_keys(discovered));
                newer.await.open(token).map_err(refused)
            }
            opened => opened.map_err(refused),
        }
    }

    async fn fetch_keys(&self, discovered: &Discovered) -> Result<KeySet, IssuerError> {
        let request = self.fetcher.get(&discovered.jwks_uri)?;
        let document: Document = self.fetcher.json(request).await?;
        KeySet::new(&document)
    }

    async fn discovered(&self) -> Result<Arc<Discovered>, IssuerError> {
        self.discovered
            .get(async {
                let base = self.url.trim_end_matches('/');
                let url = format!("{base}/.well-known/openid-configuration");
                let discovered: Discovered = self.fetcher.json(self.fetcher.get(&url)?).await?;
                // Section 4.3: otherwise it speaks for another issuer.
                if discovered.issuer == self.url {
                    Ok(discovered)
                } else {
                    Err(IssuerError::Away(format!(
                        "it calls itself {:?} and is configured as {:?}",
                        discovered.issuer, self.url
                    )))
                }
            })
            .await
    }
}

/// Says to the token endpoint who we are, in a way that it takes.
fn identify<'a>(
    request: RequestBuilder,
    client: &'a Client,
    form: &mut Vec<(&'a str, &'a str)>,
    discovered: &Discovered,
) -> RequestBuilder {
    let methods = &discovered.token_endpoint_auth_methods_supported;
    let takes = |method: &str| methods.iter().any(|known| known == method);
    match &client.secret {
        // `client_secret_basic` is what holds where nothing is said.
        Some(secret) if methods.is_empty() || takes("client_secret_basic") => {
            // RFC 6749, section 2.3.1: both are encoded as in a form.
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            request.basic_auth(encoded(&client.id), Some(encoded(secret.reveal())))
        }
        Some(secret) => {
            form.push(("client_id", &client.id));
            form.push(("client_secret", secret.reveal()));
            request
        }
        None => {
            form.push(("client_id", &client.id));
            request
        }
    }
}

/// Why a token endpoint did not take a code. `invalid_grant` is the code's fault, anything else ours or
/// the issuer's.
fn refusal(status: StatusCode, body: &[u8]) -> IssuerError {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) if refusal.error == "invalid_grant" => {
            IssuerError::Refused("it does not take the code".into())
        }
        Ok(refusal) => IssuerError::Away(format!("its token endpoint says {:?}", refusal.error)),
        Err(_) => IssuerError::Away(format!("its token endpoint answered {status}")),
    }
}

fn lacks(what: &str) -> IssuerError {
    IssuerError::Away(format!("its discovery document lacks {what}"))
}
