//! GitHub's OAuth, with PKCE: no discovery and no id token, so that what it says of somebody is asked of
//! its API with the token that the code gave. Its addresses follow from the configured one, which may
//! be of GitHub Enterprise.

use std::sync::Arc;

use domain::values::{Email, Subject};
use reqwest::Url;
use reqwest::header::ACCEPT;
use serde::Deserialize;

use crate::issuers::Profile;
use crate::issuers::config::{Client, ClientSecret, IssuerConfig};
use crate::issuers::error::IssuerError;
use crate::issuers::fetch::{Fetcher, parse};
use crate::issuers::login::Pending;

/// What the API is asked to answer in.
const MEDIA_TYPE: &str = "application/vnd.github+json";

/// GitHub, or an installation of GitHub Enterprise.
pub(super) struct GitHub {
    url: String,
    api: String,
    fetcher: Arc<Fetcher>,
}

/// What comes of a code: GitHub answers 200 also to one that it does not take.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    error: Option<String>,
}

/// `GET /user`
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

/// One of `GET /user/emails`
#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    pub(super) fn new(config: &IssuerConfig, fetcher: Arc<Fetcher>) -> Self {
        let url = config.url.trim_end_matches('/').to_owned();
        let api = if url == "https://github.com" {
            "https://api.github.com".to_owned()
        } else {
            format!("{url}/api/v3")
        };
        Self { url, api, fetcher }
    }

    pub(super) fn authorization_url(&self, client: &Client, pending: &Pending) -> String {
        let base = format!("{}/login/oauth/authorize", self.url);
        let parameters = [
            ("client_id", client.id.as_str()),
            ("redirect_uri", &pending.redirect_uri),
            ("scope", &client.scopes.join(" ")),
            ("state", &pending.state),
            ("code_challenge", &pending.challenge()),
            ("code_challenge_method", "S256"),
        ];
        // The configuration was checked: its address is one.
        Url::parse_with_params(&base, parameters).map_or(base, Into::into)
    }

    pub(super) async fn redeem(
        &self,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<Profile, IssuerError> {
        let token = self.token(client, pending, code).await?;
        let user: User = self.ask(&token, "/user").await?;
        let addresses: Vec<Address> = self.ask(&token, "/user/emails").await?;
        let email = addresses
            .into_iter()
            .find(|address| address.primary && address.verified)
            .and_then(|address| Email::parse(&address.email).ok());
        // The name may be given to somebody else one day, the number never.
        let subject = Subject::parse(&user.id.to_string());
        Ok(Profile {
            subject: subject.map_err(|invalid| IssuerError::Refused(invalid.to_string()))?,
            email,
            username: Some(user.login),
            name: user.name,
        })
    }

    async fn token(
        &self,
        client: &Client,
        pending: &Pending,
        code: &str,
    ) -> Result<String, IssuerError> {
        let secret = client.secret.as_ref().map_or("", ClientSecret::reveal);
        let form = [
            ("client_id", client.id.as_str()),
            ("client_secret", secret),
            ("code", code),
            ("redirect_uri", &pending.redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let url = format!("{}/login/oauth/access_token", self.url);
        let request = self.fetcher.post(&url)?.form(&form);
        let request = request.header(ACCEPT, "application/json");
        let (status, body) = self.fetcher.answer(request).await?;
        if !status.is_success() {
            return Err(IssuerError::Away(format!("it answered {status}")));
        }
        let answer: Answer = parse(&body)?;
        match (answer.access_token, answer.error) {
            (Some(token), None) => Ok(token),
            (_, Some(error)) if error == "bad_verification_code" => {
                Err(IssuerError::Refused("it does not take the code".into()))
            }
            (_, error) => Err(IssuerError::Away(format!("it says {error:?}"))),
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        token: &str,
        path: &str,
    ) -> Result<T, IssuerError> {
        let request = self.fetcher.get(&format!("{}{path}", self.api))?;
        let request = request.bearer_auth(token).header(ACCEPT, MEDIA_TYPE);
        self.fetcher.json(request).await
    }
}
