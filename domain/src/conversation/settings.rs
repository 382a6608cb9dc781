//! What is set for a whole group: its title, what newcomers see, who may write and how often, whether
//! it is archived.

use crate::conversation::command::SettingsChange;
use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{
    ArchiveChanged, ConversationEvent, Kind, Renamed, Role, SettingsChanged,
};
use crate::conversation::refused::Refused;
use crate::personal::Personal;
use crate::space::Permission;
use crate::values::Title;

impl Asker<'_> {
    pub(super) fn rename(&self, title: &Title) -> Decision {
        self.runs_open_group()?;
        if self.settings.title.as_ref() == Some(title) {
            return Ok(vec![]);
        }
        let title = Personal::new(self.by, title.clone());
        Ok(vec![ConversationEvent::Renamed(Renamed { title })])
    }

    /// In a channel, who may write is a permission of the space.
    pub(super) fn change_settings(&self, change: SettingsChange) -> Decision {
        match self.settings.kind {
            Kind::Direct | Kind::Group => self.runs_open_group()?,
            Kind::Channel if change.who_may_post.is_some() => return Err(Refused::RunBySpace),
            Kind::Channel => {
                self.needs_in_channel(Permission::ManageChannels)?;
                self.open()?;
            }
        }
        let settings = self.settings;
        if change.slow_mode_s > Some(Conversation::SLOW_MODE_S_MAX) {
            return Err(Refused::SlowModeTooLong);
        }
        let changed = SettingsChanged {
            history_visibility: change
                .history_visibility
                .unwrap_or(settings.history_visibility),
            slow_mode_s: change
                .slow_mode_s
                .filter(|pause| *pause != settings.slow_mode_s),
            who_may_post: change
                .who_may_post
                .filter(|who| *who != settings.who_may_post),
        };
        let nothing = SettingsChanged {
            history_visibility: settings.history_visibility,
            slow_mode_s: None,
            who_may_post: None,
        };
        if changed == nothing {
            return Ok(vec![]);
        }
        Ok(vec![ConversationEvent::SettingsChanged(changed)])
    }

    pub(super) fn set_archived(&self, archived: bool) -> Decision {
        self.in_group()?;
        self.at_least(Role::Admin)?;
        let changed = ArchiveChanged { by: self.by };
        match (self.settings.archived, archived) {
            (false, true) => Ok(vec![ConversationEvent::Archived(changed)]),
            (true, false) => Ok(vec![ConversationEvent::Unarchived(changed)]),
            (true, true) | (false, false) => Ok(vec![]),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Act, ArchiveChanged, Command, ConversationEvent, HistoryVisibility, Refused, Renamed,
        SettingsChange, SettingsChanged,
    };
    use crate::ids::UserId;
    use crate::personal::Personal;
    use crate::testing::conversation::{archived, direct_of, given, group_of, title};
    use crate::testing::{ALICE, BOB, CAROL};

    fn rename(by: UserId, to: &str) -> Command {
        Command::by(by, Act::Rename { title: title(to) })
    }

    fn renamed(by: UserId, to: &str) -> ConversationEvent {
        ConversationEvent::Renamed(Renamed {
            title: Personal::new(by, title(to)),
        })
    }

    fn show_history(by: UserId, history_visibility: HistoryVisibility) -> Command {
        Command::by(
            by,
            Act::ChangeSettings(SettingsChange {
                history_visibility: Some(history_visibility),
                ..SettingsChange::default()
            }),
        )
    }

    fn unarchived(by: UserId) -> ConversationEvent {
        ConversationEvent::Unarchived(ArchiveChanged { by })
    }

    #[test]
    fn those_who_run_a_group_rename_it() {
        given([group_of(ALICE, &[BOB])])
            .when(rename(ALICE, "Coffee"))
            .then([renamed(ALICE, "Coffee")]);
        given([group_of(ALICE, &[BOB])])
            .when(rename(BOB, "Coffee"))
            .then_refused(Refused::RoleTooLow);
    }

    #[test]
    fn the_title_it_has_already_changes_nothing() {
        given([group_of(ALICE, &[BOB]), renamed(ALICE, "Coffee")])
            .when(rename(ALICE, "Coffee"))
            .then([]);
    }

    #[test]
    fn those_who_run_a_group_decide_what_newcomers_see() {
        given([group_of(ALICE, &[BOB])])
            .when(show_history(ALICE, HistoryVisibility::Start))
            .then([ConversationEvent::SettingsChanged(SettingsChanged {
                history_visibility: HistoryVisibility::Start,
                slow_mode_s: None,
                who_may_post: None,
            })]);
        given([group_of(ALICE, &[BOB])])
            .when(show_history(ALICE, HistoryVisibility::Joined))
            .then([]);
    }

    #[test]
    fn what_is_archived_changes_in_nothing_until_it_is_unarchived() {
        let history = [group_of(ALICE, &[BOB]), archived(ALICE)];
        given(history.clone())
            .when(rename(ALICE, "Coffee"))
            .then_refused(Refused::Archived);
        given(history.clone())
            .when(show_history(ALICE, HistoryVisibility::Start))
            .then_refused(Refused::Archived);
        given(history.clone())
            .when(Command::by(ALICE, Act::Archive))
            .then([]);
        given(history)
            .when(Command::by(ALICE, Act::Unarchive))
            .then([unarchived(ALICE)]);
    }

    #[test]
    fn only_those_who_run_a_group_archive_it() {
        given([group_of(ALICE, &[BOB])])
            .when(Command::by(ALICE, Act::Archive))
            .then([archived(ALICE)]);
        given([group_of(ALICE, &[BOB])])
            .when(Command::by(BOB, Act::Archive))
            .then_refused(Refused::RoleTooLow);
        given([group_of(ALICE, &[BOB])])
            .when(Command::by(CAROL, Act::Unarchive))
            .then_refused(Refused::NotFound);
        given([group_of(ALICE, &[BOB])])
            .when(Command::by(ALICE, Act::Unarchive))
            .then([]);
    }

    #[test]
    fn a_direct_conversation_has_no_settings() {
        for command in [
            rename(ALICE, "Coffee"),
            show_history(ALICE, HistoryVisibility::Joined),
            Command::by(ALICE, Act::Archive),
            Command::by(ALICE, Act::Unarchive),
        ] {
            given([direct_of(ALICE, BOB)])
                .when(command)
                .then_refused(Refused::DirectConversation);
        }
    }
}
