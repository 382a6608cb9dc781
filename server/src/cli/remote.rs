//! Talking to a running server: one request, and its problem as a sentence.

use std::path::Path;

use domain::UserId;
use infra::problem::Problem;
use reqwest::{Certificate, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::cli::{CliResult, Remote};

/// A server and who we are to it.
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    /// The server that was named, if one was.
    pub(super) fn new(remote: &Remote) -> CliResult<Option<Self>> {
        let Some(server) = &remote.server else {
            return Ok(None);
        };
        let Some(token) = &remote.token else {
            return Err("--server needs --token (or VERBATIM_TOKEN): log in with \
                        POST /v1/sessions to get one"
                .into());
        };
        Ok(Some(Self {
            http: http(server, remote.ca.as_deref())?,
            server: server.trim_end_matches('/').to_owned(),
            token: token.clone(),
        }))
    }

    /// A request with our token.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.server))
            .bearer_auth(&self.token)
    }

    /// The id of the user with this handle or id.
    pub(super) async fn user_id(&self, user: &str) -> CliResult<String> {
        if user.parse::<UserId>().is_ok() {
            return Ok(user.to_owned());
        }
        let lookup = self.request(Method::GET, "/v1/users");
        let lookup = lookup.query(&[("handle", user)]);
        let found: Value = self.send(lookup).await?.json().await?;
        let id = found["users"][0]["id"].as_str();
        let unknown = || format!("there is no user {user}");
        Ok(id.ok_or_else(unknown)?.to_owned())
    }

    /// Sends it; a problem becomes the error's text.
    pub(super) async fn send(&self, request: RequestBuilder) -> CliResult<Response> {
        let response = request
            .send()
            .await
            .map_err(|error| format!("cannot reach {}: {}", self.server, with_sources(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await?;
        Err(match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => problem.to_string().into(),
            Err(_) => format!("{} answered {status}: {text}", self.server).into(),
        })
    }
}

/// What speaks to `server`, over TLS with those certificates that are trusted.
fn http(server: &str, ca: Option<&Path>) -> CliResult<reqwest::Client> {
    let http = reqwest::Client::builder();
    let http = match (server.starts_with("https://"), ca) {
        (true, Some(ca)) => http.tls_certs_only(certificates(ca)?),
        (true, None) => http,
        (false, Some(_)) => return Err("--ca is of use with https only".into()),
        // So that a machine without certificates reaches what needs none.
        (false, None) => http.tls_certs_only([]),
    };
    Ok(http.build()?)
}

fn certificates(ca: &Path) -> CliResult<Vec<Certificate>> {
    let path = ca.display();
    let pem = std::fs::read(ca).map_err(|error| format!("cannot read {path}: {error}"))?;
    let certificates = Certificate::from_pem_bundle(&pem);
    let certificates = certificates.map_err(|error| format!("{path}: {}", with_sources(&error)))?;
    if certificates.is_empty() {
        return Err(format!("{path} has no certificate in PEM").into());
    }
    Ok(certificates)
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
