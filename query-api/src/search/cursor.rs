//! Where a page of a search ended. Clients give it back as it is.

use std::borrow::Cow;
use std::fmt;

use domain::Position;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Order, RANKED_MAX};

/// The end of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Of the newest first.
    Newest {
        /// The next page is of messages before this position.
        below: Position,
    },
    /// Of the most relevant first.
    Relevance {
        /// Those before this position are ranked.
        below: Position,
        /// How many of them were shown.
        skip: usize,
    },
}

impl Cursor {
    pub(super) const fn order(self) -> Order {
        match self {
            Self::Newest { .. } => Order::Newest,
            Self::Relevance { .. } => Order::Relevance,
        }
    }

    pub(super) const fn below(self) -> Position {
        match self {
            Self::Newest { below } | Self::Relevance { below, .. } => below,
        }
    }

    pub(super) const fn skip(self) -> usize {
        match self {
            Self::Newest { .. } => 0,
            Self::Relevance { skip, .. } => skip,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(below) = text.strip_prefix("n.") {
            let below = Position(below.parse().ok()?);
            return Some(Self::Newest { below });
        }
        let (below, skip) = text.strip_prefix("r.")?.split_once('.')?;
        let (below, skip) = (Position(below.parse().ok()?), skip.parse().ok()?);
        (skip <= RANKED_MAX).then_some(Self::Relevance { below, skip })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest { below } => write!(f, "n.{}", below.0),
            Self::Relevance { below, skip } => write!(f, "r.{}.{skip}", below.0),
        }
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("it is no cursor of a search"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let below = Position(17);
        for cursor in [
            Cursor::Newest { below },
            Cursor::Relevance { below, skip: 20 },
        ] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", "n.", "n.x", "n.-1", "r.1", "r.1.301", "x.1.1", "17"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
