//! Every event there is, and the one codec between events and what a store keeps.
//!
//! A stored event is a type name, a schema number, `data` (the fact) and `metadata` (who, by which
//! command). Type names are constants, never Rust names. An old schema is read for ever: decoding
//! lifts it to the newest shape.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::attachment::AttachmentEvent;
use crate::audit::AuditEvent;
use crate::conversation::ConversationEvent;
use crate::ids::{CommandId, ServiceId, UserId};
use crate::mail::MailEvent;
use crate::owners::OwnersEvent;
use crate::receipts::ReceiptsEvent;
use crate::reservation::ReservationEvent;
use crate::service::ServiceEvent;
use crate::session::SessionEvent;
use crate::user::UserEvent;

/// A stored event that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No event of this name and schema is known to this version of the program.
    #[error("unknown event type {event_type} with schema {schema}")]
    Unknown {
        /// The stored type.
        event_type: String,
        /// The stored schema.
        schema: u16,
    },
    /// The type is known, but the data does not have its shape.
    #[error("data of {event_type} with schema {schema} cannot be read: {source}")]
    Malformed {
        /// The stored type.
        event_type: String,
        /// The stored schema.
        schema: u16,
        /// What is wrong with the JSON.
        source: serde_json::Error,
    },
}

/// Declares the events of one category: the enum, each event's stored type and newest schema, and
/// their decoding. A variant holds one struct, which is the stored `data`.
macro_rules! events {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $event_type:literal => $variant:ident($data:ty) ),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant($data), )+
        }

        impl $name {
            /// The stored types of this category, in the order of the catalogue.
            pub const TYPES: &'static [&'static str] = &[$($event_type),+];

            /// The stored type of this event.
            pub fn event_type(&self) -> &'static str {
                match self { $( Self::$variant(_) => $event_type, )+ }
            }

            /// The newest schema of this event's data, in which it is written.
            pub fn schema(&self) -> u16 {
                match self { $( Self::$variant(_) => 1, )+ }
            }

            pub(crate) fn encode_data(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self { $( Self::$variant(data) => serde_json::to_vec(data), )+ }
            }

            pub(crate) fn decode_data(
                event_type: &str,
                schema: u16,
                data: &[u8],
            ) -> Option<Result<Self, serde_json::Error>> {
                match (event_type, schema) {
                    $( ($event_type, 1) => Some(serde_json::from_slice(data).map(Self::$variant)), )+
                    _ => None,
                }
            }
        }

        impl From<$name> for $crate::event::Event {
            fn from(event: $name) -> Self {
                Self::from_category(event)
            }
        }
    };
}
pub(crate) use events;

macro_rules! categories {
    ($( $(#[$doc:meta])* $variant:ident($category:ty) ),+ $(,)?) => {
        /// One event of any category.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $( $(#[$doc])* $variant($category), )+
        }

        $(
            impl FromCategory<$category> for Event {
                fn from_category(event: $category) -> Self { Self::$variant(event) }
            }

            impl TryFrom<Event> for $category {
                /// The event, which is of another category.
                type Error = Event;

                fn try_from(event: Event) -> Result<Self, Event> {
                    match event { Event::$variant(event) => Ok(event), other => Err(other) }
                }
            }
        )+

        impl Event {
            /// Every stored type.
            pub fn types() -> impl Iterator<Item = &'static str> {
                [$(<$category>::TYPES),+].into_iter().flatten().copied()
            }

            /// The stored type of this event.
            pub fn event_type(&self) -> &'static str {
                match self { $( Self::$variant(event) => event.event_type(), )+ }
            }

            /// The schema in which this event is written.
            pub fn schema(&self) -> u16 {
                match self { $( Self::$variant(event) => event.schema(), )+ }
            }

            /// The stored `data`: JSON in UTF-8.
            ///
            /// # Errors
            /// Only when a value refuses to be written as JSON, which none of ours does.
            pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self { $( Self::$variant(event) => event.encode_data(), )+ }
            }

            /// Reads stored `data` of any schema there has ever been.
            pub fn decode(event_type: &str, schema: u16, data: &[u8]) -> Result<Self, DecodeError> {
                $(
                    if let Some(decoded) = <$category>::decode_data(event_type, schema, data) {
                        return decoded.map(Self::$variant).map_err(|source| DecodeError::Malformed {
                            event_type: event_type.to_owned(),
                            schema,
                            source,
                        });
                    }
                )+
                Err(DecodeError::Unknown { event_type: event_type.to_owned(), schema })
            }
        }
    };
}

