//! The mail that says what somebody missed: where, and how much, not what.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use domain::notifications::DigestIssued;
use infra::database::Database;
use infra::failure::Failure;
use infra::read_models::messages::unseen::Window;
use infra::read_models::notifications::{UserSettings, last_here, settings};
use infra::read_models::{ReadError, Snapshot, conversations, users};

use super::letter::escape;
use crate::missed::{MODELS, MissedIn, Of, missed};

/// Conversations that are named; of more it is only said that there are.
const NAMED_MAX: usize = 20;

/// The words of a digest.
pub(super) struct Digest {
    /// The subject.
    pub(super) subject: String,
    /// All as plain text.
    pub(super) text: String,
    /// All as a document in HTML.
    pub(super) html: String,
}

/// A place, and how much was missed there.
struct Line {
    name: String,
    messages: u64,
}

/// What `issued` has to say now, from a server that is called `server`; `None` where there is nothing any
/// more.
pub(super) async fn digest(
    database: &Database,
    issued: &DigestIssued,
    server: &str,
    now: DateTime<Utc>,
) -> Result<Option<Digest>, Failure> {
    let lines = lines(database, issued, now).await;
    let lines = lines.map_err(|error| Failure::unavailable("read what somebody missed", error))?;
    Ok((!lines.is_empty()).then(|| write(&lines, server)))
}

async fn lines(
    database: &Database,
    issued: &DigestIssued,
    now: DateTime<Utc>,
) -> Result<Vec<Line>, ReadError> {
    let user = issued.email.of;
    let mut snapshot = Snapshot::of(database, &MODELS).await?;
    let snapshot = &mut snapshot;
    let set = settings(snapshot, &[user]).await?;
    let set = set.get(&user);
    let is_later = |last: DateTime<Utc>| last > issued.issued_at;
    if set.and_then(|set| set.digest_at).is_some_and(is_later) {
        // The mail server was away for long: the later one says this, too.
        return Ok(Vec::new());
    }
    let set = set.map(UserSettings::settings);
    // Who was there since knows.
    let here = last_here(snapshot, user).await?;
    let since = here.unwrap_or(issued.issued_at);
    let (window, of) = (Window::since(since), Of::DirectAndCalls);
    let missed = missed(snapshot, user, &set.unwrap_or_default(), window, now, of).await?;
    let mut lines = Vec::with_capacity(missed.conversations.len());
    for MissedIn {
        conversation,
        messages,
    } in missed.conversations
    {
        let listed = conversations::of_member_one(snapshot, user, conversation).await?;
        let Some(listed) = listed else { continue };
        let with = match listed.with {
            Some(other) => users::one(snapshot, other).await?,
            None => None,
        };
        let name = match with {
            Some(other) => other.display_name,
            None => listed.conversation.title.unwrap_or_default(),
        };
        lines.push(Line { name, messages });
    }
    Ok(lines)
}

fn counted(messages: u64) -> String {
    if messages == 1 {
        "1 message".to_owned()
    } else {
        format!("{messages} messages")
    }
}

fn write(lines: &[Line], server: &str) -> Digest {
    let all = counted(lines.iter().map(|line| line.messages).sum());
    let subject = format!("{all} for you on {server}");
    let begin = format!("While you were away, there came for you on {server}:");
    let end = "What they say is not in this mail. You get it because you asked for it: to get no more, \
               turn digests off where your app has its settings for notifications.";
    let (mut text, mut list) = (format!("{begin}\n\n"), String::new());
    for line in lines.iter().take(NAMED_MAX) {
        let messages = counted(line.messages);
        // Writing into a string cannot fail.
        let _ = writeln!(text, "    {}: {messages}", line.name);
        let _ = writeln!(list, "<li>{}: {messages}</li>", escape(&line.name));
    }
    if lines.len() > NAMED_MAX {
        text.push_str("    and more\n");
        list.push_str("<li>and more</li>\n");
    }
    let _ = writeln!(text, "\n{end}");
    let html = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><title>{}</title></head>\n\
         <body>\n\
         <p>{}</p>\n\
         <ul>\n{list}</ul>\n\
         <p>{}</p>\n\
         </body>\n\
         </html>\n",
        escape(&subject),
        escape(&begin),
        escape(end),
    );
    Digest {
        subject,
        text,
        html,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_says_where_and_how_much_and_how_to_get_none() {
        let line = |name: &str, messages| Line {
            name: name.to_owned(),
            messages,
        };
        let one = write(&[line("Bob", 1)], "Tea House");
        assert_eq!(one.subject, "1 message for you on Tea House");
        let mut lines = vec![line("<b>Bob</b>", 1), line("Tea", 2)];
        lines.extend((0..NAMED_MAX).map(|_| line("Other", 1)));
        let many = write(&lines, "Tea House");
        assert_eq!(many.subject, "23 messages for you on Tea House");
        assert!(
            many.text
                .contains("    <b>Bob</b>: 1 message\n    Tea: 2 messages\n")
        );
        assert!(
            many.html
                .contains("<li>&lt;b&gt;Bob&lt;/b&gt;: 1 message</li>")
        );
        for part in [&many.text, &many.html] {
            assert!(
                part.contains("and more") && part.contains("turn digests off"),
                "{part}"
            );
        }
    }
}
