//! Addresses under which whoever has them gets bytes, for a while: signed with a key of the server's, so
//! that nothing is kept of them and any process serves them.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::AttachmentId;
use subtle::ConstantTimeEq as _;

use super::Variant;
use crate::keys::{Secret, hex, keyed_hash};

/// Addresses end on the hour and at half past, so that the same one is given out for a while and
/// browsers keep what they got.
const STEP: TimeDelta = TimeDelta::minutes(30);

/// Signs addresses, and knows them again.
#[derive(Clone)]
pub struct BlobLinks {
    key: [u8; 32],
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// With its query.
    pub path: String,
    /// From this moment on it is worth nothing.
    pub expires_at: DateTime<Utc>,
}

impl BlobLinks {
    /// Signs with a key made of the server's secret.
    pub fn new(secret: &Secret) -> Self {
        Self {
            key: secret.derive("blob-links"),
        }
    }

    /// An address of a variant of `id`, good from half an hour to an hour from `now` on.
    pub fn link(&self, id: AttachmentId, variant: Variant, now: DateTime<Utc>) -> Link {
        let begun = now.duration_trunc(STEP).unwrap_or(now);
        let expires_at = begun + STEP + STEP;
        let signature = self.signature(id, variant, expires_at.timestamp());
        let (variant, expires) = (variant.as_str(), expires_at.timestamp());
        Link {
            path: format!("/v1/blobs/{id}/{variant}?expires={expires}&signature={signature}"),
            expires_at,
        }
    }

    /// Whether this signature was made here and is still good.
    pub fn is_good(
        &self,
        id: AttachmentId,
        variant: Variant,
        expires: i64,
        signature: &str,
        now: DateTime<Utc>,
    ) -> bool {
        let expected = self.signature(id, variant, expires);
        let is_ours: bool = expected.as_bytes().ct_eq(signature.as_bytes()).into();
        is_ours && now.timestamp() < expires
    }

    fn signature(&self, id: AttachmentId, variant: Variant, expires: i64) -> String {
        let signed = format!("{id}\n{}\n{expires}", variant.as_str());
        hex(&keyed_hash(&self.key, signed.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ID: AttachmentId = AttachmentId(Uuid::from_u128(7));

    #[test]
    fn an_address_is_good_for_what_it_was_made_for_and_ends() {
        let links = BlobLinks::new(&Secret::new([1; 32]));
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let link = links.link(ID, Variant::Original, now);
        let (_, query) = link.path.split_once("?expires=").unwrap();
        let (expires, signature) = query.split_once("&signature=").unwrap();
        let expires: i64 = expires.parse().unwrap();
        assert_eq!(expires, link.expires_at.timestamp());
        let left = link.expires_at - now;
        assert!(left > STEP && left <= STEP + STEP, "{left}");
        let good = |id, variant, expires, signature: &str, now| {
            links.is_good(id, variant, expires, signature, now)
        };
        let original = Variant::Original;
        assert!(good(ID, original, expires, signature, now));
        assert!(!good(ID, original, expires, signature, link.expires_at));
        assert!(!good(ID, Variant::Thumbnail, expires, signature, now));
        assert!(!good(ID, original, expires + 1, signature, now));
        assert!(!good(ID, original, expires, &signature[1..], now));
        let other = AttachmentId(Uuid::from_u128(8));
        assert!(!good(other, original, expires, signature, now));
        let elsewhere = BlobLinks::new(&Secret::new([2; 32]));
        assert!(!elsewhere.is_good(ID, original, expires, signature, now));
        let soon = links.link(ID, original, now + TimeDelta::seconds(1));
        assert_eq!(soon, link, "the same for a while");
    }
}
