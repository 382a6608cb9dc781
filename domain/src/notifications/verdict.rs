//! Whether somebody is told of a message while they are not looking.

use chrono::{DateTime, Utc};

use crate::notifications::settings::{Level, Rule, Settings};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between two.
    Direct,
    /// In a group in which everybody may call everybody.
    SmallGroup,
    /// In a larger one.
    LargeGroup,
}

/// How a message gets at somebody: the strongest way, of those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It is in a thread that they do not follow.
    OtherThread,
    /// It is in the conversation.
    Conversation,
    /// It is in a thread that they follow.
    FollowedThread,
    /// It answers a message of theirs.
    Reply,
    /// It calls them: by name, by role or everyone.
    Called,
}

/// All that counts, of somebody who did not write it.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Whether they block its author.
    pub is_blocked: bool,
    /// Whether they have seen it.
    pub is_seen: bool,
    /// Where it is.
    pub place: Place,
    /// How it gets at them.
    pub reach: Reach,
    /// What they set for the conversation.
    pub rule: Rule,
    /// What they set for all.
    pub settings: &'a Settings,
    /// When they would be told.
    pub at: DateTime<Utc>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are told.
    Tell,
    /// They are told, together with all else, when their quiet hours end.
    Later,
    /// They are not told.
    Not,
}

impl Situation<'_> {
    /// Whether they are told.
    pub fn verdict(&self) -> Verdict {
        if self.is_blocked || self.is_seen || self.rule.is_muted(self.at) {
            return Verdict::Not;
        }
        let is_wanted = match self.settings.level(self.rule, self.place) {
            // Between two there is nobody else whom a thread could be for.
            Level::All => self.reach > Reach::OtherThread || self.place == Place::Direct,
            Level::Mentions => self.reach > Reach::Conversation,
            Level::None => false,
        };
        if !is_wanted {
            return Verdict::Not;
        }
        let quiet = self.settings.quiet_hours.as_ref();
        let is_quiet = quiet.and_then(|hours| hours.end_at(self.at)).is_some();
        if is_quiet {
            Verdict::Later
        } else {
            Verdict::Tell
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notifications::quiet::{ClockTime, QuietHours};
    use crate::testing::moment;
    use crate::values::TimeZone;

    fn situation(settings: &Settings, place: Place, reach: Reach) -> Situation<'_> {
        Situation {
            is_blocked: false,
            is_seen: false,
            place,
            reach,
            rule: Rule::default(),
            settings,
            at: moment(0),
        }
    }

    const REACHES: [Reach; 5] = [
        Reach::OtherThread,
        Reach::Conversation,
        Reach::FollowedThread,
        Reach::Reply,
        Reach::Called,
    ];

    const PLACES: [Place; 3] = [Place::Direct, Place::SmallGroup, Place::LargeGroup];

    #[test]
    fn by_default_large_groups_tell_of_what_concerns_one_and_small_ones_of_everything() {
        let settings = Settings::default();
        for (place, told) in [
            (Place::Direct, [true, true, true, true, true]),
            (Place::SmallGroup, [false, true, true, true, true]),
            (Place::LargeGroup, [false, false, true, true, true]),
        ] {
            let verdicts = REACHES.map(|reach| situation(&settings, place, reach).verdict());
            assert_eq!(verdicts.map(|it| it == Verdict::Tell), told, "{place:?}");
        }
    }

    #[test]
    fn quiet_hours_put_off() {
        let quiet_hours = Some(QuietHours {
            time_zone: TimeZone::parse("UTC").expect("a zone"),
            from: ClockTime::parse("22:00").expect("a time"),
            until: ClockTime::parse("06:00").expect("a time"),
            days: [].into(),
        });
        let settings = Settings {
            quiet_hours,
            ..Settings::default()
        };
        // It is 22:13:20.
        let verdict = situation(&settings, Place::Direct, Reach::Conversation).verdict();
        assert_eq!(verdict, Verdict::Later);
    }

    fn level() -> impl Strategy<Value = Level> {
        prop_oneof![Just(Level::All), Just(Level::Mentions), Just(Level::None)]
    }

    proptest! {
        #[test]
        fn whatever_is_set(
            (blocked, seen) in any::<(bool, bool)>(),
            (place, reach) in (0..3_usize, 0..5_usize),
            (direct, groups) in (level(), prop::option::of(level())),
            (own_level, muted) in (prop::option::of(level()), prop::option::of(-60..60_i64)),
        ) {
            let settings = Settings { direct, groups, ..Settings::default() };
            let rule = Rule { level: own_level, muted_until: muted.map(moment) };
            let one = Situation {
                is_blocked: blocked,
                is_seen: seen,
                rule,
                ..situation(&settings, PLACES[place], REACHES[reach])
            };
            let is_told = one.verdict() == Verdict::Tell;
            prop_assert!(!(is_told && (blocked || seen || rule.is_muted(one.at))));
            prop_assert!(!is_told || settings.level(rule, one.place) != Level::None);
            // What concerns one more is told where what concerns one less is.
            let called = Situation { reach: Reach::Called, ..one };
            prop_assert!(!is_told || called.verdict() == Verdict::Tell);
            // Who wants to hear of more hears of no less.
            let all = Situation { rule: Rule { level: Some(Level::All), ..rule }, ..one };
            prop_assert!(!is_told || all.verdict() == Verdict::Tell);
            // A rule of a conversation counts for more than what is set for all.
            let by_rule = Situation { settings: &Settings::default(), ..one };
            prop_assert!(own_level.is_none() || by_rule.verdict() == one.verdict());
        }
    }
}
