//! What all mails with a code have in common: the plain text and the HTML of one letter.

use chrono::{DateTime, Utc};
use infra::codes::Code;

/// The words of one mail. Plain text; nothing of it is HTML.
pub(super) struct Letter {
    /// The subject. Without the code, which would stand on locked screens.
    pub(super) subject: String,
    /// What the code is for.
    pub(super) what: String,
    /// What to do where somebody else asked for it.
    pub(super) if_not_you: String,
}

impl Letter {
    /// As plain text.
    pub(super) fn text(&self, code: &Code, expires_at: DateTime<Utc>) -> String {
        format!(
            "{what}\n\n    {code}\n\n{once}\n\n{if_not_you}\n",
            what = self.what,
            code = code.as_str(),
            once = good_once(expires_at),
            if_not_you = self.if_not_you,
        )
    }

    /// As a document in HTML, without anything to be loaded from elsewhere.
    pub(super) fn html(&self, code: &Code, expires_at: DateTime<Utc>) -> String {
        format!(
            "<!doctype html>\n\
             <html lang=\"en\">\n\
             <head><meta charset=\"utf-8\"><title>{subject}</title></head>\n\
             <body>\n\
             <p>{what}</p>\n\
             <p style=\"font-size: 1.75em; letter-spacing: 0.1em\"><strong>{code}</strong></p>\n\
             <p>{once}</p>\n\
             <p>{if_not_you}</p>\n\
             </body>\n\
             </html>\n",
            subject = escape(&self.subject),
            what = escape(&self.what),
            code = escape(code.as_str()),
            once = good_once(expires_at),
            if_not_you = escape(&self.if_not_you),
        )
    }
}

fn good_once(expires_at: DateTime<Utc>) -> String {
    let time = expires_at.format("%H:%M");
    format!(
        "It works once, until {time} UTC. Tell it to nobody: nobody who runs this will ask for it."
    )
}

/// The characters that mean something in HTML, as text and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{log_in, reset_password, verify_email};

    #[test]
    fn every_letter_has_the_code_and_its_end_in_both_parts_and_not_in_the_subject() {
        let code = Code::parse("01234567").unwrap();
        let server = "Tea & <Cake>";
        for letter in [
            verify_email::letter(server),
            log_in::letter(server),
            reset_password::letter(server),
        ] {
            let (text, html) = (
                letter.text(&code, DateTime::UNIX_EPOCH),
                letter.html(&code, DateTime::UNIX_EPOCH),
            );
            assert!(letter.subject.contains(server), "{}", letter.subject);
            assert!(!letter.subject.contains(code.as_str()));
            for part in [&text, &html] {
                assert!(part.contains("01234567"), "{part}");
                assert!(part.contains("00:00 UTC"), "{part}");
                assert!(part.contains("not you"), "{part}");
            }
            assert!(text.contains(server), "{text}");
            assert!(html.contains("Tea &amp; &lt;Cake&gt;"), "{html}");
            assert!(!html.contains("<Cake>"), "{html}");
        }
    }

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(
            escape("<a href=\"x\">'&"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"
        );
    }
}
