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
