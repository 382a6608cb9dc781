//! Users of the export made into accounts.

use std::collections::{HashMap, HashSet};

use domain::values::{DisplayName, Email, Handle};
use domain::{Actor, StreamName, UserId, user};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use infra::failure::Failure;
use infra::problem::Problem;

use super::ids;
use super::report::Report;
use super::shapes::{SlackAuthor, SlackUser};
use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::claim::{HELD_FOR, claim};

/// Accounts that are made at the same time.
const TOGETHER_MAX: usize = 64;

const HANDLE_BYTES_MAX: usize = 32;
const DISPLAY_NAME_CHARACTERS_MAX: usize = 80;

/// Somebody of whom the export speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    slack_id: String,
    /// What to make a handle of.
    name: String,
    display_name: DisplayName,
    email: Option<String>,
}

impl Person {
    /// The Slack id, which is none of Slack's, of whoever wrote a message without an author.
    pub(super) const UNKNOWN: &'static str = "unknown";

    /// As `users.json` describes them.
    pub(super) fn described(user: SlackUser) -> Self {
        let profile = user.profile;
        let names = [
            profile.display_name,
            profile.real_name,
            user.real_name,
            profile.name,
            user.name.clone(),
        ];
        Self {
            name: user.name.unwrap_or_else(|| user.id.clone()),
            display_name: display_name(names.into_iter().flatten(), &user.id),
            email: profile.email.filter(|email| !email.is_empty()),
            slack_id: user.id,
        }
    }

    /// Of whom nothing is known but an id.
    pub(super) fn mentioned(slack_id: &str) -> Self {
        let slackbot = (slack_id == "USLACKBOT").then(|| "Slackbot".to_owned());
        Self {
            slack_id: slack_id.to_owned(),
            name: slackbot.clone().unwrap_or_else(|| slack_id.to_owned()),
            display_name: display_name(slackbot.into_iter(), slack_id),
            email: None,
        }
    }

    /// Who wrote a message, as the message tells: a user, else a bot by its id, else a bot by its
    /// name, else somebody unknown.
    pub(super) fn author(author: &SlackAuthor) -> Self {
        let slack_id = match (&author.user, &author.bot_id, &author.username) {
            (Some(id), _, _) | (None, Some(id), _) if !id.is_empty() => id.clone(),
            (_, _, Some(name)) if !name.is_empty() => format!("bot:{name}"),
            (_, _, Some(_) | None) => Self::UNKNOWN.to_owned(),
        };
        let profile = author.user_profile.as_ref().or(author.bot_profile.as_ref());
        let short = profile.and_then(|profile| profile.name.clone());
        let long = profile.and_then(|profile| profile.real_name.clone());
        let told: Vec<String> = [long, author.username.clone(), short.clone()]
            .into_iter()
            .flatten()
            .filter(|n| !n.is_empty())
            .collect();
        if told.is_empty() {
            return Self::mentioned(&slack_id);
        }
        Self {
            name: short
                .filter(|name| !name.is_empty())
                .or_else(|| author.username.clone())
                .unwrap_or_else(|| slack_id.clone()),
            display_name: display_name(told.into_iter(), &slack_id),
            slack_id,
            email: None,
        }
    }

    pub(super) fn id(&self) -> UserId {
        ids::user(&self.slack_id)
    }
}

/// The first of `names` that can be one, cleaned and cut; else the Slack id.
fn display_name(mut names: impl Iterator<Item = String>, slack_id: &str) -> DisplayName {
    let cleaned = |name: &str| -> String {
        let printed = name.trim().chars().filter(|c| !c.is_control());
        printed.take(DISPLAY_NAME_CHARACTERS_MAX).collect()
    };
    names
        .find_map(|name| DisplayName::parse(&cleaned(&name)).ok())
        .or_else(|| DisplayName::parse(&cleaned(slack_id)).ok())
        .unwrap_or_else(nobody)
}

#[expect(clippy::expect_used, reason = "the name is a constant and valid")]
fn nobody() -> DisplayName {
    DisplayName::parse("Unknown").expect("a valid name")
}

/// `name` with everything that a handle may not have turned into `-`, cut to leave room for
/// `suffix`.
fn handle(name: &str, suffix: &str) -> Option<Handle> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mapped: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    let trimmed = mapped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let room = HANDLE_BYTES_MAX.saturating_sub(suffix.len());
    let cut = trimmed.get(..room).unwrap_or(trimmed).trim_end_matches('-');
    Handle::parse(&format!("{cut}{suffix}")).ok()
}

/// The accounts of an import.
pub(super) struct People<'a> {
    api: &'a CommandApi,
    actor: Actor,
    /// Slack ids whose accounts are there.
    present: HashSet<String>,
    /// Handles given to somebody of this export, and how often each name was asked for.
    given: HashSet<Handle>,
    asked: HashMap<Handle, u64>,
}

/// What came of one account.
struct Made {
    slack_id: String,
    is_new: bool,
    handle_changed: bool,
    email_left_out: bool,
}

impl<'a> People<'a> {
    pub(super) fn new(api: &'a CommandApi, actor: Actor) -> Self {
        Self {
            api,
            actor,
            present: HashSet::new(),
            given: HashSet::new(),
            asked: HashMap::new(),
        }
    }

