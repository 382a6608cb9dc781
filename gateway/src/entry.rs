//! A committed event as it is sent: encoded once, shared by all who get it.

use std::sync::Arc;

use bytes::Bytes;
use domain::conversation::ConversationEvent;
use domain::{ConversationId, Event, Position, UserId};
use infra::event_store::RecordedEvent;
use serde_json::Value;

use crate::cursor::CursorTag;
use crate::frames::{EventFrame, ResetReason, ServerFrame};

/// An event of a conversation or of its receipts.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) conversation: ConversationId,
    pub(crate) change: MembersChange,
    only_for: OnlyFor,
    /// The frame up to the value of `cursor`, which differs from user to user.
    head: String,
}

/// Who in the conversation learns of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnlyFor {
    Everybody,
    User(UserId),
    /// Perhaps it is for one alone, and it cannot be read for whom.
    Nobody,
}

/// What an event does to who is in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MembersChange {
    Nobody,
    In(Vec<UserId>),
    Out(UserId, ResetReason),
}

impl Entry {
    /// Encodes `recorded`; `None` where it is of no conversation.
    pub(crate) fn encode(recorded: &RecordedEvent) -> Option<Self> {
        let conversation = recorded.stream.conversation_id()?;
        let (change, only_for, data) = match recorded.event() {
            Ok(event) => (change_of(&event), only_for(&event), newest_data(&event)),
            Err(error) => {
                // Written by a newer version of the program: clients may know it though we do not.
                tracing::warn!(position = %recorded.position, %error, "sent as it is stored");
                let only_for = match recorded.stream.category() {
                    "receipts" => OnlyFor::Nobody,
                    _ => OnlyFor::Everybody,
                };
                (MembersChange::Nobody, only_for, recorded.data.clone())
            }
        };
        let metadata = recorded.metadata();
        if let Err(error) = &metadata {
            tracing::error!(position = %recorded.position, %error, "metadata cannot be read");
        }
        let metadata = metadata.ok();
        let frame = ServerFrame::Event(EventFrame {
            conversation,
            seq: recorded.version,
            event_type: recorded.event_type.as_ref().to_owned(),
            actor: metadata.as_ref().map(|metadata| metadata.actor),
            at: metadata
                .as_ref()
                .and_then(|metadata| metadata.occurred_at)
                .unwrap_or(recorded.recorded_at),
            traceparent: metadata.and_then(|metadata| metadata.traceparent),
            data: serde_json::from_slice(&data).map_or(Value::Null, shown),
            cursor: String::new(),
        });
        let mut head = encode(&frame);
        // Reopens the object for its last field.
        head.pop();
        head.push_str(",\"cursor\":\"");
        Some(Self {
            position: recorded.position,
            conversation,
            change,
            only_for,
            head,
        })
    }

    /// The whole frame for the user of `tag`, with the cursor of `position`.
    pub(crate) fn frame(&self, position: Position, tag: &CursorTag) -> String {
        use std::fmt::Write as _;
        let mut frame = String::with_capacity(self.head.len() + tag.as_str().len() + 24);
        frame.push_str(&self.head);
        // Writing to a string cannot fail.
        let _ = write!(frame, "{position}.{}\"}}", tag.as_str());
        frame
    }

    /// What it takes to keep it.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.head.len()
    }

    /// Whether `user`, who is in the conversation, learns of it.
    pub(crate) fn is_for(&self, user: UserId) -> bool {
        match self.only_for {
            OnlyFor::Everybody => true,
            OnlyFor::User(only) => only == user,
            OnlyFor::Nobody => false,
        }
    }

    /// Whether it takes `user` in.
    pub(crate) fn takes_in(&self, user: UserId) -> bool {
        matches!(&self.change, MembersChange::In(users) if users.contains(&user))
    }

    /// Why `user` is out after it, if they are.
    pub(crate) fn puts_out(&self, user: UserId) -> Option<ResetReason> {
        match self.change {
            MembersChange::Out(out, reason) if out == user => Some(reason),
            MembersChange::Out(..) | MembersChange::In(_) | MembersChange::Nobody => None,
        }
    }
}

/// `frame` as JSON.
pub(crate) fn encode(frame: &ServerFrame) -> String {
    serde_json::to_string(frame).unwrap_or_else(|error| {
        // No frame has anything that JSON cannot say.
        tracing::error!(%error, "a frame cannot be encoded");
        String::from("{}")
    })
}

fn newest_data(event: &Event) -> Bytes {
    event.encode().map_or_else(
        |error| {
            tracing::error!(%error, "an event cannot be encoded");
            Bytes::from_static(b"null")
        },
        Bytes::from,
    )
}

fn only_for(event: &Event) -> OnlyFor {
    match event {
        Event::Receipts(event) => event.only_for().map_or(OnlyFor::Everybody, OnlyFor::User),
        Event::Conversation(_)
        | Event::User(_)
        | Event::Session(_)
        | Event::Service(_)
        | Event::Owners(_)
        | Event::Space(_)
        | Event::Reservation(_)
        | Event::Attachment(_)
        | Event::Mail(_)
        | Event::Notifications(_)
        | Event::Pushes(_)
        | Event::Audit(_) => OnlyFor::Everybody,
    }
}

