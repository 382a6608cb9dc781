//! The push port: something that takes short encrypted messages for browsers that are not open. What they
//! say and when they are sent is not decided here.

mod addresses;
mod encrypt;
mod key;
mod web;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{PushSubscriptionId, UserId};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::{Secret, hex, keyed_hash};
use crate::seal::Seal;

pub use addresses::Addresses;
pub use key::VapidKey;
pub use web::WebPusher;

/// Longest endpoint, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 2_048;

/// Longest payload, in bytes: with what encryption adds it fits into the 4,096 that every push service
/// takes (RFC 8030, section 7.2).
pub const PAYLOAD_BYTES_MAX: usize = 3_840;

/// Payloads are filled up to a multiple of this, so that their length says little.
const PAYLOAD_STEP_BYTES: usize = 256;

/// A point of P-256 as it is, and a browser's shared secret: bytes.
const PUBLIC_KEY_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;

/// How a point begins that is written in full (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Where pushes for one browser go, and how they are encrypted (RFC 8291). Whoever knows it can send to the
/// browser: it is kept sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTarget {
    endpoint: String,
    p256dh: Vec<u8>,
    auth: Vec<u8>,
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PushTarget(…)")
    }
}

/// What of a browser's subscription is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetInvalid {
    /// The address.
    #[error("endpoint is an https address of at most 2,048 bytes, of a host that anybody reaches")]
    Endpoint,
    /// The browser's public key.
    #[error("p256dh is a point of P-256, 65 bytes in base64url")]
    PublicKey,
    /// The secret that the browser shares.
    #[error("auth is 16 bytes in base64url")]
    Auth,
}

impl PushTarget {
    /// Checks what a browser's `PushSubscription` says, where `addresses` may be pushed to.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(
        endpoint: &str,
        p256dh: &str,
        auth: &str,
        addresses: Addresses,
    ) -> Result<Self, TargetInvalid> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        if endpoint.len() > ENDPOINT_BYTES_MAX || addresses.checked(endpoint).is_none() {
            return Err(TargetInvalid::Endpoint);
        }
        let p256dh = bytes(p256dh)
            .filter(|key| key.len() == PUBLIC_KEY_BYTES && key[0] == UNCOMPRESSED && is_point(key))
            .ok_or(TargetInvalid::PublicKey)?;
        let auth = bytes(auth)
            .filter(|auth| auth.len() == AUTH_BYTES)
            .ok_or(TargetInvalid::Auth)?;
        let endpoint = endpoint.to_owned();
        Ok(Self {
            endpoint,
            p256dh,
            auth,
        })
    }
}

fn is_point(key: &[u8]) -> bool {
    ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, key)).is_ok()
}

/// Keeps targets sealed, and names them.
pub struct TargetSeal {
    seal: Seal,
    name_key: [u8; 32],
}

impl TargetSeal {
    /// Under keys of `secret`.
    ///
    /// # Errors
    /// The cipher cannot be had.
    pub fn new(secret: &Secret) -> Result<Self, Failure> {
        Ok(Self {
            seal: Seal::new(secret, "push subscription")?,
            name_key: secret.derive("push subscription name"),
        })
    }

    /// The browser of `user` that is at `target`: the same with other keys.
    pub fn name(&self, user: UserId, target: &PushTarget) -> PushSubscriptionId {
        let digest = keyed_hash(&self.name_key, target.endpoint.as_bytes());
        PushSubscriptionId::of(user, &digest)
    }

    /// Names exactly `target`.
    pub fn mark(&self, target: &PushTarget) -> String {
        let mut all = target.endpoint.clone().into_bytes();
        for part in [&target.p256dh, &target.auth] {
            all.push(0);
            all.extend_from_slice(part);
        }
        hex(&keyed_hash(&self.name_key, &all)[..16])
    }

    /// `target`, sealed.
    ///
    /// # Errors
    /// It cannot be sealed.
    pub fn seal(&self, target: &PushTarget) -> Result<String, Failure> {
        self.seal.seal(target)
    }

    /// What is in `sealed`; `None` where it was sealed under another secret.
    pub fn open(&self, sealed: &str) -> Option<PushTarget> {
        self.seal.open(sealed)
    }
}

/// How soon a device should wake up for it (RFC 8030, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody writes to one.
    High,
    /// It can wait for a moment.
    Normal,
}

impl Urgency {
    const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
        }
    }
}

/// A push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The same for a push that is sent again: one that still waits at the push service is replaced. Up
    /// to 32 characters of base64url.
    pub topic: String,
    /// How soon a device should wake up for it.
    pub urgency: Urgency,
    /// What the browser gets: JSON.
    pub payload: String,
}

