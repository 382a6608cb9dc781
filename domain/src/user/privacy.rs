//! What others learn of what a user does: what they have seen, and when they were here last.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::user::decide::Account;
use crate::user::event::{PrivacyChanged, UserEvent};

/// Who learns something.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ShownTo {
    /// Everybody with whom the user shares a conversation.
    #[default]
    Everyone,
    /// Nobody.
    Nobody,
}

/// What a user lets others learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Privacy {
    /// What they have seen. It holds for marks that are made from now on.
    pub seen: ShownTo,
    /// When they were here last.
    pub last_seen: ShownTo,
}

/// What becomes different about it; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrivacyDraft {
    /// What they have seen.
    pub seen: Option<ShownTo>,
    /// When they were here last.
    pub last_seen: Option<ShownTo>,
}

impl Account {
    /// Only what is not so already is stored.
    pub(super) fn change_privacy(&self, draft: PrivacyDraft) -> Vec<UserEvent> {
        let Privacy { seen, last_seen } = self.privacy;
        let changed = PrivacyChanged {
            seen: draft.seen.filter(|shown| *shown != seen),
            last_seen: draft.last_seen.filter(|shown| *shown != last_seen),
        };
        if changed == PrivacyChanged::default() {
            return vec![];
        }
        vec![UserEvent::PrivacyChanged(changed)]
    }
}

impl Privacy {
    pub(super) fn changed(&mut self, changed: &PrivacyChanged) {
        let PrivacyChanged { seen, last_seen } = *changed;
        self.seen = seen.unwrap_or(self.seen);
        self.last_seen = last_seen.unwrap_or(self.last_seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given};
    use crate::user::testing::registered;
    use crate::user::{Command, User};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(std::iter::once(registered(ALICE)).chain(history))
    }

    fn changed(seen: Option<ShownTo>, last_seen: Option<ShownTo>) -> UserEvent {
        UserEvent::PrivacyChanged(PrivacyChanged { seen, last_seen })
    }

    const fn ask(seen: Option<ShownTo>, last_seen: Option<ShownTo>) -> Command {
        Command::ChangePrivacy(PrivacyDraft { seen, last_seen })
    }

    const EVERYONE: Option<ShownTo> = Some(ShownTo::Everyone);
    const NOBODY: Option<ShownTo> = Some(ShownTo::Nobody);

    #[test]
    fn everybody_learns_everything_until_one_says_otherwise() {
        given([]).when(ask(EVERYONE, EVERYONE)).then([]);
        let state = given([])
            .when(ask(NOBODY, EVERYONE))
            .then([changed(NOBODY, None)]);
        let privacy = state.account.expect("an account").privacy;
        assert_eq!(privacy.seen, ShownTo::Nobody);
        assert_eq!(privacy.last_seen, ShownTo::Everyone);
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let state = given([changed(NOBODY, None)])
            .when(ask(None, NOBODY))
            .then([changed(None, NOBODY)]);
        let privacy = state.account.expect("an account").privacy;
        assert_eq!(privacy.seen, ShownTo::Nobody);
        assert_eq!(privacy.last_seen, ShownTo::Nobody);
        given([changed(NOBODY, NOBODY)])
            .when(ask(NOBODY, None))
            .then([]);
        given([changed(NOBODY, NOBODY)])
            .when(ask(EVERYONE, NOBODY))
            .then([changed(EVERYONE, None)]);
    }
}
