//! Data about a person, marked as such wherever it is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// A value that belongs to a person. It is stored as `{"of": user id, "value": …}`, so that one
/// place, the event codec, can seal it with that person's key. `Debug` shows whose, never what.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal<T> {
    /// Whose.
    pub of: UserId,
    /// What.
    pub value: T,
}

impl<T> Personal<T> {
    /// Marks `value` as belonging to `of`.
    pub const fn new(of: UserId, value: T) -> Self {
        Self { of, value }
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Personal(of {})", self.of)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_says_whose_it_is_when_stored_and_nothing_more_in_logs() {
        let secret = Personal::new(UserId(Uuid::from_u128(1)), "secret");
        let stored = serde_json::to_string(&secret).expect("it is JSON");
        assert_eq!(
            stored,
            r#"{"of":"00000000-0000-0000-0000-000000000001","value":"secret"}"#
        );
        assert_eq!(
            format!("{secret:?}"),
            "Personal(of 00000000-0000-0000-0000-000000000001)"
        );
    }
}
