//! A bound on how often something may happen, and how it is written in settings.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest count and the largest burst.
const COUNT_MAX: u32 = 1_000_000;

/// The longest time that a count may be of, in seconds: a day.
const SECONDS_MAX: u64 = 86_400;

/// A bound, or none. Written `10/1m,burst=20`: ten a minute, and up to twenty at once after a rest.
/// Without `burst` as many at once as the count. `0` is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Limit {
    /// Nothing is counted.
    Off,
    /// So often and no more.
    At(Rate),
}

/// So many in a time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    seconds: u32,
    burst: u32,
}

/// What is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a limit is written COUNT/TIME or COUNT/TIME,burst=N, such as 10/1m,burst=20, with 1 to 1000000 for \
     COUNT and N and a TIME from 1s to 1d in s, m, h or d; 0 turns it off"
)]
pub struct LimitInvalid;

impl Limit {
    /// `count` in `seconds`, `burst` at once. Zero counts as one.
    pub const fn at(count: u32, seconds: u32, burst: u32) -> Self {
        Self::At(Rate {
            count: at_least_one(count),
            seconds: at_least_one(seconds),
            burst: at_least_one(burst),
        })
    }
}

const fn at_least_one(number: u32) -> u32 {
    if number == 0 { 1 } else { number }
}

impl Rate {
    /// The time from one to the next, where they come evenly.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) / self.count
    }

    /// How many may come at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// How long a rest makes the whole burst good again.
    pub fn window(&self) -> Duration {
        self.interval() * self.burst
    }
}

impl FromStr for Limit {
    type Err = LimitInvalid;

    fn from_str(text: &str) -> Result<Self, LimitInvalid> {
        if text.trim() == "0" {
            return Ok(Self::Off);
        }
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let (count, time) = rate.trim().split_once('/').ok_or(LimitInvalid)?;
        let count = number(count)?;
        let burst = match burst {
            Some(burst) => number(burst.trim().strip_prefix("burst=").ok_or(LimitInvalid)?)?,
            None => count,
        };
        Ok(Self::at(count, seconds(time)?, burst))
    }
}

fn number(text: &str) -> Result<u32, LimitInvalid> {
    let number: u32 = text.trim().parse().map_err(|_| LimitInvalid)?;
    if (1..=COUNT_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(LimitInvalid)
    }
}

fn seconds(time: &str) -> Result<u32, LimitInvalid> {
    let time = time.trim();
    let unit = time.chars().last().ok_or(LimitInvalid)?;
    let one: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(LimitInvalid),
    };
    let seconds = u64::from(number(&time[..time.len() - 1])?) * one;
    if seconds > SECONDS_MAX {
        return Err(LimitInvalid);
    }
    u32::try_from(seconds).map_err(|_| LimitInvalid)
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => out.write_str("0"),
            Self::At(rate) => rate.fmt(out),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
        let whole = units
            .into_iter()
            .find(|(one, _)| self.seconds.is_multiple_of(*one));
        let (one, unit) = whole.unwrap_or((1, 's'));
        write!(out, "{}/{}{unit}", self.count, self.seconds / one)?;
        if self.burst != self.count {
            write!(out, ",burst={}", self.burst)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Limit {
    type Error = LimitInvalid;

    fn try_from(text: String) -> Result<Self, LimitInvalid> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        for (text, limit) in [
            ("0", Limit::Off),
            ("10/1m,burst=20", Limit::at(10, 60, 20)),
            ("50/1s", Limit::at(50, 1, 50)),
            ("10/10m", Limit::at(10, 600, 10)),
            ("90/90s,burst=1", Limit::at(90, 90, 1)),
            ("1/1d", Limit::at(1, 86_400, 1)),
        ] {
            assert_eq!(text.parse(), Ok(limit), "{text}");
            assert_eq!(limit.to_string(), text);
        }
        assert_eq!(" 10 / 1m , burst=20 ".parse(), Ok(Limit::at(10, 60, 20)));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "10",
            "10/",
            "/1m",
            "10/m",
            "0/1m",
            "10/0s",
            "10/2d",
            "10/1w",
            "10/1m,20",
            "10/1m,burst=0",
            "-1/1m",
            "10/1é",
            "off",
            "1000001/1s",
        ] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