    /// Sees to it that each of `people` has an account; who was seen to before costs nothing.
    /// Returns how many were new to this import.
    pub(super) async fn see_to(
        &mut self,
        people: impl IntoIterator<Item = Person>,
        report: &mut Report,
    ) -> Result<u64, Problem> {
        let mut missing = Vec::new();
        let mut named = HashSet::new();
        for person in people {
            if !self.present.contains(&person.slack_id) && named.insert(person.slack_id.clone()) {
                let handles = self.handles(&person);
                missing.push((person, handles));
            }
        }
        let (api, actor) = (self.api, self.actor);
        let made: Vec<Made> = stream::iter(missing)
            .map(|(person, handles)| make(api, actor, person, handles))
            .buffered(TOGETHER_MAX)
            .try_collect()
            .await?;
        let count = made.len() as u64;
        for made in made {
            report.users.add(made.is_new);
            report.handles_changed += u64::from(made.handle_changed);
            report.emails_left_out += u64::from(made.email_left_out);
            self.present.insert(made.slack_id);
        }
        Ok(count)
    }

    /// The handles that `person` tries, in order. The first is given to nobody else of the export,
    /// the others are theirs by their Slack id: who gets which does not depend on who comes first.
    fn handles(&mut self, person: &Person) -> Vec<Handle> {
        let by_id = person.slack_id.to_ascii_lowercase();
        let wanted = handle(&person.name, "").or_else(|| handle(&by_id, ""));
        let mut handles = Vec::new();
        if let Some(wanted) = wanted {
            let asked = self.asked.entry(wanted.clone()).or_insert(0);
            let mut free = Some(wanted.clone());
            while let Some(taken) = free.take_if(|handle| self.given.contains(handle)) {
                *asked += 1;
                free = handle(wanted.as_str(), &format!("-{}", *asked + 1));
                if free.as_ref() == Some(&taken) {
                    free = None;
                }
            }
            if let Some(free) = free {
                self.given.insert(free.clone());
                handles.push(free);
            }
            let short = by_id.get(..HANDLE_BYTES_MAX / 2).unwrap_or(&by_id);
            handles.extend(handle(wanted.as_str(), &format!("-{short}")));
        }
        let number = person.id().0.simple().to_string();
        handles.extend(handle("slack", &format!("-{}", &number[..24])));
        handles
    }
}

async fn make(
    api: &CommandApi,
    actor: Actor,
    person: Person,
    handles: Vec<Handle>,
) -> Result<Made, Problem> {
    let user = person.id();
    let mut made = Made {
        slack_id: person.slack_id.clone(),
        is_new: false,
        handle_changed: false,
        email_left_out: false,
    };
    if api.account(user).await?.is_some() {
        return Ok(made);
    }
    let started_at = api.clock().now();
    let mut held = None;
    for handle in handles {
        if claim(api, actor, user, &api.handle_stream(&handle)).await? {
            held = Some(handle);
            break;
        }
    }
    let handle = held.ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::CONFLICT,
            "no_free_handle",
            "Every handle for an imported user is taken",
        )
        .with_detail(format!("the Slack user {}", person.slack_id))
    })?;
    made.handle_changed = !handle.as_str().eq_ignore_ascii_case(&person.name);
    let mut email = None;
    if let Some(text) = &person.email {
        if let Ok(parsed) = Email::parse(text)
            && claim(api, actor, user, &api.email_stream(&parsed)).await?
        {
            email = Some(parsed);
        }
        made.email_left_out = email.is_none();
    }
    if api.clock().now() - started_at > HELD_FOR {
        let slow = Failure::unavailable("import a user", "the log took longer than claims hold");
        return Err(slow.into());
    }
    let imported_from = format!("slack:{}", person.slack_id);
    let id = ids::command("user", &person.slack_id);
    let envelope = Envelope::new(actor, id, &("import_user", &imported_from))?;
    let command = user::Command::Import {
        user,
        email,
        handle,
        display_name: person.display_name,
        imported_from,
    };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    made.is_new = done.changed;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_made_of_what_slack_allows() {
        for (name, suffix, expected) in [
            ("Anna", "", "anna"),
            ("anna b.", "", "anna-b."),
            ("_anna", "-2", "anna-2"),
            ("Zoë", "", "zo"),
            ("a", "", ""),
            ("名前", "", ""),
            ("anna-", "-2", "anna-2"),
        ] {
            let made = handle(name, suffix).map(|handle| handle.as_str().to_owned());
            assert_eq!(made.unwrap_or_default(), expected, "{name:?}");
        }
        let long = handle(&"a".repeat(40), "-12").unwrap();
        assert_eq!(long.as_str(), format!("{}-12", "a".repeat(29)));
    }

    #[test]
    fn everybody_can_be_called_something() {
        let none = display_name(std::iter::empty(), "");
        assert_eq!(none.as_str(), "Unknown");
        let names = ["  ", "\u{7}", " Anna\n"].map(str::to_owned);
        assert_eq!(display_name(names.into_iter(), "U1").as_str(), "Anna");
        let long = display_name(["ü".repeat(100)].into_iter(), "U1");
        assert_eq!(long.as_str(), "ü".repeat(80));
    }

    #[test]
    fn an_author_is_a_user_or_a_bot_or_somebody() {
        let author = |json: &str| Person::author(&serde_json::from_str(json).unwrap());
        let user = author(
            r#"{"user": "U1", "bot_id": "B1", "user_profile": {"real_name": "Anna", "name": "anna"}}"#,
        );
        assert_eq!((user.slack_id.as_str(), user.name.as_str()), ("U1", "anna"));
        assert_eq!(user.display_name.as_str(), "Anna");
        let bot = author(r#"{"bot_id": "B1", "username": "deploys"}"#);
        assert_eq!(
            (bot.slack_id.as_str(), bot.name.as_str()),
            ("B1", "deploys")
        );
        let nameless = author(r#"{"username": "old bot"}"#);
        assert_eq!(nameless.slack_id, "bot:old bot");
        assert_eq!(author("{}").slack_id, Person::UNKNOWN);
        assert_eq!(
            author(r#"{"user": "USLACKBOT"}"#).display_name.as_str(),
            "Slackbot"
        );
    }
}
