//! Who may write at a moment, and who may take a message elsewhere.

use chrono::TimeDelta;

use crate::conversation::command::{Contact, Draft};
use crate::conversation::decide::Asker;
use crate::conversation::event::WhoMayPost;
use crate::conversation::refused::Refused;
use crate::conversation::state::State;
use crate::ids::{Seq, UserId};

impl Asker<'_> {
    /// Whether the asker may send `draft` now. Those who run a group always may.
    pub(super) fn posts(&self, draft: &Draft) -> Result<(), Refused> {
        if self.keeps_order() {
            return Ok(());
        }
        match self.settings.who_may_post {
            WhoMayPost::Members => {}
            WhoMayPost::Admins => return Err(Refused::RoleTooLow),
        }
        let pause = TimeDelta::seconds(self.settings.slow_mode_s.into());
        let Some(last) = self.last_sent_at else {
            return Ok(());
        };
        // A clock that was set back makes nobody wait for longer than the pause.
        let wait = (last + pause - draft.at).min(pause);
        if wait <= TimeDelta::zero() {
            return Ok(());
        }
        let seconds = (wait + TimeDelta::milliseconds(999)).num_seconds();
        Err(Refused::TooSoon {
            wait_s: u32::try_from(seconds).unwrap_or(self.settings.slow_mode_s),
        })
    }

    /// Whether the asker has to wait after a message.
    pub(super) fn waits(&self) -> bool {
        !self.keeps_order() && self.settings.slow_mode_s > 0
    }
}

impl State {
    /// Whether `by` may take `message` to another conversation: whoever sees it now.
    ///
    /// # Errors
    /// They are not in it, do not see the message, or it was deleted.
    pub fn may_forward(&self, by: UserId, message: Seq) -> Result<(), Refused> {
        let asker = Asker::of(by, Contact::Free, None, self)?;
        asker.visible(message)?;
        asker.not_deleted(message)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::Refused;
    use crate::conversation::{
        Act, Command, Conversation, ConversationEvent, Draft, HistoryVisibility, MemberAdded,
        MessageDeleted, MessageSent, Role, SettingsChange, SettingsChanged, WhoMayPost,
    };
    use crate::ids::{UserId, Version};
    use crate::testing::conversation::{body, given, group_of, sent};
    use crate::testing::{ALICE, BOB, CAROL, moment};

    fn change(by: UserId, change: SettingsChange) -> Command {
        Command::by(by, Act::ChangeSettings(change))
    }

    fn slow(slow_mode_s: u32) -> ConversationEvent {
        ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility: HistoryVisibility::Joined,
            slow_mode_s: Some(slow_mode_s),
            who_may_post: None,
        })
    }

    fn only_admins() -> ConversationEvent {
        ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility: HistoryVisibility::Joined,
            slow_mode_s: None,
            who_may_post: Some(WhoMayPost::Admins),
        })
    }

    fn send(by: UserId, at: DateTime<Utc>) -> Command {
        Command::by(by, Act::Send(Draft::plain(body("hi"), at)))
    }

    fn sent_at(by: UserId, at: DateTime<Utc>) -> ConversationEvent {
        ConversationEvent::MessageSent(MessageSent {
            at: Some(at),
            ..MessageSent::plain(by, body("hi"))
        })
    }

    #[test]
    fn those_who_run_a_group_slow_it_down_or_keep_it_to_themselves() {
        given([group_of(ALICE, &[BOB])])
            .when(change(
                ALICE,
                SettingsChange {
                    slow_mode_s: Some(30),
                    ..SettingsChange::default()
                },
            ))
            .then([slow(30)]);
        given([group_of(ALICE, &[BOB])])
            .when(change(
                ALICE,
                SettingsChange {
                    who_may_post: Some(WhoMayPost::Admins),
                    ..SettingsChange::default()
                },
            ))
            .then([only_admins()]);
        let too_long = SettingsChange {
            slow_mode_s: Some(Conversation::SLOW_MODE_S_MAX + 1),
            ..SettingsChange::default()
        };
        given([group_of(ALICE, &[BOB])])
            .when(change(ALICE, too_long))
            .then_refused(Refused::SlowModeTooLong);
        given([group_of(ALICE, &[BOB])])
            .when(change(BOB, too_long))
            .then_refused(Refused::RoleTooLow);
    }

    #[test]
    fn what_is_set_already_changes_nothing_and_the_rest_stays() {
        let same = SettingsChange {
            slow_mode_s: Some(30),
            who_may_post: Some(WhoMayPost::Members),
            history_visibility: Some(HistoryVisibility::Joined),
        };
        given([group_of(ALICE, &[BOB]), slow(30)])
            .when(change(ALICE, same))
            .then([]);
        let state = given([group_of(ALICE, &[BOB]), slow(30), only_admins()]).state;
        let settings = state.settings.expect("it was started");
        assert_eq!(settings.slow_mode_s, 30);
        assert_eq!(settings.who_may_post, WhoMayPost::Admins);
    }

    #[test]
    fn in_slow_mode_members_wait_between_two_messages() {
        let history = || {
            [
                group_of(ALICE, &[BOB, CAROL]),
                slow(30),
                sent_at(BOB, moment(0)),
            ]
        };
        given([group_of(ALICE, &[BOB]), slow(30)])
            .when(send(BOB, moment(0)))
            .then([sent_at(BOB, moment(0))]);
        for (later, wait_s) in [
            (TimeDelta::zero(), 30),
            (TimeDelta::seconds(29), 1),
            (TimeDelta::milliseconds(29_999), 1),
            (TimeDelta::seconds(-3_600), 30),
        ] {
            given(history())
                .when(send(BOB, moment(0) + later))
                .then_refused(Refused::TooSoon { wait_s });
        }
        given(history())
            .when(send(BOB, moment(30)))
            .then([sent_at(BOB, moment(30))]);
        given(history())
            .when(send(CAROL, moment(1)))
            .then([sent_at(CAROL, moment(1))]);
        given(history())
            .when(send(ALICE, moment(1)))
            .then([sent(ALICE, "hi")]);
        let [started, slowed, said] = history();
        given([started, slowed, said, slow(0)])
            .when(send(BOB, moment(1)))
            .then([sent(BOB, "hi")]);
    }

    #[test]
    fn where_only_admins_write_members_do_not() {
        given([group_of(ALICE, &[BOB]), only_admins()])
            .when(send(BOB, moment(0)))
            .then_refused(Refused::RoleTooLow);
        given([group_of(ALICE, &[BOB]), only_admins()])
            .when(send(ALICE, moment(0)))
            .then([sent(ALICE, "hi")]);
    }

    #[test]
    fn whoever_sees_a_message_may_take_it_elsewhere() {
        let added = ConversationEvent::MemberAdded(MemberAdded {
            user: CAROL,
            role: Role::Admin,
        });
        let state = given([group_of(ALICE, &[BOB]), sent(BOB, "tea?"), added]).state;
        let message = Version(2);
        assert_eq!(state.may_forward(ALICE, message), Ok(()));
        let unseen = state.may_forward(CAROL, message);
        assert_eq!(unseen, Err(Refused::MessageNotFound));
        let stranger = state.may_forward(crate::testing::user(7), message);
        assert_eq!(stranger, Err(Refused::NotFound));
        let deleted = ConversationEvent::MessageDeleted(MessageDeleted {
            message,
            by: BOB,
            reason: None,
        });
        let state = given([group_of(ALICE, &[BOB]), sent(BOB, "tea?"), deleted]).state;
        let gone = state.may_forward(ALICE, message);
        assert_eq!(gone, Err(Refused::MessageDeleted));
    }
}
