//! What users say of themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::change::Change;
use crate::ids::{AttachmentId, UserId};
use crate::personal::Personal;
use crate::user::decide::Account;
use crate::user::event::{AvatarChanged, ProfileChanged, UserEvent};
use crate::values::{DisplayName, Locale, Pronouns, StatusText, TimeZone};

/// What becomes different about a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileDraft {
    /// What to be called.
    pub display_name: Option<DisplayName>,
    /// What they are up to.
    pub status_text: Change<StatusText>,
    /// Where their clock is.
    pub time_zone: Change<TimeZone>,
    /// Their language.
    pub locale: Change<Locale>,
    /// How to speak of them.
    pub pronouns: Change<Pronouns>,
}

/// What users say of themselves besides what they are called. Each field may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// What they are up to.
    pub status_text: Option<StatusText>,
    /// Where their clock is.
    pub time_zone: Option<TimeZone>,
    /// Their language.
    pub locale: Option<Locale>,
    /// How to speak of them.
    pub pronouns: Option<Pronouns>,
}

impl Account {
    pub(super) fn change_avatar(&self, avatar: Option<AttachmentId>) -> Vec<UserEvent> {
        if self.avatar == avatar {
            return vec![];
        }
        vec![UserEvent::AvatarChanged(AvatarChanged { avatar })]
    }

    /// Only what is not so already is stored.
    pub(super) fn change_profile(&self, user: UserId, draft: &ProfileDraft) -> Vec<UserEvent> {
        let display_name = draft.display_name.clone();
        let (draft, now) = (draft.clone(), &self.profile);
        let changed = ProfileChanged {
            display_name: display_name
                .filter(|name| *name != self.display_name)
                .map(|name| Personal::new(user, name)),
            status_text: personal(user, draft.status_text.unless(now.status_text.as_ref())),
            time_zone: personal(user, draft.time_zone.unless(now.time_zone.as_ref())),
            locale: personal(user, draft.locale.unless(now.locale.as_ref())),
            pronouns: personal(user, draft.pronouns.unless(now.pronouns.as_ref())),
        };
        if changed == ProfileChanged::default() {
            return vec![];
        }
        vec![UserEvent::ProfileChanged(changed)]
    }

    pub(super) fn profile_changed(&mut self, changed: &ProfileChanged) {
        let ProfileChanged {
            display_name,
            status_text,
            time_zone,
            locale,
            pronouns,
        } = changed;
        if let Some(name) = display_name {
            self.display_name = name.value.clone();
        }
        let profile = &mut self.profile;
        apply(status_text, &mut profile.status_text);
        apply(time_zone, &mut profile.time_zone);
        apply(locale, &mut profile.locale);
        apply(pronouns, &mut profile.pronouns);
    }
}

fn personal<T>(user: UserId, change: Change<T>) -> Change<Personal<T>> {
    change.map(|value| Personal::new(user, value))
}

fn apply<T: Clone>(change: &Change<Personal<T>>, field: &mut Option<T>) {
    let change = change.clone().map(|personal| personal.value);
    *field = change.apply(field.take());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given};
    use crate::user::testing::registered;
    use crate::user::{Command, User};

    fn status(text: &str) -> StatusText {
        StatusText::parse(text).expect("a status")
    }

    fn ask(status_text: Change<StatusText>) -> Command {
        let profile = Box::new(ProfileDraft {
            status_text,
            time_zone: Change::Set(TimeZone::parse("Europe/Berlin").expect("a zone")),
            ..ProfileDraft::default()
        });
        Command::ChangeProfile {
            user: ALICE,
            profile,
        }
    }

    fn changed(status_text: Change<StatusText>) -> ProfileChanged {
        ProfileChanged {
            status_text: personal(ALICE, status_text),
            ..ProfileChanged::default()
        }
    }

    #[test]
    fn a_picture_is_changed_and_taken_away() {
        let ask = |avatar| Command::ChangeAvatar { avatar };
        let changed = |avatar| Ok(vec![UserEvent::AvatarChanged(AvatarChanged { avatar })]);
        let picture = Some(AttachmentId(ALICE.0));
        let mut given = Given::<User>::history([registered(ALICE)]);
        assert_eq!(given.accept(&ask(None)), Ok(vec![]));
        assert_eq!(given.accept(&ask(picture)), changed(picture));
        assert_eq!(given.accept(&ask(picture)), Ok(vec![]));
        assert_eq!(given.accept(&ask(None)), changed(None));
    }

    #[test]
    fn what_is_so_already_is_not_stored_again() {
        let first = ProfileChanged {
            time_zone: Change::Set(Personal::new(
                ALICE,
                TimeZone::parse("Europe/Berlin").expect("a zone"),
            )),
            ..changed(Change::Set(status("Away")))
        };
        let away = || ask(Change::Set(status("Away")));
        let mut given = Given::<User>::history([registered(ALICE)]);
        assert_eq!(
            given.accept(&away()),
            Ok(vec![UserEvent::ProfileChanged(first)])
        );
        assert_eq!(given.accept(&away()), Ok(vec![]));
        let cleared = UserEvent::ProfileChanged(changed(Change::Clear));
        assert_eq!(given.accept(&ask(Change::Clear)), Ok(vec![cleared]));
        assert_eq!(given.accept(&ask(Change::Clear)), Ok(vec![]));
        let account = given.state.account.expect("an account");
        assert_eq!(account.profile.status_text, None);
        assert_eq!(account.display_name.as_str(), "Alice");
    }

    #[test]
    fn it_is_stored_without_what_stays_and_with_null_for_what_is_cleared() {
        for (change, stored) in [
            (
                changed(Change::Set(status("Away"))),
                r#"{"status_text":{"of":"00000000-0000-0000-0000-0000000a11ce","value":"Away"}}"#,
            ),
            (changed(Change::Clear), r#"{"status_text":null}"#),
            (changed(Change::Keep), "{}"),
        ] {
            let text = serde_json::to_string(&change).expect("it is JSON");
            assert_eq!(text, stored);
            let read: ProfileChanged = serde_json::from_str(&text).expect("it is read");
            assert_eq!(read, change);
        }
    }
}
