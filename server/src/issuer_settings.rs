//! The tables `[[issuer]]` of the configuration file: whose word lets people in. They are in the file
//! only, as there may be several and most have a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use domain::values::IssuerName;
use infra::issuers::{
    Client, ClientSecret, ConfigWrong, IssuerConfig, Kind, Policy, WebhookSecret,
};
use serde::{Deserialize, Serialize};

/// Issuers that may be configured.
const ISSUERS_MAX: usize = 32;

/// Where GitHub is, unless said otherwise.
const GITHUB: &str = "https://github.com";

/// One issuer, as the file gives it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerTable {
    /// Its name in paths and in the log; never to be given to another issuer.
    pub name: String,
    /// How it is spoken to.
    pub kind: IssuerKind,
    /// Its address; of `OpenID Connect` the `iss` of its tokens, letter by letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Our name there; without it nobody logs in by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Our secret there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Hidden>,
    /// A file with our secret there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// Where it may send browsers back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// What is asked of it; by default what the kind needs for a name and an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Whether somebody who has no account gets one.
    #[serde(default = "yes")]
    pub auto_register: bool,
    /// Whether somebody gets into the account that has their verified address.
    #[serde(default)]
    pub link_by_verified_email: bool,
    /// Whether its own access tokens are let in.
    #[serde(default)]
    pub accept_access_tokens: bool,
    /// The `aud` of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// What its webhooks are signed with: any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhook_secrets: Vec<Hidden>,
    /// A file with more of them, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secrets_file: Option<PathBuf>,
}

/// How an issuer is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// `OpenID Connect`, by discovery.
    Oidc,
    /// GitHub, or GitHub Enterprise.
    Github,
}

/// A secret in the file. Shown and written as `…`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hidden(…)")
    }
}

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

