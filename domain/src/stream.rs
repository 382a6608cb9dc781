//! Names of streams: `{category}-{key}`, or a category alone for a stream there is one of.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AttachmentId, ConversationId, EventId, ServiceId, SessionId, UserId};

/// The name of a stream. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(Arc<str>);

/// A stream name that is empty, longer than [`StreamName::BYTES_MAX`] or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream name has 1 to 200 bytes and no control characters")]
pub struct StreamNameInvalid;

impl StreamName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 200;

    /// Takes a name as it stands in a store.
    pub fn parse(name: &str) -> Result<Self, StreamNameInvalid> {
        let fits = !name.is_empty() && name.len() <= Self::BYTES_MAX;
        if fits && !name.chars().any(char::is_control) {
            Ok(Self(name.into()))
        } else {
            Err(StreamNameInvalid)
        }
    }

    fn of(category: &str, key: impl fmt::Display) -> Self {
        Self(format!("{category}-{key}").into())
    }

    /// Life cycle, members and messages of a conversation.
    pub fn conversation(id: ConversationId) -> Self {
        Self::of("conversation", id)
    }

    /// Delivered and seen marks in a conversation.
    pub fn receipts(id: ConversationId) -> Self {
        Self::of("receipts", id)
    }

    /// A user's account.
    pub fn user(id: UserId) -> Self {
        Self::of("user", id)
    }

    /// A login.
    pub fn session(id: SessionId) -> Self {
        Self::of("session", id)
    }

    /// A service account.
    pub fn service(id: ServiceId) -> Self {
        Self::of("service", id)
    }

    /// A file that somebody uploaded.
    pub fn attachment(id: AttachmentId) -> Self {
        Self::of("attachment", id)
    }

    /// Who holds a handle; `digest` is the HMAC of the handle in lower-case hex.
    pub fn handle(digest: &str) -> Self {
        Self::of("handle", digest)
    }

    /// Who holds an e-mail address; `digest` is the HMAC of the address in lower-case hex.
    pub fn email(digest: &str) -> Self {
        Self::of("email", digest)
    }

    /// Whose account an identity of an issuer is; `digest` is the HMAC of the issuer and its subject in
    /// lower-case hex.
    pub fn identity(digest: &str) -> Self {
        Self::of("identity", digest)
    }

    /// What became of the mail that an event asked for.
    pub fn mail(asked_by: EventId) -> Self {
        Self::of("mail", asked_by)
    }

    /// Who claimed to own the server: a reservation that is made once.
    pub fn owner() -> Self {
        Self("owner".into())
    }

    /// Who the owners of the server are.
    pub fn owners() -> Self {
        Self("owners".into())
    }

    /// What auditors did.
    pub fn audit() -> Self {
        Self("audit".into())
    }

    /// The part before the first `-`.
    pub fn category(&self) -> &str {
        self.0
            .split_once('-')
            .map_or(&*self.0, |(category, _)| category)
    }

    /// The part after the first `-`; empty for a stream there is one of.
    pub fn key(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, key)| key)
    }

    /// The conversation that this stream belongs to: its own or its receipts.
    pub fn conversation_id(&self) -> Option<ConversationId> {
        match self.category() {
            "conversation" | "receipts" => self.key().parse().ok(),
            _ => None,
        }
    }

    /// Whether it is named as one of ours: what the functions above make. Nothing but our own events is
    /// expected in such a stream.
    pub fn is_of_domain(&self) -> bool {
        let key = self.key();
        match self.category() {
            "conversation" | "receipts" => key.parse::<ConversationId>().is_ok(),
            "user" => key.parse::<UserId>().is_ok(),
            "session" => key.parse::<SessionId>().is_ok(),
            "attachment" => key.parse::<AttachmentId>().is_ok(),
            "service" => key.parse::<ServiceId>().is_ok(),
            "mail" => key.parse::<EventId>().is_ok(),
            "handle" | "email" | "identity" => {
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
            "owner" | "owners" | "audit" => key.is_empty(),
            _ => false,
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "StreamName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_has_a_category_and_a_key() {
        let conversation = ConversationId(Uuid::from_u128(7));
        for (name, category) in [
            (StreamName::conversation(conversation), "conversation"),
            (StreamName::receipts(conversation), "receipts"),
        ] {
            assert_eq!(name.category(), category);
            assert_eq!(name.key(), conversation.to_string());
            assert_eq!(name.conversation_id(), Some(conversation));
            assert_eq!(StreamName::parse(name.as_str()), Ok(name));
        }
        let user = StreamName::user(UserId(conversation.0));
        assert_eq!(user.conversation_id(), None);
        assert_eq!(
            (StreamName::audit().category(), StreamName::audit().key()),
            ("audit", "")
        );
    }

    #[test]
    fn our_streams_are_told_from_others_by_name() {
        let id = Uuid::from_u128(7);
        for ours in [
            StreamName::conversation(ConversationId(id)),
            StreamName::receipts(ConversationId(id)),
            StreamName::user(UserId(id)),
            StreamName::session(SessionId(id)),
            StreamName::service(ServiceId(id)),
            StreamName::attachment(AttachmentId(id)),
            StreamName::mail(EventId(id)),
            StreamName::handle("00ff"),
            StreamName::email("00ff"),
            StreamName::identity("00ff"),
            StreamName::owner(),
            StreamName::owners(),
            StreamName::audit(),
        ] {
            assert!(ours.is_of_domain(), "{ours}");
        }
        for other in ["conversation-x", "order-1", "handle-", "audit-1", "$$audit"] {
            assert!(!StreamName::parse(other).unwrap().is_of_domain(), "{other}");
        }
    }

    #[test]
    fn names_are_bounded_and_hold_no_control_characters() {
        assert!(StreamName::parse(&"a".repeat(StreamName::BYTES_MAX)).is_ok());
        let too_long = "a".repeat(StreamName::BYTES_MAX + 1);
        for bad in ["", "a\nb", "a\0", &too_long] {
            assert_eq!(StreamName::parse(bad), Err(StreamNameInvalid), "{bad:?}");
        }
    }
}
