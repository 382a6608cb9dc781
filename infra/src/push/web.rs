//! Web Push: RFC 8030 over HTTPS. Endpoints are chosen by users, so that we go only where anybody may and
//! are led nowhere else.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::addresses::PublicResolver;
use super::encrypt::encrypt;
use super::{Addresses, Push, PushError, PushTarget, Pusher, VapidKey, origin};
use crate::clock::Clock;
use crate::failure::Failure;

/// How long a push service keeps what it cannot deliver, in seconds: a day.
const KEPT_S: u32 = 24 * 60 * 60;

/// How long a push service may take for one push.
const PUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// How long it may take until there is a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Connections to one push service that wait for the next push.
const IDLE_MAX: usize = 8;

/// What failed.
const PUSH: &str = "push";

/// Pushes to the endpoints of browsers.
pub struct WebPusher {
    http: Client,
    addresses: Addresses,
    key: VapidKey,
    contact: String,
    clock: Clock,
}

impl WebPusher {
    /// A pusher that is known by `key`, of a server whose people are reached at `contact`: an address of
    /// `mailto:` or `https:`.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(
        key: VapidKey,
        contact: String,
        addresses: Addresses,
        clock: Clock,
    ) -> Result<Self, Failure> {
        crate::tls::choose_provider();
        let client = Client::builder()
            .user_agent(concat!("verbatim/", env!("CARGO_PKG_VERSION")))
            .timeout(PUSH_TIME_MAX)
            .connect_timeout(CONNECT_TIME_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .redirect(Policy::none())
            .no_proxy();
        let client = match addresses {
            Addresses::PublicOnly => client.https_only(true).dns_resolver(PublicResolver),
            Addresses::Any => client,
        };
        let http = client
            .build()
            .map_err(|error| Failure::internal("prepare to push", error))?;
        Ok(Self {
            http,
            addresses,
            key,
            contact,
            clock,
        })
    }
}

#[async_trait]
impl Pusher for WebPusher {
    async fn push(&self, target: &PushTarget, push: &Push) -> Result<(), PushError> {
        let Some(url) = self.addresses.checked(&target.endpoint) else {
            // The setting was another when it was taken.
            return Err(PushError::Gone);
        };
        let body = encrypt(target, push.payload.as_bytes()).map_err(PushError::Refused)?;
        let now = self.clock.now();
        let authorization = self
            .key
            .authorization(&origin(&url), &self.contact, now)
            .map_err(PushError::Refused)?;
        let sent = self
            .http
            .post(url)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header("ttl", KEPT_S)
            .header("topic", &push.topic)
            .header("urgency", push.urgency.as_str())
            .body(body)
            .send()
            .await;
        let answer = sent.map_err(|error| PushError::Later {
            // The endpoint is nobody's business.
            failure: Failure::unavailable(PUSH, error.without_url()),
            after: None,
        })?;
        outcome(answer.status(), answer.headers())
    }
}

fn outcome(status: StatusCode, headers: &HeaderMap) -> Result<(), PushError> {
    if status.is_success() {
        return Ok(());
    }
    let said = format!("the push service answered {status}");
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(PushError::Gone),
        // A clock that is wrong looks like a key that is: browsers are not lost because of it.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => Err(later(said, headers)),
        _ if status.is_server_error() => Err(later(said, headers)),
        _ => Err(PushError::Refused(Failure::internal(PUSH, said))),
    }
}

fn later(said: String, headers: &HeaderMap) -> PushError {
    let after = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
    PushError::Later {
        failure: Failure::unavailable(PUSH, said),
        after: after
            .and_then(|it| it.parse().ok())
            .map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::keys::Secret;
    use crate::push::Urgency;
    use crate::push::tests::{AUTH, PUBLIC_KEY};

    fn pusher(addresses: Addresses) -> WebPusher {
        let key = VapidKey::new(&Secret::new([7; 32])).unwrap();
        WebPusher::new(
            key,
            "mailto:a@example.org".to_owned(),
            addresses,
            Clock::system(),
        )
        .unwrap()
    }

    async fn push(
        pusher: &WebPusher,
        endpoint: String,
        addresses: Addresses,
    ) -> Result<(), PushError> {
        let target = PushTarget::parse(&endpoint, PUBLIC_KEY, AUTH, addresses).unwrap();
        let push = Push::new(b"1", Urgency::High, &"tea?").unwrap();
        pusher.push(&target, &push).await
    }

    /// Whether nobody has connected.
    async fn is_unknown(listener: TcpListener) -> bool {
        let soon = Duration::from_millis(100);
        tokio::time::timeout(soon, listener.accept()).await.is_err()
    }

    #[tokio::test]
    async fn a_name_for_our_own_network_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = format!("https://localhost:{port}/1");
        let ours = pusher(Addresses::PublicOnly);
        let pushed = push(&ours, endpoint, Addresses::PublicOnly).await;
        assert!(matches!(pushed, Err(PushError::Later { .. })), "{pushed:?}");
        assert!(is_unknown(listener).await);
        // What was taken under another setting.
        let pushed = push(&ours, "http://push.example/1".to_owned(), Addresses::Any).await;
        assert!(matches!(pushed, Err(PushError::Gone)), "{pushed:?}");
    }

    #[tokio::test]
    async fn nobody_leads_us_elsewhere() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = elsewhere.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/1", listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{location}/\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until the other side has read it.
            while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
        });
        let pushed = push(&pusher(Addresses::Any), endpoint, Addresses::Any).await;
        assert!(matches!(pushed, Err(PushError::Refused(_))), "{pushed:?}");
        assert!(is_unknown(elsewhere).await);
        answering.await.unwrap();
    }

    #[test]
    fn answers_mean_what_the_rfc_says() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let outcome = |status: u16| outcome(StatusCode::from_u16(status).unwrap(), &headers);
        for good in [200, 201, 202] {
            assert!(outcome(good).is_ok());
        }
        for gone in [404, 410] {
            assert!(matches!(outcome(gone), Err(PushError::Gone)));
        }
        for later in [401, 403, 408, 429, 500, 503] {
            let Err(PushError::Later { after, .. }) = outcome(later) else {
                panic!("{later} is tried again");
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
        for refused in [301, 400, 413] {
            assert!(matches!(outcome(refused), Err(PushError::Refused(_))));
        }
    }
}
