//! Asking an issuer over HTTP: bounded in time, size and number, and never led elsewhere.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::issuers::config::is_fetchable;
use crate::issuers::error::IssuerError;

/// How long an issuer may take for one answer; then it is away.
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// How long it may take until there is a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes; an issuer that says more is away.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Requests to one issuer at the same time; one more is [`IssuerError::Busy`].
const AT_ONCE_MAX: usize = 32;

/// Connections to an issuer that wait for the next request.
const IDLE_MAX: usize = 4;

/// Asks one issuer.
pub(super) struct Fetcher {
    http: reqwest::Client,
    turns: Semaphore,
}

/// A client that trusts what this machine trusts.
pub(super) fn client() -> Result<reqwest::Client, Failure> {
    crate::tls::choose_provider();
    reqwest::Client::builder()
        .user_agent(concat!("verbatim/", env!("CARGO_PKG_VERSION")))
        .timeout(FETCH_TIME_MAX)
        .connect_timeout(CONNECT_TIME_MAX)
        .pool_max_idle_per_host(IDLE_MAX)
        // Where an issuer's parts are is said by its configuration or its discovery document only.
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| {
            Failure::internal("prepare to reach issuers (are there certificates?)", error)
        })
}

impl Fetcher {
    pub(super) fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            turns: Semaphore::new(AT_ONCE_MAX),
        }
    }

    /// A request to read `url`, which a document of the issuer may have named.
    pub(super) fn get(&self, url: &str) -> Result<RequestBuilder, IssuerError> {
        fetchable(url)?;
        Ok(self.http.get(url))
    }

    /// A request to post to `url`, likewise.
    pub(super) fn post(&self, url: &str) -> Result<RequestBuilder, IssuerError> {
        fetchable(url)?;
        Ok(self.http.post(url))
    }

    /// The JSON that a successful answer has.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, IssuerError> {
        let (status, body) = self.answer(request).await?;
        if !status.is_success() {
            return Err(IssuerError::Away(format!("it answered {status}")));
        }
        parse(&body)
    }

    /// The status and the body of an answer, which may be a refusal. Only a fault of the issuer is an
    /// error.
    pub(super) async fn answer(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), IssuerError> {
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(IssuerError::Busy);
        };
        // Addresses may hold codes, which are nobody's business.
        let away = |error: reqwest::Error| IssuerError::Away(with_sources(&error.without_url()));
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(IssuerError::Away(format!("it answered {status}")));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(away)? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(IssuerError::Away("it answered too much".into()));
            }
            body.extend_from_slice(&part);
        }
        Ok((status, body))
    }
}

/// Reads JSON that an issuer sent.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, IssuerError> {
    // The error of serde says where, and never what.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        IssuerError::Away(format!("its JSON is not understood at {line}:{column}"))
    })
}

fn fetchable(url: &str) -> Result<(), IssuerError> {
    if is_fetchable(url) {
        return Ok(());
    }
    Err(IssuerError::Away(format!(
        "it names {url:?}, which is not https"
    )))
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