impl Push {
    /// A push that is named by `name`: bytes that are the same when it is sent again, and differ from
    /// those of others.
    pub fn new(name: &[u8], urgency: Urgency, payload: &impl Serialize) -> Result<Self, Failure> {
        const WHAT: &str = "write a push";
        let digest = keyed_hash(&[0; 32], name);
        let mut payload =
            serde_json::to_string(payload).map_err(|error| Failure::internal(WHAT, error))?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Failure::internal(WHAT, "it is too long"));
        }
        let filled = payload.len().next_multiple_of(PAYLOAD_STEP_BYTES);
        payload.extend(std::iter::repeat_n(' ', filled - payload.len()));
        Ok(Self {
            topic: URL_SAFE_NO_PAD.encode(&digest[..24]),
            urgency,
            payload,
        })
    }
}

/// Why a push was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PushError {
    /// The push service does not know the browser any more.
    #[error("the browser takes no pushes any more")]
    Gone,
    /// This push will never be taken.
    #[error("the push is not taken: {0}")]
    Refused(Failure),
    /// Trying again may help.
    #[error("{failure}")]
    Later {
        /// What is wrong.
        failure: Failure,
        /// Not before so long, where the push service says so.
        after: Option<Duration>,
    },
}

/// Takes pushes.
#[async_trait]
pub trait Pusher: Send + Sync + 'static {
    /// Sends `push` to `target`, within a bounded time.
    async fn push(&self, target: &PushTarget, push: &Push) -> Result<(), PushError>;
}

/// The origin of an endpoint, as a token names whom it is for.
fn origin(endpoint: &Url) -> String {
    endpoint.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 8291, appendix A.
    pub(super) const PUBLIC_KEY: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    pub(super) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn target(endpoint: &str, auth: &str) -> PushTarget {
        PushTarget::parse(endpoint, PUBLIC_KEY, auth, Addresses::PublicOnly).unwrap()
    }

    #[test]
    fn what_a_browser_says_is_checked() {
        let parse = |endpoint: &str, key: &str, auth: &str| {
            PushTarget::parse(endpoint, key, auth, Addresses::PublicOnly).map(|_| ())
        };
        let good = "https://push.example/1";
        assert_eq!(parse(good, PUBLIC_KEY, AUTH), Ok(()));
        assert_eq!(
            parse(good, &format!("{PUBLIC_KEY}="), &format!("{AUTH}==")),
            Ok(())
        );
        let long = format!("https://push.example/{}", "a".repeat(ENDPOINT_BYTES_MAX));
        for bad in ["http://push.example/1", "https://127.0.0.1/", "push", &long] {
            assert_eq!(parse(bad, PUBLIC_KEY, AUTH), Err(TargetInvalid::Endpoint));
        }
        let off_the_curve = URL_SAFE_NO_PAD.encode([4; 65]);
        for bad in ["", AUTH, &off_the_curve, "!"] {
            assert_eq!(
                parse(good, bad, AUTH),
                Err(TargetInvalid::PublicKey),
                "{bad}"
            );
        }
        for bad in ["", "AAAA", PUBLIC_KEY] {
            assert_eq!(parse(good, PUBLIC_KEY, bad), Err(TargetInvalid::Auth));
        }
    }

    #[test]
    fn a_target_is_sealed_and_named() {
        let seal = TargetSeal::new(&Secret::new([1; 32])).unwrap();
        let one = target("https://push.example/1", AUTH);
        let sealed = seal.seal(&one).unwrap();
        assert_eq!(seal.open(&sealed), Some(one.clone()));
        assert!(!sealed.contains("push"));
        let other_keys = target("https://push.example/1", "AAAAAAAAAAAAAAAAAAAAAA");
        let other_place = target("https://push.example/2", AUTH);
        let user = UserId(uuid::Uuid::from_u128(1));
        assert_eq!(seal.name(user, &one), seal.name(user, &other_keys));
        assert_ne!(seal.name(user, &one), seal.name(user, &other_place));
        assert_ne!(seal.mark(&one), seal.mark(&other_keys));
        assert_eq!(format!("{one:?}"), "PushTarget(…)");
    }

    #[test]
    fn a_push_has_the_same_topic_again_and_a_length_that_says_little() {
        let push = |name: &[u8], text: &str| Push::new(name, Urgency::High, &text).unwrap();
        let one = push(b"1", "short");
        assert_eq!(one.topic, push(b"1", "a longer one").topic);
        assert_ne!(one.topic, push(b"2", "short").topic);
        assert_eq!(one.topic.len(), 32);
        assert_eq!(one.payload.len(), 256);
        assert_eq!(
            serde_json::from_str::<String>(&one.payload).unwrap(),
            "short"
        );
        let long = "a".repeat(PAYLOAD_BYTES_MAX);
        assert!(Push::new(b"1", Urgency::Normal, &long).is_err());
    }
}
