//! Identifiers and places in the log, one type per meaning. Nothing here makes an id: ids arrive
//! from outside, inside commands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// A user account.
    UserId
);
uuid_id!(
    /// A login of one user on one device.
    SessionId
);
uuid_id!(
    /// A direct or group conversation.
    ConversationId
);
uuid_id!(
    /// A service account: a program that comes in with a token of its own.
    ServiceId
);
uuid_id!(
    /// A file that somebody uploads, from when they begin.
    AttachmentId
);
uuid_id!(
    /// A passkey of a user.
    PasskeyId
);
uuid_id!(
    /// An accepted or refused request to change something; its retries carry the same id.
    CommandId
);
uuid_id!(
    /// One stored event: `UUIDv5(command id, index of the event in the command)`.
    EventId
);

/// Namespace for the ids that are derived from other ids.
const DERIVED: Uuid = Uuid::from_u128(0x6f0d_2c1e_93a4_5b7d_8a21_0c54_7be3_1f90);

impl EventId {
    /// The id of the `index`-th event (from 0) that `command` makes.
    pub fn of(command: CommandId, index: usize) -> Self {
        Self(Uuid::new_v5(&command.0, &(index as u64).to_be_bytes()))
    }
}

impl CommandId {
    /// The id of the command that `user` names with `key` (an `Idempotency-Key` or a frame's `id`).
    /// Keys of different users never meet.
    pub fn of(user: UserId, key: &str) -> Self {
        Self(Uuid::new_v5(&user.0, key.as_bytes()))
    }

    /// A command made in the course of this one, told apart from its siblings by `part`.
    #[must_use]
    pub fn derive(self, part: &str) -> Self {
        Self(Uuid::new_v5(&self.0, part.as_bytes()))
    }
}

impl AttachmentId {
    /// The attachment that the command `command` begins to upload: a retry goes on with the same one.
    pub fn begun_by(command: CommandId) -> Self {
        Self(Uuid::new_v5(&command.0, b"attachment"))
    }

    /// The command that records of it what `part` names; it is recorded once.
    pub fn command(self, part: &str) -> CommandId {
        CommandId(self.0).derive(part)
    }
}

impl PasskeyId {
    /// The passkey that the command `command` adds: a retry adds the same one.
    pub fn added_by(command: CommandId) -> Self {
        Self(Uuid::new_v5(&command.0, b"passkey"))
    }
}

impl ServiceId {
    /// The service that the command `command` creates: a retry creates the same one.
    pub fn created_by(command: CommandId) -> Self {
        Self(Uuid::new_v5(&command.0, b"service"))
    }

    /// The account of the service, where it has one: a bot acts as a user of its own.
    pub fn account(self) -> UserId {
        UserId(Uuid::new_v5(&self.0, b"account"))
    }
}

impl ConversationId {
    /// The one direct conversation of two users, whichever of them asks.
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        let mut name = [0; 32];
        name[..16].copy_from_slice(low.0.as_bytes());
        name[16..].copy_from_slice(high.0.as_bytes());
        Self(Uuid::new_v5(&DERIVED, &name))
    }

    /// The conversation that the command `command` starts: a retry starts the same one.
    pub fn started_by(command: CommandId) -> Self {
        Self(Uuid::new_v5(&command.0, b"conversation"))
    }
}

macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = u64)]
        pub struct $name(pub u64);

        impl $name {
            /// Before everything.
            pub const ZERO: Self = Self(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

place!(
    /// Place of an event in the one total order of the log. Positions only grow; they may have
    /// gaps, so nobody does arithmetic on them. 0 is before the first event.
    Position
);
place!(
    /// Place of an event in its stream, from 1 without gaps. 0 means "no such stream".
    Version
);

impl Version {
    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version `count` events later.
    #[must_use]
    pub const fn plus(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }
}

/// How clients name a message and every other event of a conversation: the version of the event in
/// the conversation's stream.
pub type Seq = Version;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_users_have_one_direct_conversation(one: u128, other: u128, third: u128) {
            let [one, other, third] = [one, other, third].map(|id| UserId(Uuid::from_u128(id)));
            let direct = ConversationId::direct(one, other);
            prop_assert_eq!(direct, ConversationId::direct(other, one));
            if third != other {
                prop_assert_ne!(direct, ConversationId::direct(one, third));
            }
        }

        #[test]
        fn ids_are_read_as_they_are_written(id: u128, place: u64) {
            let user = UserId(Uuid::from_u128(id));
            prop_assert_eq!(user.to_string().parse::<UserId>(), Ok(user));
            let version = Version(place);
            prop_assert_eq!(version.to_string().parse::<Version>(), Ok(version));
        }
    }

    /// These stand in every log: they never change.
    #[test]
    fn derived_ids_are_the_same_for_ever() {
        let [one, other] = [1, 2].map(|id| UserId(Uuid::from_u128(id)));
        let command = CommandId::of(one, "key");
        let derived = [
            command.0,
            command.derive("part").0,
            EventId::of(command, 0).0,
            EventId::of(command, 1).0,
            ConversationId::direct(one, other).0,
            ConversationId::started_by(command).0,
        ];
        let expected = [
            "06102ad7-b6a0-54ff-b554-04ac859a96d3",
            "25e3b958-31ad-59d6-8fa5-b6fc0776e6d9",
            "c9ec9587-6729-5bf1-82f0-0d26b70fe10c",
            "d0855680-204a-58de-ae78-3eeb0d5d5493",
            "12d40bd6-eee6-5700-8078-a648636397d4",
            "1508adc3-4605-561d-a0bf-a41c47df3b39",
        ];
        assert_eq!(derived.map(|id| id.to_string()).to_vec(), expected);
        assert_eq!(BTreeSet::from(derived).len(), derived.len());
    }

    #[test]
    fn the_same_key_of_two_users_names_two_commands() {
        let [one, other] = [1, 2].map(|id| UserId(Uuid::from_u128(id)));
        assert_ne!(CommandId::of(one, "key"), CommandId::of(other, "key"));
    }
}
