//! What is configured of an issuer, and what makes no sense.

use std::fmt;
use std::net::IpAddr;

use domain::values::IssuerName;
use reqwest::Url;

use crate::issuers::webhook::WebhookSecret;

/// How an issuer is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `OpenID Connect`, by discovery.
    Oidc,
    /// GitHub's OAuth, which has neither discovery nor id tokens.
    GitHub,
}

/// An issuer.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its name here, which stands in the log.
    pub name: IssuerName,
    /// How it is spoken to.
    pub kind: Kind,
    /// Its address; of `OpenID Connect` the `iss` of its tokens, letter by letter.
    pub url: String,
    /// As whom we are known there; `None` where nobody logs in by it.
    pub client: Option<Client>,
    /// Whom it lets in.
    pub policy: Policy,
    /// The `aud` of those of its access tokens that are let in; `None` where none are.
    pub audience: Option<String>,
    /// What its webhooks are signed with: any of these. Empty where none are taken.
    pub webhook_secrets: Vec<WebhookSecret>,
}

/// As whom we are known to an issuer.
#[derive(Clone, Debug)]
pub struct Client {
    /// Our name there.
    pub id: String,
    /// Our secret there; `None` for a public client.
    pub secret: Option<ClientSecret>,
    /// Where it may send browsers back to. The first is taken where a client names none.
    pub redirect_uris: Vec<String>,
    /// What is asked of it.
    pub scopes: Vec<String>,
}

/// Whom an issuer lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether somebody who has no account gets one.
    pub auto_register: bool,
    /// Whether somebody whose verified address an account has gets into that account.
    pub link_by_verified_email: bool,
}

/// A secret that we share with an issuer. Neither shown nor written.
#[derive(Clone)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// The secret `text`.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientSecret(…)")
    }
}

/// Why an issuer cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigWrong(String);

impl IssuerConfig {
    /// Refuses what makes no sense or is not safe.
    pub fn check(&self) -> Result<(), ConfigWrong> {
        let wrong = |text: String| Err(ConfigWrong(text));
        if !is_fetchable(&self.url) {
            return wrong(format!(
                "issuer = {:?} takes https://…, and http:// only on this machine",
                self.url
            ));
        }
        if self.client.is_none() && self.audience.is_none() && self.webhook_secrets.is_empty() {
            return wrong(
                "it lets nobody in: set client_id and redirect_uris, or accept_access_tokens"
                    .to_owned(),
            );
        }
        if self.kind == Kind::GitHub && self.audience.is_some() {
            return wrong(
                "GitHub's access tokens are not signed and cannot be accepted".to_owned(),
            );
        }
        let Some(client) = &self.client else {
            return Ok(());
        };
        if client.redirect_uris.is_empty() {
            return wrong("client_id needs redirect_uris".to_owned());
        }
        for uri in &client.redirect_uris {
            // A native app has a scheme of its own; a browser that runs code as an address has not.
            let good = Url::parse(uri).is_ok_and(|url| {
                url.fragment().is_none()
                    && match url.scheme() {
                        "http" => is_fetchable(uri),
                        "javascript" | "data" | "vbscript" | "file" | "blob" => false,
                        _ => true,
                    }
            });
            if !good {
                return wrong(format!(
                    "redirect_uris: {uri:?} takes https://…, a scheme of an app, or http:// on this \
                     machine, without a fragment"
                ));
            }
        }
        if self.kind == Kind::Oidc && !client.scopes.iter().any(|scope| scope == "openid") {
            return wrong("scopes need openid".to_owned());
        }
        if self.audience.as_ref() == Some(&client.id) {
            return wrong(
                "audience is the name of this API at the issuer; with client_id its id tokens, \
                 which are for the app's eyes, would be let in as access tokens"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Whether something may be fetched from `url`: over TLS, or from this machine.
pub fn is_fetchable(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        match url.scheme() {
            "https" => !has_credentials && url.has_host(),
            "http" => !has_credentials && is_this_machine(&url),
            _ => false,
        }
    })
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> IssuerConfig {
        IssuerConfig {
            name: IssuerName::parse("google").unwrap(),
            kind: Kind::Oidc,
            url: "https://accounts.google.com".to_owned(),
            client: Some(client("https://app.example/callback")),
            policy: Policy {
                auto_register: true,
                link_by_verified_email: false,
            },
            audience: None,
            webhook_secrets: vec![],
        }
    }

    fn client(redirect_uri: &str) -> Client {
        Client {
            id: "us".to_owned(),
            secret: Some(ClientSecret::new("hush".to_owned())),
            redirect_uris: vec![redirect_uri.to_owned()],
            scopes: vec!["openid".to_owned()],
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_tls() {
        for good in [
            "https://id.example",
            "http://127.0.0.1:9",
            "http://localhost",
            "http://[::1]:80/realm",
        ] {
            assert!(is_fetchable(good), "{good}");
        }
        for bad in [
            "http://id.example",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "https://user:word@id.example",
            "file:///etc/passwd",
            "id.example",
            "",
        ] {
            assert!(!is_fetchable(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_not_safe_is_refused_and_what_is_said_has_no_secrets() {
        config().check().unwrap();
        let app = IssuerConfig {
            client: Some(client("com.example.app:/callback")),
            ..config()
        };
        app.check().unwrap();
        let id_tokens = IssuerConfig {
            audience: Some("us".to_owned()),
            ..config()
        };
        assert!(id_tokens.check().unwrap_err().to_string().contains("aud"));
        let nobody = IssuerConfig {
            client: None,
            ..config()
        };
        assert!(nobody.check().is_err());
        for uri in [
            "javascript:alert(1)",
            "http://app.example/",
            "https://app.example/#x",
            "callback",
        ] {
            let config = IssuerConfig {
                client: Some(client(uri)),
                ..config()
            };
            assert!(config.check().is_err(), "{uri}");
        }
        assert!(!format!("{:?}", config()).contains("hush"));
    }
}
