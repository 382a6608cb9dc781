//! What the tests of an account begin with.

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::event::{Registered, UserEvent};
use crate::values::{DisplayName, Handle};

/// `user` has an account.
pub(crate) fn registered(user: UserId) -> UserEvent {
    UserEvent::Registered(Registered {
        email: None,
        display_name: Personal::new(user, DisplayName::parse("Alice").expect("a good name")),
        handle: Handle::parse("alice").expect("a good handle"),
        imported_from: None,
    })
}
