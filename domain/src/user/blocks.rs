//! Whom a user wants nothing to do with. What follows from it is decided where the two would meet.

use crate::ids::UserId;
use crate::user::decide::{Account, Decision, User};
use crate::user::event::{BlockChanged, UserEvent};
use crate::user::refused::Refused;

impl Account {
    /// Whether its user blocks `user`.
    pub fn blocks(&self, user: UserId) -> bool {
        self.blocked.contains(&user)
    }

    pub(super) fn block(&self, by: UserId, user: UserId) -> Decision {
        if by == user {
            return Err(Refused::BlocksOneself);
        }
        if self.blocks(user) {
            return Ok(vec![]);
        }
        if self.blocked.len() >= User::BLOCKS_MAX {
            return Err(Refused::TooManyBlocks);
        }
        Ok(vec![UserEvent::Blocked(BlockChanged { user })])
    }

    pub(super) fn unblock(&self, user: UserId) -> Vec<UserEvent> {
        if self.blocks(user) {
            vec![UserEvent::Unblocked(BlockChanged { user })]
        } else {
            vec![]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given, user};
    use crate::user::testing::registered;
    use crate::user::{Command, UserEvent};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(std::iter::once(registered(ALICE)).chain(history))
    }

    const fn block(user: UserId) -> Command {
        Command::Block { by: ALICE, user }
    }

    fn blocked(user: UserId) -> UserEvent {
        UserEvent::Blocked(BlockChanged { user })
    }

    fn unblocked(user: UserId) -> UserEvent {
        UserEvent::Unblocked(BlockChanged { user })
    }

    #[test]
    fn somebody_is_blocked_once_and_unblocked_once() {
        let state = given([]).when(block(BOB)).then([blocked(BOB)]);
        assert!(state.account.is_some_and(|account| account.blocks(BOB)));
        given([blocked(BOB)]).when(block(BOB)).then([]);
        let unblock = Command::Unblock { user: BOB };
        let state = given([blocked(BOB)])
            .when(unblock.clone())
            .then([unblocked(BOB)]);
        assert!(!state.account.is_some_and(|account| account.blocks(BOB)));
        given([]).when(unblock).then([]);
    }

    #[test]
    fn nobody_blocks_themselves() {
        given([])
            .when(block(ALICE))
            .then_refused(Refused::BlocksOneself);
    }

    #[test]
    fn blocks_are_bounded() {
        let full = (0..User::BLOCKS_MAX as u128).map(|number| blocked(user(number)));
        given(full.clone())
            .when(block(BOB))
            .then_refused(Refused::TooManyBlocks);
        given(full).when(block(user(0))).then([]);
    }
}
