//! `min_position`: up to where an answer must reach at least.

use std::borrow::Cow;

use domain::Position;
use serde::{Deserialize, Deserializer};

/// A position, as commands and reads answer it, or a cursor, as the gateway sends it: a client that
/// has just got an event asks for the state that includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinPosition(pub(crate) Position);

impl<'de> Deserialize<'de> for MinPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        // A cursor is a position and the tag of its user. Whose it is does not matter here: a
        // position is no permission.
        let position = text
            .split_once('.')
            .map_or(&*text, |(position, _)| position);
        let wrong = |_| serde::de::Error::custom("min_position is a position or a cursor");
        position.parse().map(Self).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use domain::Position;
    use serde::Deserialize as _;
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};

    use super::MinPosition;

    fn read(text: &str) -> Result<MinPosition, Error> {
        let text: StrDeserializer<'_, Error> = text.into_deserializer();
        MinPosition::deserialize(text)
    }

    #[test]
    fn a_position_and_a_cursor_are_taken_and_nothing_else() {
        assert_eq!(read("17").unwrap(), MinPosition(Position(17)));
        assert_eq!(read("17.h1pC22F_CkzW").unwrap(), MinPosition(Position(17)));
        for text in ["", ".", "x", "-1", "x.17"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
