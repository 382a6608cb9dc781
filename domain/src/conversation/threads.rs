//! Threads: what is said about one message, apart from the rest.

use crate::conversation::command::MessageFact;
use crate::conversation::decide::{Asker, Decision};
use crate::conversation::event::{ConversationEvent, FollowChanged};
use crate::conversation::refused::Refused;

impl Asker<'_> {
    /// Whether a thread may begin with `root`, or has. It may be deleted: what was said about it stays.
    pub(super) fn begins(&self, root: MessageFact) -> Result<(), Refused> {
        self.visible(root.seq)?;
        match root.thread {
            None => Ok(()),
            Some(_) => Err(Refused::NoThread),
        }
    }

    /// Who follows which thread is not known here, as it would grow with use: what is so already is
    /// stored and folds to nothing.
    pub(super) fn follow(&self, root: MessageFact) -> Decision {
        let changed = self.follow_changed(root)?;
        Ok(vec![ConversationEvent::ThreadFollowed(changed)])
    }

    pub(super) fn unfollow(&self, root: MessageFact) -> Decision {
        let changed = self.follow_changed(root)?;
        Ok(vec![ConversationEvent::ThreadUnfollowed(changed)])
    }

    fn follow_changed(&self, root: MessageFact) -> Result<FollowChanged, Refused> {
        self.open()?;
        self.begins(root)?;
        Ok(FollowChanged {
            thread: root.seq,
            member: self.by,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Act, Command, ContentKind, ConversationEvent, Draft, FollowChanged, MemberAdded,
        MessageFact, MessageSent, Refused, Role,
    };
    use crate::ids::{UserId, Version};
    use crate::testing::conversation::{archived, body, given, group_of, sent};
    use crate::testing::{ALICE, BOB, CAROL, moment};

    fn root() -> MessageFact {
        MessageFact {
            seq: Version(2),
            author: ALICE,
            kind: ContentKind::Text,
            thread: None,
        }
    }

    fn answer() -> MessageFact {
        MessageFact {
            seq: Version(3),
            thread: Some(root().seq),
            ..root()
        }
    }

    fn write(by: UserId, root: MessageFact) -> Command {
        let draft = Draft {
            thread: Some(root),
            ..Draft::plain(body("yes"), moment(0))
        };
        Command::by(by, Act::Send(draft))
    }

    fn follow(by: UserId, root: MessageFact) -> Command {
        Command::by(by, Act::FollowThread { root })
    }

    fn unfollow(by: UserId, root: MessageFact) -> Command {
        Command::by(by, Act::UnfollowThread { root })
    }

    fn written(by: UserId) -> ConversationEvent {
        ConversationEvent::MessageSent(MessageSent {
            thread: Some(root().seq),
            ..MessageSent::plain(by, body("yes"))
        })
    }

    #[test]
    fn a_thread_begins_with_any_message_and_goes_on() {
        let history = [group_of(ALICE, &[BOB]), sent(ALICE, "tea?")];
        given(history.clone())
            .when(write(BOB, root()))
            .then([written(BOB)]);
        let [started, said] = history;
        given([started, said, written(BOB)])
            .when(write(ALICE, root()))
            .then([written(ALICE)]);
    }

    #[test]
    fn no_thread_begins_in_a_thread() {
        let history = || [group_of(ALICE, &[BOB]), sent(ALICE, "tea?"), written(BOB)];
        for command in [
            write(ALICE, answer()),
            follow(ALICE, answer()),
            unfollow(ALICE, answer()),
        ] {
            given(history())
                .when(command)
                .then_refused(Refused::NoThread);
        }
    }

    #[test]
    fn members_follow_threads_and_stop() {
        let changed = || FollowChanged {
            thread: root().seq,
            member: BOB,
        };
        let history = || [group_of(ALICE, &[BOB]), sent(ALICE, "tea?")];
        given(history())
            .when(follow(BOB, root()))
            .then([ConversationEvent::ThreadFollowed(changed())]);
        given(history())
            .when(unfollow(BOB, root()))
            .then([ConversationEvent::ThreadUnfollowed(changed())]);
    }

    #[test]
    fn threads_of_what_they_do_not_see_are_not_for_newcomers_nor_strangers() {
        let added = ConversationEvent::MemberAdded(MemberAdded {
            user: CAROL,
            role: Role::Member,
        });
        let commands = [
            write(CAROL, root()),
            follow(CAROL, root()),
            unfollow(CAROL, root()),
        ];
        for command in commands {
            given([group_of(ALICE, &[BOB]), sent(ALICE, "tea?"), added.clone()])
                .when(command.clone())
                .then_refused(Refused::MessageNotFound);
            given([group_of(ALICE, &[BOB]), sent(ALICE, "tea?")])
                .when(command)
                .then_refused(Refused::NotFound);
        }
    }

    #[test]
    fn nothing_changes_in_the_threads_of_what_is_archived() {
        for command in [
            write(BOB, root()),
            follow(BOB, root()),
            unfollow(BOB, root()),
        ] {
            let history = [
                group_of(ALICE, &[BOB]),
                sent(ALICE, "tea?"),
                archived(ALICE),
            ];
            given(history).when(command).then_refused(Refused::Archived);
        }
    }
}
