//! What users say of themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::change::Change;
use crate::ids::{AttachmentId, UserId};
use crate::personal::Personal;
use crate::user::decide::{Account, Decision};
use crate::user::event::{AvatarChanged, ProfileChanged, UserEvent};
use crate::user::refused::Refused;
use crate::values::{DisplayName, Emoji, Locale, Pronouns, StatusText, TimeZone};

/// What becomes different about a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileDraft {
    /// What to be called.
    pub display_name: Option<DisplayName>,
    /// What they are up to.
    pub status_text: Change<StatusText>,
    /// The same as a picture.
    pub status_emoji: Change<Emoji>,
    /// From when on text and picture are not shown any more. Without it new ones stay until they are
    /// changed.
    pub status_until: Change<DateTime<Utc>>,
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
    /// The same as a picture.
    pub status_emoji: Option<Emoji>,
    /// From when on text and picture are not shown any more.
    pub status_until: Option<DateTime<Utc>>,
    /// Where their clock is.
    pub time_zone: Option<TimeZone>,
    /// Their language.
    pub locale: Option<Locale>,
    /// How to speak of them.
    pub pronouns: Option<Pronouns>,
}

impl ProfileDraft {
    /// Settles what becomes of the status, which is as `profile` says. The end of the one before is not
    /// that of a new one; what has ended does not come back with a part of it; what is empty has no end.
    fn settle_status(&mut self, profile: &Profile, now: DateTime<Utc>) {
        let is_new = matches!(self.status_text, Change::Set(_))
            || matches!(self.status_emoji, Change::Set(_));
        let is_kept = self.status_text.is_keep() && self.status_emoji.is_keep();
        if is_kept && self.status_until.is_keep() {
            return;
        }
        let is_over = profile.status_until.is_some_and(|until| until <= now);
        if is_over {
            or_clear(&mut self.status_text);
            or_clear(&mut self.status_emoji);
        }
        if is_over || is_new {
            or_clear(&mut self.status_until);
        }
        let text = self.status_text.clone().apply(profile.status_text.clone());
        let emoji = self
            .status_emoji
            .clone()
            .apply(profile.status_emoji.clone());
        if text.is_none() && emoji.is_none() {
            self.status_until = Change::Clear;
        }
    }
}

fn or_clear<T>(change: &mut Change<T>) {
    if change.is_keep() {
        *change = Change::Clear;
    }
}

impl Account {
    pub(super) fn change_avatar(&self, avatar: Option<AttachmentId>) -> Vec<UserEvent> {
        if self.avatar == avatar {
            return vec![];
        }
        vec![UserEvent::AvatarChanged(AvatarChanged { avatar })]
    }

