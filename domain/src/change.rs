//! What a change does to one field that may be empty: nothing, empty it, or fill it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A change of a field. In JSON a field that is absent is kept, `null` clears it and anything else
/// is the new value: mark it `#[serde(default, skip_serializing_if = "Change::is_keep")]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is empty from now on.
    Clear,
    /// It is this from now on.
    Set(T),
}

impl<T> Change<T> {
    /// Whether it changes nothing.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The same change of another type.
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(into(value)),
        }
    }

    /// The same change of another type, where every value can be one.
    ///
    /// # Errors
    /// What `into` refuses.
    pub fn try_map<U, E>(self, into: impl FnOnce(T) -> Result<U, E>) -> Result<Change<U>, E> {
        Ok(match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(into(value)?),
        })
    }

    /// What the field is after this change, where it was `before`.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: PartialEq> Change<T> {
    /// The change without what is so already: [`Change::Keep`] where the field is `now` what it
    /// would become.
    #[must_use]
    pub fn unless(self, now: Option<&T>) -> Self {
        let same = match &self {
            Self::Keep => true,
            Self::Clear => now.is_none(),
            Self::Set(value) => now == Some(value),
        };
        if same { Self::Keep } else { self }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Clear, Self::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Asked {
        #[serde(default, skip_serializing_if = "Change::is_keep")]
        name: Change<String>,
    }

    #[test]
    fn absent_keeps_null_clears_and_a_value_sets() {
        for (text, name) in [
            ("{}", Change::Keep),
            (r#"{"name":null}"#, Change::Clear),
            (r#"{"name":"a"}"#, Change::Set("a".to_owned())),
        ] {
            let asked: Asked = serde_json::from_str(text).expect(text);
            assert_eq!(asked, Asked { name });
            assert_eq!(serde_json::to_string(&asked).expect(text), text);
        }
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        assert_eq!(Change::Set(1).unless(Some(&1)), Change::Keep);
        assert_eq!(Change::Set(1).unless(Some(&2)), Change::Set(1));
        assert_eq!(Change::Set(1).unless(None), Change::Set(1));
        assert_eq!(Change::<u8>::Clear.unless(None), Change::Keep);
        assert_eq!(Change::Clear.unless(Some(&1)), Change::Clear);
    }

    #[test]
    fn a_change_says_what_comes_of_a_field() {
        assert_eq!(Change::Keep.apply(Some(1)), Some(1));
        assert_eq!(Change::Clear.apply(Some(1)), None);
        assert_eq!(Change::Set(2).apply(Some(1)), Some(2));
    }
}