/// Why an issuer cannot be used as it is configured. The text names it.
#[derive(Debug, thiserror::Error)]
pub enum IssuerTableError {
    /// What is said makes no sense.
    #[error("issuer {name:?}: {why}")]
    Wrong {
        /// Which.
        name: String,
        /// What would do.
        why: String,
    },
    /// A file with a secret cannot be read.
    #[error("issuer {name:?}: cannot read {path}: {source}")]
    File {
        /// Which.
        name: String,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too many.
    #[error("there are more than {ISSUERS_MAX} issuers")]
    TooMany,
}

const fn yes() -> bool {
    true
}

/// The issuers that `tables` describe.
///
/// # Errors
/// A table makes no sense or is not safe; two have the same name or take tokens of the same address; a
/// file cannot be read.
pub fn configs(tables: &[IssuerTable]) -> Result<Vec<IssuerConfig>, IssuerTableError> {
    if tables.len() > ISSUERS_MAX {
        return Err(IssuerTableError::TooMany);
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let mut configs = Vec::new();
    for table in tables {
        let config = table.config()?;
        if !names.insert(config.name.clone()) {
            return Err(table.wrong("another issuer has this name"));
        }
        if config.audience.is_some() && !addresses.insert(config.url.clone()) {
            return Err(table.wrong("access tokens of this address are accepted by another table"));
        }
        configs.push(config);
    }
    Ok(configs)
}

impl IssuerTable {
    fn wrong(&self, why: impl fmt::Display) -> IssuerTableError {
        IssuerTableError::Wrong {
            name: self.name.clone(),
            why: why.to_string(),
        }
    }

    fn config(&self) -> Result<IssuerConfig, IssuerTableError> {
        let name = IssuerName::parse(&self.name).map_err(|invalid| self.wrong(invalid))?;
        let (kind, url) = match (self.kind, &self.issuer) {
            (IssuerKind::Oidc, None) => return Err(self.wrong("kind = \"oidc\" needs issuer")),
            (IssuerKind::Oidc, Some(url)) => (Kind::Oidc, url.clone()),
            (IssuerKind::Github, url) => {
                let url = url.clone().unwrap_or_else(|| GITHUB.to_owned());
                (Kind::GitHub, url)
            }
        };
        let audience = match (self.accept_access_tokens, &self.audience) {
            (true, Some(audience)) => Some(audience.clone()),
            (true, None) => return Err(self.wrong("accept_access_tokens needs audience")),
            (false, Some(_)) => return Err(self.wrong("audience needs accept_access_tokens")),
            (false, None) => None,
        };
        let config = IssuerConfig {
            name,
            kind,
            url,
            client: self.client()?,
            policy: Policy {
                auto_register: self.auto_register,
                link_by_verified_email: self.link_by_verified_email,
            },
            audience,
            webhook_secrets: self.webhook_secrets()?,
        };
        config
            .check()
            .map_err(|wrong: ConfigWrong| self.wrong(wrong))?;
        Ok(config)
    }

    fn client(&self) -> Result<Option<Client>, IssuerTableError> {
        let secret = match (&self.client_secret, &self.client_secret_file) {
            (Some(_), Some(_)) => {
                return Err(self.wrong("client_secret or client_secret_file, not both"));
            }
            (Some(Hidden(secret)), None) => Some(secret.clone()),
            (None, Some(path)) => Some(self.read(path)?.trim().to_owned()),
            (None, None) => None,
        };
        let Some(id) = &self.client_id else {
            return match secret {
                Some(_) => Err(self.wrong("client_secret needs client_id")),
                None => Ok(None),
            };
        };
        let scopes = self.scopes.clone().unwrap_or_else(|| {
            let needed: &[&str] = match self.kind {
                IssuerKind::Oidc => &["openid", "email", "profile"],
                IssuerKind::Github => &["read:user", "user:email"],
            };
            needed.iter().map(ToString::to_string).collect()
        });
        Ok(Some(Client {
            id: id.clone(),
            secret: secret.map(ClientSecret::new),
            redirect_uris: self.redirect_uris.clone(),
            scopes,
        }))
    }

    fn webhook_secrets(&self) -> Result<Vec<WebhookSecret>, IssuerTableError> {
        let mut texts: Vec<String> = self.webhook_secrets.iter().map(|it| it.0.clone()).collect();
        if let Some(path) = &self.webhook_secrets_file {
            let file = self.read(path)?;
            let lines = file.lines().map(str::trim);
            texts.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        }
        let parse = |text: &String| {
            WebhookSecret::parse(text).ok_or_else(|| {
                self.wrong("a webhook secret is whsec_ and at least 24 bytes in Base64")
            })
        };
        texts.iter().map(parse).collect()
    }

    fn read(&self, path: &Path) -> Result<String, IssuerTableError> {
        std::fs::read_to_string(path).map_err(|source| IssuerTableError::File {
            name: self.name.clone(),
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Serialize)]
    struct File {
        issuer: Vec<IssuerTable>,
    }

    const GOOGLE: &str = r#"
        [[issuer]]
        name = "google"
        kind = "oidc"
        issuer = "https://accounts.google.com"
        client_id = "us"
        client_secret = "hush-hush"
        redirect_uris = ["https://app.example/callback"]
    "#;

    fn read(text: &str) -> Result<Vec<IssuerConfig>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        configs(&file.issuer).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_what_most_want() {
        let configs = read(GOOGLE).unwrap();
        let google = &configs[0];
        assert!(google.policy.auto_register && !google.policy.link_by_verified_email);
        let client = google.client.as_ref().unwrap();
        assert_eq!(client.scopes, ["openid", "email", "profile"]);
        let github = read(
            r#"
            [[issuer]]
            name = "github"
            kind = "github"
            client_id = "us"
            redirect_uris = ["http://127.0.0.1:3000/callback"]
            "#,
        );
        assert_eq!(github.unwrap()[0].url, GITHUB);
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        std::fs::write(&path, format!("{secret}\n\n{secret}\n")).unwrap();
        let text = format!("{GOOGLE}\nwebhook_secrets_file = {path:?}");
        assert_eq!(read(&text).unwrap()[0].webhook_secrets.len(), 2);
        let text = format!("{GOOGLE}\nwebhook_secrets = [\"{secret}\"]");
        let file: File = toml::from_str(&text).unwrap();
        let shown = toml::to_string(&file).unwrap() + &format!("{:?}", file.issuer);
        assert!(
            !shown.contains("hush-hush") && !shown.contains("MfKQ"),
            "{shown}"
        );
        let missing = format!("{GOOGLE}\nwebhook_secrets_file = \"/nowhere\"");
        assert!(read(&missing).unwrap_err().contains("/nowhere"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let with = |line: &str| format!("{GOOGLE}\n{line}");
        for (text, says) in [
            (with("colour = \"blue\""), "colour"),
            (with("accept_access_tokens = true"), "audience"),
            (with("audience = \"api\""), "accept_access_tokens"),
            (with("webhook_secrets = [\"short\"]"), "whsec_"),
            (with("client_secret_file = \"f\""), "not both"),
            (format!("{GOOGLE}{GOOGLE}"), "another issuer has this name"),
            (
                GOOGLE.replace("https://accounts", "http://accounts"),
                "https",
            ),
            (
                GOOGLE.replace("name = \"google\"", "name = \"Google\""),
                "a-z",
            ),
            (
                GOOGLE.replace("client_id", "# client_id"),
                "needs client_id",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
