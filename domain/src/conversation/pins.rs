//! Which messages are shown to all as important.

use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{ConversationEvent, Kind, PinChanged, Role};
use crate::conversation::refused::Refused;
use crate::ids::Seq;
use crate::space::Permission;

impl Asker<'_> {
    pub(super) fn pin(&self, message: Seq) -> Decision {
        self.speaks()?;
        self.arranges(message)?;
        self.not_deleted(message)?;
        if self.state.pins.contains(&message) {
            return Ok(vec![]);
        }
        if self.state.pins.len() >= Conversation::PINS_MAX {
            return Err(Refused::TooManyPins);
        }
        let by = self.by;
        Ok(vec![ConversationEvent::MessagePinned(PinChanged {
            message,
            by,
        })])
    }

    pub(super) fn unpin(&self, message: Seq) -> Decision {
        self.arranges(message)?;
        if !self.state.pins.contains(&message) {
            return Ok(vec![]);
        }
        let by = self.by;
        Ok(vec![ConversationEvent::MessageUnpinned(PinChanged {
            message,
            by,
        })])
    }

    /// Whether the asker may say which messages are important: in a group those who run it, in a
    /// direct conversation both, in a channel those with the permission.
    fn arranges(&self, message: Seq) -> Result<(), Refused> {
        match self.settings.kind {
            Kind::Group => self.at_least(Role::Admin)?,
            Kind::Direct => {}
            Kind::Channel => self.needs_in_channel(Permission::PinMessages)?,
        }
        self.open()?;
        self.visible(message)
    }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Act, Command, ContentKind, Conversation, ConversationEvent, MessageDeleted, MessageFact,
        PinChanged, Refused,
    };
    use crate::ids::{UserId, Version};
    use crate::testing::conversation::{archived, blocked, direct_of, given, group_of, sent};
    use crate::testing::{ALICE, BOB, CAROL};

    fn message(seq: u64) -> MessageFact {
        MessageFact {
            seq: Version(seq),
            author: BOB,
            kind: ContentKind::Text,
            thread: None,
        }
    }

    fn pin(by: UserId, seq: u64) -> Command {
        let message = message(seq);
        Command::by(by, Act::Pin { message })
    }

    fn unpin(by: UserId, seq: u64) -> Command {
        let message = message(seq);
        Command::by(by, Act::Unpin { message })
    }

    fn pinned(by: UserId, seq: u64) -> ConversationEvent {
        let message = Version(seq);
        ConversationEvent::MessagePinned(PinChanged { message, by })
    }

    fn unpinned(by: UserId, seq: u64) -> ConversationEvent {
        let message = Version(seq);
        ConversationEvent::MessageUnpinned(PinChanged { message, by })
    }

    #[test]
    fn those_who_run_a_group_pin_and_unpin() {
        let history = [group_of(ALICE, &[BOB]), sent(BOB, "tea?")];
        given(history.clone())
            .when(pin(ALICE, 2))
            .then([pinned(ALICE, 2)]);
        given(history.clone())
            .when(pin(BOB, 2))
            .then_refused(Refused::RoleTooLow);
        given(history.clone())
            .when(pin(CAROL, 2))
            .then_refused(Refused::NotFound);
        let [started, said] = history;
        let with_pin = [started, said, pinned(ALICE, 2)];
        given(with_pin.clone())
            .when(unpin(BOB, 2))
            .then_refused(Refused::RoleTooLow);
        given(with_pin)
            .when(unpin(ALICE, 2))
            .then([unpinned(ALICE, 2)]);
    }

    #[test]
    fn in_a_direct_conversation_both_pin_unless_one_blocks_the_other() {
        let history = [direct_of(ALICE, BOB), sent(BOB, "tea?")];
        given(history.clone())
            .when(pin(ALICE, 2))
            .then([pinned(ALICE, 2)]);
        let act = Act::Pin {
            message: message(2),
        };
        given(history.clone())
            .when(blocked(Command::by(ALICE, act)))
            .then_refused(Refused::Blocked);
        let [started, said] = history;
        let act = Act::Unpin {
            message: message(2),
        };
        given([started, said, pinned(ALICE, 2)])
            .when(blocked(Command::by(BOB, act)))
            .then([unpinned(BOB, 2)]);
    }

    #[test]
    fn what_is_pinned_or_unpinned_already_stays_so() {
        let history = [group_of(ALICE, &[BOB]), sent(BOB, "tea?")];
        given(history.clone()).when(unpin(ALICE, 2)).then([]);
        let [started, said] = history;
        given([started, said, pinned(ALICE, 2)])
            .when(pin(ALICE, 2))
            .then([]);
    }

    #[test]
    fn what_is_deleted_is_pinned_no_more() {
        let deleted = ConversationEvent::MessageDeleted(MessageDeleted {
            message: Version(2),
            by: BOB,
            reason: None,
        });
        let history = [
            group_of(ALICE, &[BOB]),
            sent(BOB, "tea?"),
            pinned(ALICE, 2),
            deleted,
        ];
        assert_eq!(given(history.clone()).state.pins, []);
        given(history.clone())
            .when(pin(ALICE, 2))
            .then_refused(Refused::MessageDeleted);
        given(history).when(unpin(ALICE, 2)).then([]);
    }

    #[test]
    fn pins_are_few() {
        let full = 2..2 + Conversation::PINS_MAX as u64;
        let mut history = vec![group_of(ALICE, &[BOB])];
        history.extend(full.clone().map(|_| sent(BOB, "tea?")));
        history.push(sent(BOB, "one more"));
        history.extend(full.clone().map(|seq| pinned(ALICE, seq)));
        given(history.clone())
            .when(pin(ALICE, full.end))
            .then_refused(Refused::TooManyPins);
        given(history.clone()).when(pin(ALICE, full.start)).then([]);
        history.push(unpinned(ALICE, full.start));
        given(history)
            .when(pin(ALICE, full.end))
            .then([pinned(ALICE, full.end)]);
    }

    #[test]
    fn nothing_is_pinned_in_what_is_archived() {
        for command in [pin(ALICE, 2), unpin(ALICE, 2)] {
            given([group_of(ALICE, &[BOB]), sent(BOB, "tea?"), archived(ALICE)])
                .when(command)
                .then_refused(Refused::Archived);
        }
    }
}
