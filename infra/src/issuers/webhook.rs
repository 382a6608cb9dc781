//! Signatures of webhooks as Standard Webhooks words them (<https://www.standardwebhooks.com>):
//! HMAC-SHA-256 of id, time and body. Several secrets may be good at a time, so that one can be
//! replaced.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How far the time of a webhook may be from ours, before and after.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// Longest id of a webhook, in bytes.
const ID_BYTES_MAX: usize = 200;

/// Signatures that one webhook may have; further ones are not looked at.
const SIGNATURES_MAX: usize = 16;

/// Fewest bytes of a secret.
const SECRET_BYTES_MIN: usize = 24;

/// What an issuer signs its webhooks with. Neither shown nor written.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Reads `whsec_…` in Base64; `None` for anything else, or less than 24 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.trim().strip_prefix("whsec_")?;
        let bytes = STANDARD.decode(encoded).ok()?;
        (bytes.len() >= SECRET_BYTES_MIN).then_some(Self(bytes))
    }

    fn signed(&self, signature: &[u8], id: &str, time: &str, body: &[u8]) -> bool {
        // Any length of key will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return false;
        };
        for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
            mac.update(part);
        }
        // In a time that says nothing.
        mac.verify_slice(signature).is_ok()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebhookSecret(…)")
    }
}

/// A webhook that is not taken. Whoever sends it learns no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefused {
    /// A header is missing, twice there or not readable.
    #[error("webhook-id, webhook-timestamp and webhook-signature are needed")]
    Headers,
    /// It was signed too long ago, or in the future.
    #[error("webhook-timestamp is more than five minutes from now")]
    Time,
    /// None of the secrets signed it.
    #[error("no signature is good")]
    Signature,
}

/// A webhook whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Names the webhook; its retries have the same.
    pub id: String,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
}

/// Checks that the issuer signed `body` about `now`, with one of `secrets`.
pub fn verify(
    secrets: &[WebhookSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Signed, WebhookRefused> {
    let id = header(headers, "id")?;
    let time = header(headers, "timestamp")?;
    let signatures = header(headers, "signature")?;
    if !(1..=ID_BYTES_MAX).contains(&id.len()) {
        return Err(WebhookRefused::Headers);
    }
    let sent_at = time
        .parse()
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or(WebhookRefused::Headers)?;
    if (now - sent_at).abs() > SKEW_MAX {
        return Err(WebhookRefused::Time);
    }
    let is_signed = signatures
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| STANDARD.decode(signature).ok())
        .any(|signature| {
            let mut secrets = secrets.iter();
            secrets.any(|secret| secret.signed(&signature, id, time, body))
        });
    if is_signed {
        Ok(Signed {
            id: id.to_owned(),
            sent_at,
        })
    } else {
        Err(WebhookRefused::Signature)
    }
}

/// The header `webhook-{name}`, or by the name that the scheme had first.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, WebhookRefused> {
    let mut found = ["webhook", "svix"]
        .iter()
        .flat_map(|scheme| headers.get_all(format!("{scheme}-{name}")));
    match (found.next(), found.next()) {
        (Some(value), None) => value.to_str().map_err(|_| WebhookRefused::Headers),
        (Some(_), Some(_)) | (None, _) => Err(WebhookRefused::Headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(scheme: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("id", ID), ("timestamp", TIME), ("signature", signature)] {
            let name = format!("{scheme}-{name}");
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn verify_at(seconds: i64, headers: &HeaderMap, body: &[u8]) -> Result<Signed, WebhookRefused> {
        let other = WebhookSecret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let secrets = [other, WebhookSecret::parse(SECRET).unwrap()];
        let now = DateTime::from_timestamp(1_614_265_330 + seconds, 0).unwrap();
        verify(&secrets, headers, body, now)
    }

    #[test]
    fn the_example_of_the_specification_is_good_under_either_name() {
        for scheme in ["webhook", "svix"] {
            let signed = verify_at(0, &headers(scheme, SIGNATURE), BODY).unwrap();
            assert_eq!(signed.id, ID);
        }
        let several = format!("v1a,x v1,AAAA {SIGNATURE}");
        assert!(verify_at(0, &headers("webhook", &several), BODY).is_ok());
    }

    #[test]
    fn what_was_changed_or_comes_late_is_refused() {
        let good = headers("webhook", SIGNATURE);
        let refused = |result: Result<Signed, WebhookRefused>| result.unwrap_err();
        let changed = verify_at(0, &good, br#"{"test": 2432232315}"#);
        assert_eq!(refused(changed), WebhookRefused::Signature);
        for seconds in [-301, 301] {
            let late = verify_at(seconds, &good, BODY);
            assert_eq!(refused(late), WebhookRefused::Time);
        }
        for seconds in [-300, 300] {
            assert!(verify_at(seconds, &good, BODY).is_ok());
        }
        for signature in ["", "v1,", "v2,AAAA", &SIGNATURE.replace("v1,", "v1a,")] {
            let other = verify_at(0, &headers("webhook", signature), BODY);
            assert_eq!(refused(other), WebhookRefused::Signature, "{signature}");
        }
        let now = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        let none = verify(&[], &good, BODY, now);
        assert_eq!(refused(none), WebhookRefused::Signature, "no secret");
    }

    #[test]
    fn a_header_is_there_once() {
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut missing = headers("webhook", SIGNATURE);
            missing.remove(name);
            assert_eq!(verify_at(0, &missing, BODY), Err(WebhookRefused::Headers));
        }
        let mut twice = headers("webhook", SIGNATURE);
        twice.insert("svix-id", "another".parse().unwrap());
        assert_eq!(verify_at(0, &twice, BODY), Err(WebhookRefused::Headers));
    }

    #[test]
    fn secrets_are_read_and_not_shown() {
        for bad in ["", "secret", "whsec_!", "whsec_AAAA"] {
            assert!(WebhookSecret::parse(bad).is_none(), "{bad}");
        }
        let secret = WebhookSecret::parse(SECRET).unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
    }
}