    /// Only what is not so already is stored.
    pub(super) fn change_profile(
        &self,
        user: UserId,
        draft: &ProfileDraft,
        at: DateTime<Utc>,
    ) -> Decision {
        if matches!(draft.status_until, Change::Set(until) if until <= at) {
            return Err(Refused::EndsInThePast);
        }
        let (mut draft, now) = (draft.clone(), &self.profile);
        draft.settle_status(now, at);
        let changed = ProfileChanged {
            display_name: draft
                .display_name
                .filter(|name| *name != self.display_name)
                .map(|name| Personal::new(user, name)),
            status_text: personal(user, draft.status_text.unless(now.status_text.as_ref())),
            status_emoji: personal(user, draft.status_emoji.unless(now.status_emoji.as_ref())),
            status_until: draft.status_until.unless(now.status_until.as_ref()),
            time_zone: personal(user, draft.time_zone.unless(now.time_zone.as_ref())),
            locale: personal(user, draft.locale.unless(now.locale.as_ref())),
            pronouns: personal(user, draft.pronouns.unless(now.pronouns.as_ref())),
        };
        if changed == ProfileChanged::default() {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::ProfileChanged(changed)])
    }

    pub(super) fn profile_changed(&mut self, changed: &ProfileChanged) {
        let ProfileChanged {
            display_name,
            status_text,
            status_emoji,
            status_until,
            time_zone,
            locale,
            pronouns,
        } = changed;
        if let Some(name) = display_name {
            self.display_name = name.value.clone();
        }
        let profile = &mut self.profile;
        apply(status_text, &mut profile.status_text);
        apply(status_emoji, &mut profile.status_emoji);
        profile.status_until = status_until.apply(profile.status_until.take());
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
    use crate::testing::{ALICE, Given, moment};
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
            now: moment(0),
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
    fn a_status_ends_with_its_own_end_and_not_that_of_the_one_before() {
        let set = |text: &str, until: Change<DateTime<Utc>>| Command::ChangeProfile {
            user: ALICE,
            profile: Box::new(ProfileDraft {
                status_text: Change::Set(status(text)),
                status_emoji: Change::Set(Emoji::parse("🍜").expect("an emoji")),
                status_until: until,
                ..ProfileDraft::default()
            }),
            now: moment(0),
        };
        let mut given = Given::<User>::history([registered(ALICE)]);
        let mut until = |command: &Command| {
            let events = given.accept(command).map(|events| events.len());
            let account = given.state.account.as_ref().expect("an account");
            (events, account.profile.status_until)
        };
        let lunch = set("Lunch", Change::Set(moment(60)));
        assert_eq!(until(&lunch), (Ok(1), Some(moment(60))));
        assert_eq!(until(&lunch), (Ok(0), Some(moment(60))));
        let later = set("Lunch", Change::Set(moment(90)));
        assert_eq!(until(&later), (Ok(1), Some(moment(90))));
        let other = Command::ChangeProfile {
            user: ALICE,
            profile: Box::new(ProfileDraft {
                pronouns: Change::Set(Pronouns::parse("she/her").expect("pronouns")),
                ..ProfileDraft::default()
            }),
            now: moment(0),
        };
        assert_eq!(until(&other), (Ok(1), Some(moment(90))));
        assert_eq!(until(&set("Noodles", Change::Keep)), (Ok(1), None));
    }

    #[test]
    fn a_status_that_has_ended_does_not_come_back_and_an_empty_one_has_no_end() {
        let noodles = || Change::Set(Emoji::parse("🍜").expect("an emoji"));
        let ask = |at: i64, draft: ProfileDraft| Command::ChangeProfile {
            user: ALICE,
            profile: Box::new(draft),
            now: moment(at),
        };
        let lunch = || {
            let draft = ProfileDraft {
                status_text: Change::Set(status("Lunch")),
                status_until: Change::Set(moment(60)),
                ..ProfileDraft::default()
            };
            let mut given = Given::<User>::history([registered(ALICE)]);
            let events = given.accept(&ask(0, draft)).expect("it is taken");
            assert_eq!(events.len(), 1);
            given
        };
        let after = |at: i64, draft: ProfileDraft| {
            let mut given = lunch();
            given.accept(&ask(at, draft)).expect("it is taken");
            let profile = given.state.account.expect("an account").profile;
            let text = profile.status_text.map(|text| text.as_str().to_owned());
            (text, profile.status_emoji.is_some(), profile.status_until)
        };
        let emoji = || ProfileDraft {
            status_emoji: noodles(),
            ..ProfileDraft::default()
        };
        let until = || ProfileDraft {
            status_until: Change::Set(moment(90)),
            ..ProfileDraft::default()
        };
        let text = || Some(String::from("Lunch"));
        assert_eq!(after(59, emoji()), (text(), true, None));
        assert_eq!(after(60, emoji()), (None, true, None));
        assert_eq!(after(59, until()), (text(), false, Some(moment(90))));
        assert_eq!(after(60, until()), (None, false, None));
        let nothing = ProfileDraft {
            status_text: Change::Clear,
            ..ProfileDraft::default()
        };
        assert_eq!(after(1, nothing), (None, false, None));
        // What has nothing to do with it leaves it alone.
        let other = ProfileDraft {
            pronouns: Change::Set(Pronouns::parse("she/her").expect("pronouns")),
            ..ProfileDraft::default()
        };
        assert_eq!(after(60, other), (text(), false, Some(moment(60))));
        let past = ask(90, until());
        assert_eq!(lunch().accept(&past), Err(Refused::EndsInThePast));
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