/// Lets [`events!`] lift a category into [`Event`] without knowing the variant.
pub(crate) trait FromCategory<C> {
    fn from_category(event: C) -> Self;
}

categories! {
    /// Life cycle, members and messages of a conversation.
    Conversation(ConversationEvent),
    /// Delivered and seen marks.
    Receipts(ReceiptsEvent),
    /// An account.
    User(UserEvent),
    /// A login.
    Session(SessionEvent),
    /// A service account.
    Service(ServiceEvent),
    /// Who owns the server.
    Owners(OwnersEvent),
    /// A handle, an address or an identity that only one may hold.
    Reservation(ReservationEvent),
    /// A file that somebody uploaded.
    Attachment(AttachmentEvent),
    /// What became of a mail.
    Mail(MailEvent),
    /// What auditors did.
    Audit(AuditEvent),
}

/// Who caused an event. Stored as text: `user:{id}`, `service:{id}`, `operator` or
/// `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A user, through an API.
    User(UserId),
    /// A service that acts as no user, with its token.
    Service(ServiceId),
    /// Whoever holds the data folder, through the command line.
    Operator,
    /// The server itself.
    System,
}

impl Actor {
    /// The user, where it was one.
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Service(_) | Self::Operator | Self::System => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(out, "user:{user}"),
            Self::Service(service) => write!(out, "service:{service}"),
            Self::Operator => out.write_str("operator"),
            Self::System => out.write_str("system"),
        }
    }
}

/// Text that names no actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor is user:{{id}}, service:{{id}}, operator or system")]
pub struct ActorInvalid;

impl FromStr for Actor {
    type Err = ActorInvalid;

    fn from_str(text: &str) -> Result<Self, ActorInvalid> {
        match text {
            "operator" => Ok(Self::Operator),
            "system" => Ok(Self::System),
            _ => {
                let (kind, id) = text.split_once(':').ok_or(ActorInvalid)?;
                let id = id.parse().map_err(|_| ActorInvalid)?;
                match kind {
                    "user" => Ok(Self::User(UserId(id))),
                    "service" => Ok(Self::Service(ServiceId(id))),
                    _ => Err(ActorInvalid),
                }
            }
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The stored `metadata` of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who caused it.
    pub actor: Actor,
    /// The command that made it.
    pub command_id: CommandId,
    /// First 16 bytes of the SHA-256 of the command's body, in hex: tells a retry from another
    /// command under the same id.
    pub command_hash: String,
    /// What belongs together, across commands: the first command's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CommandId>,
    /// The command of which this command is a consequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<CommandId>,
    /// W3C Trace Context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it happened, where that is not when it was recorded: imported history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::{ALICE, moment};

    #[test]
    fn actors_are_read_as_they_are_written() {
        for (actor, text) in [
            (
                Actor::User(UserId(Uuid::nil())),
                "user:00000000-0000-0000-0000-000000000000",
            ),
            (
                Actor::Service(ServiceId(Uuid::nil())),
                "service:00000000-0000-0000-0000-000000000000",
            ),
            (Actor::Operator, "operator"),
            (Actor::System, "system"),
        ] {
            assert_eq!(actor.to_string(), text);
            assert_eq!(text.parse(), Ok(actor));
        }
        for bad in [
            "", "user:", "user", "user:me", "service:", "bot:1", "Operator",
        ] {
            assert_eq!(bad.parse::<Actor>(), Err(ActorInvalid), "{bad:?}");
        }
    }

    #[test]
    fn metadata_is_stored_without_what_is_not_known() {
        let metadata = Metadata {
            actor: Actor::User(ALICE),
            command_id: CommandId(Uuid::nil()),
            command_hash: "00".to_owned(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: Some(moment(0)),
        };
        let stored = serde_json::to_string(&metadata).expect("it is JSON");
        let expected = concat!(
            r#"{"actor":"user:00000000-0000-0000-0000-0000000a11ce","#,
            r#""command_id":"00000000-0000-0000-0000-000000000000","#,
            r#""command_hash":"00","occurred_at":"2023-11-14T22:13:20Z"}"#
        );
        assert_eq!(stored, expected);
        let read: Metadata = serde_json::from_str(&stored).expect("it is metadata");
        assert_eq!(read, metadata);
    }
}
