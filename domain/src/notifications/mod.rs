//! Of what a user wants to be told, and when: rules for conversations, quiet hours, digests by mail, the
//! browsers that take pushes, and how far they have read the list of what concerned them.

mod decide;
mod event;
mod quiet;
mod settings;
mod verdict;

pub use decide::{Command, Notifications, Refused, State, Subscription};
pub use event::*;
pub use quiet::{ClockTime, QuietHours, Weekday};
pub use settings::{Level, Rule, Settings};
pub use verdict::{Place, Reach, Situation, Verdict};
