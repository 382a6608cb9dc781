//! What a user prefers: settings of their clients, which mean nothing here, and a few that do.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::decide::Account;
use crate::user::event::{PreferencesChanged, UserEvent};
use crate::values::Invalid;

/// Namespace of the names of preferences.
const MARKS: Uuid = Uuid::from_u128(0x4c1f_90e2_7a35_5d86_b0c9_13e8_f24a_6d71);

/// A JSON object of settings. One that is known here is [`Preferences::DISCOVERABLE`]; all others
/// are the clients' own.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Preferences(Map<String, Value>);

impl fmt::Debug for Preferences {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Preferences({} keys)", self.0.len())
    }
}

impl Preferences {
    /// The longest, in bytes of JSON.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// The most keys.
    pub const KEYS_MAX: usize = 64;

    /// The longest key, in bytes.
    pub const KEY_BYTES_MAX: usize = 64;

    /// Whether the directory shows the user: true or false, true where it is absent.
    pub const DISCOVERABLE: &'static str = "discoverable";

    /// Checks what a client sends.
    ///
    /// # Errors
    /// The rule that is broken, and the key that breaks it, or none where it is the whole.
    pub fn parse(object: Map<String, Value>) -> Result<Self, (Option<String>, Invalid)> {
        let whole = |code, rule| Err((None, Invalid { code, rule }));
        if object.len() > Self::KEYS_MAX {
            return whole("too_many_keys", "preferences have at most 64 keys");
        }
        let is_key = |key: &str| (1..=Self::KEY_BYTES_MAX).contains(&key.len());
        if let Some(key) = object.keys().find(|key| !is_key(key)) {
            let rule = "a key has 1 to 64 bytes";
            let code = "invalid_key";
            return Err((Some(key.clone()), Invalid { code, rule }));
        }
        if object
            .get(Self::DISCOVERABLE)
            .is_some_and(|value| !value.is_boolean())
        {
            let code = "invalid";
            let rule = "discoverable is true or false";
            return Err((Some(Self::DISCOVERABLE.to_owned()), Invalid { code, rule }));
        }
        let preferences = Self(object);
        if preferences.text().len() > Self::BYTES_MAX {
            let rule = "preferences have at most 8192 bytes of JSON";
            return whole("preferences_too_large", rule);
        }
        Ok(preferences)
    }

    /// As JSON.
    pub fn text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Whether the directory shows the user.
    pub fn discoverable(&self) -> bool {
        self.0.get(Self::DISCOVERABLE) != Some(&Value::Bool(false))
    }

    /// A name for exactly these.
    pub(super) fn mark(&self) -> Uuid {
        Uuid::new_v5(&MARKS, self.text().as_bytes())
    }
}

impl Account {
    pub(super) fn change_preferences(
        &self,
        user: UserId,
        preferences: &Preferences,
    ) -> Vec<UserEvent> {
        if self.preferences == Some(preferences.mark()) {
            return vec![];
        }
        vec![UserEvent::PreferencesChanged(PreferencesChanged {
            preferences: Personal::new(user, preferences.clone()),
        })]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{ALICE, Given};
    use crate::user::testing::registered;
    use crate::user::{Command, User};

    fn parse(value: Value) -> Result<Preferences, (Option<String>, Invalid)> {
        match value {
            Value::Object(object) => Preferences::parse(object),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn preferences_are_bounded() {
        assert!(parse(json!({"theme": "dark", "sidebar": {"width": 240}})).is_ok());
        let many: Map<_, _> = (0..=Preferences::KEYS_MAX)
            .map(|number| (number.to_string(), json!(1)))
            .collect();
        let long = "k".repeat(Preferences::KEY_BYTES_MAX + 1);
        for (bad, key, code) in [
            (Value::Object(many), None, "too_many_keys"),
            (json!({"": 1}), Some(""), "invalid_key"),
            (json!({long.clone(): 1}), Some(long.as_str()), "invalid_key"),
            (
                json!({"a": "x".repeat(Preferences::BYTES_MAX)}),
                None,
                "preferences_too_large",
            ),
            (
                json!({"discoverable": "yes"}),
                Some("discoverable"),
                "invalid",
            ),
        ] {
            let (at, invalid) = parse(bad).expect_err(code);
            assert_eq!((at.as_deref(), invalid.code), (key, code));
        }
    }

    #[test]
    fn one_is_found_unless_one_says_no() {
        for (value, found) in [
            (json!({}), true),
            (json!({"discoverable": true}), true),
            (json!({"discoverable": false}), false),
        ] {
            assert_eq!(parse(value).expect("good").discoverable(), found);
        }
    }

    #[test]
    fn the_same_preferences_again_change_nothing() {
        let set = |value| Command::ChangePreferences {
            user: ALICE,
            preferences: parse(value).expect("good"),
        };
        let mut given = Given::<User>::history([registered(ALICE)]);
        for (value, count) in [
            (json!({"a": 1, "b": 2}), 1),
            (json!({"b": 2, "a": 1}), 0),
            (json!({"a": 1}), 1),
            (json!({}), 1),
            (json!({}), 0),
        ] {
            let events = given.accept(&set(value.clone()));
            assert_eq!(events.map(|events| events.len()), Ok(count), "{value}");
        }
    }
}
