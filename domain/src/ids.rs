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