fn change_of(event: &Event) -> MembersChange {
    let Event::Conversation(event) = event else {
        return MembersChange::Nobody;
    };
    match event {
        ConversationEvent::Started(started) => {
            MembersChange::In(started.members.iter().map(|member| member.user).collect())
        }
        ConversationEvent::MemberAdded(added) => MembersChange::In(vec![added.user]),
        ConversationEvent::MemberRemoved(removed) => {
            MembersChange::Out(removed.user, ResetReason::Removed)
        }
        ConversationEvent::MemberLeft(left) => MembersChange::Out(left.user, ResetReason::Left),
        ConversationEvent::Renamed(_)
        | ConversationEvent::SettingsChanged(_)
        | ConversationEvent::MemberRoleChanged(_)
        | ConversationEvent::MessageSent(_)
        | ConversationEvent::MessageEdited(_)
        | ConversationEvent::MessageDeleted(_)
        | ConversationEvent::ReactionAdded(_)
        | ConversationEvent::ReactionRemoved(_)
        | ConversationEvent::MessagePinned(_)
        | ConversationEvent::MessageUnpinned(_)
        | ConversationEvent::ThreadFollowed(_)
        | ConversationEvent::ThreadUnfollowed(_)
        | ConversationEvent::Archived(_)
        | ConversationEvent::Unarchived(_)
        | ConversationEvent::SpaceFollowed(_) => MembersChange::Nobody,
    }
}

/// What all who follow the conversation may see of an event's data. Where a forwarded message comes
/// from is not for all of them.
fn shown(data: Value) -> Value {
    let mut shown = without_owners(data);
    if let Some(origin) = shown.get_mut("origin") {
        *origin = Value::Object(serde_json::Map::new());
    }
    shown
}

/// Replaces every `{"of": …, "value": …}`, which is how personal data is stored, by its value.
fn without_owners(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            if fields.len() == 2
                && fields.contains_key("of")
                && let Some(inner) = fields.remove("value")
            {
                return without_owners(inner);
            }
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name, without_owners(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_owners).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// What is sent: an entry with the position that its cursor has, or any other frame.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Event(Arc<Entry>, Position),
    Frame(ServerFrame),
}

impl Outgoing {
    /// The frame as JSON.
    pub(crate) fn render(&self, tag: &CursorTag) -> String {
        match self {
            Self::Event(entry, position) => entry.frame(*position, tag),
            Self::Frame(frame) => encode(frame),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use domain::{ConversationId, Position, StreamName, UserId};
    use infra::event_store::{FOREIGN_BYTES, FOREIGN_JSON, RecordedEvent};
    use serde_json::json;
    use uuid::Uuid;

    use super::{Entry, MembersChange, OnlyFor, shown, without_owners};

    /// An entry that is only somewhere.
    pub(crate) fn entry_at(position: u64) -> Entry {
        Entry {
            position: Position(position),
            conversation: ConversationId(Uuid::nil()),
            change: MembersChange::Nobody,
            only_for: OnlyFor::Everybody,
            head: String::from("{\"cursor\":\""),
        }
    }

    #[test]
    fn where_a_forwarded_message_comes_from_is_not_sent() {
        let personal = json!({"of": Uuid::nil(), "value": "tea?"});
        let data = json!({"body": personal, "origin": {"conversation": Uuid::nil(), "message": 2}});
        assert_eq!(shown(data), json!({"body": "tea?", "origin": {}}));
    }

    #[test]
    fn an_event_of_another_program_is_sent_as_far_as_it_is_json() {
        for (schema, data, shown) in [
            (FOREIGN_JSON, &b"{\"a\":1}"[..], json!({"a": 1})),
            (FOREIGN_JSON, b"no JSON", json!(null)),
            (FOREIGN_BYTES, b"\xff", json!(null)),
        ] {
            let recorded = RecordedEvent {
                position: Position(7),
                stream: StreamName::conversation(ConversationId(Uuid::nil())),
                version: domain::Version(3),
                id: domain::EventId(Uuid::nil()),
                event_type: "noted".into(),
                schema,
                data: data.to_vec().into(),
                metadata: bytes::Bytes::new(),
                recorded_at: chrono::DateTime::UNIX_EPOCH,
            };
            let entry = Entry::encode(&recorded).unwrap();
            assert_eq!(entry.change, MembersChange::Nobody);
            let frame = format!("{}\"}}", entry.head);
            let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
            assert_eq!((&frame["type"], &frame["data"]), (&json!("noted"), &shown));
            assert_eq!(frame["seq"], 3);
            let anybody = UserId(Uuid::nil());
            assert!(entry.is_for(anybody));
            let elsewhere = RecordedEvent {
                stream: StreamName::parse("conversation-x").unwrap(),
                ..recorded.clone()
            };
            assert!(Entry::encode(&elsewhere).is_none());
            // Of a mark that cannot be read it is not known that it is for all.
            let receipts = RecordedEvent {
                stream: StreamName::receipts(ConversationId(Uuid::nil())),
                ..recorded
            };
            assert!(!Entry::encode(&receipts).unwrap().is_for(anybody));
        }
    }

    #[test]
    fn personal_data_is_sent_without_saying_whose_it_is() {
        let of = UserId(Uuid::nil());
        let stored = json!({"author": of, "body": {"of": of, "value": "Hi"}, "list": [{"of": of}]});
        let sent = json!({"author": of, "body": "Hi", "list": [{"of": of}]});
        assert_eq!(without_owners(stored), sent);
    }
}
