//! Settings as they may be shown: what is secret in them is left out.

use serde::Serialize as _;

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(super) fn without_password<S: serde::Serializer>(
    url: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    url.as_deref().map(hide_password).serialize(serializer)
}

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(super) fn without_credentials<S: serde::Serializer>(
    urls: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    urls.as_deref().map(hide_credentials).serialize(serializer)
}

/// Says of a secret no more than that there is one.
#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(super) fn hidden<S: serde::Serializer>(
    secret: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "…").serialize(serializer)
}

/// A database URL that may be shown: the password is left out.
fn hide_password(url: &str) -> String {
    hide(url, |credentials| match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:…"),
        None => credentials.to_owned(),
    })
}

/// Addresses of NATS, with commas, that may be shown. Who stands there alone may be a token, so that
/// all of the credentials is left out.
fn hide_credentials(urls: &str) -> String {
    let shown: Vec<String> = urls
        .split(',')
        .map(|url| hide(url.trim(), |_| "…".to_owned()))
        .collect();
    shown.join(",")
}

/// An address with what `show` leaves of its credentials. A password may hold letters that should have
/// been escaped, and may stand behind the `?`: where that is in doubt, more is left out.
fn hide(url: &str, show: impl FnOnce(&str) -> String) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + "://".len()));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.contains('@') {
        // The `?` may be one of the password.
        return format!("{scheme}…");
    }
    let query = if query.is_empty() { "" } else { "?…" };
    match place.rsplit_once('@') {
        Some((credentials, place)) => format!("{scheme}{}@{place}{query}", show(credentials)),
        None => format!("{scheme}{place}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{hide_credentials, hide_password};
    use crate::settings::{Given, Settings};

    #[test]
    fn a_password_is_not_shown() {
        let shown = hide_password("postgres://verbatim:secret@db:5432/read");
        assert_eq!(shown, "postgres://verbatim:…@db:5432/read");
        let plain = "postgres://verbatim@db:5432/read";
        assert_eq!(hide_password(plain), plain);
        let several = hide_password("esdb://admin:secret@one:2113,two:2113");
        assert_eq!(several, "esdb://admin:…@one:2113,two:2113");
    }

    #[test]
    fn a_password_that_is_not_escaped_is_not_shown() {
        let shown = hide_password("postgres://verbatim:se@cr:e/t@db:5432/read");
        assert_eq!(shown, "postgres://verbatim:…@db:5432/read");
        for url in [
            "postgres://u:sec?ret@db/read",
            "postgres://u:s@c?ret@db/read",
        ] {
            assert_eq!(hide_password(url), "postgres://…", "{url}");
        }
    }

    #[test]
    fn a_password_behind_the_question_mark_is_not_shown() {
        let shown = hide_password("postgres://db/read?user=verbatim&password=secret");
        assert_eq!(shown, "postgres://db/read?…");
        let shown = hide_password("postgres://u@db/read?password=sec@ret");
        assert_eq!(shown, "postgres://…");
    }

    #[test]
    fn no_credentials_of_nats_are_shown() {
        let shown = hide_credentials("nats://u:secret@one:4222, nats://u:other@two:4222,three");
        assert_eq!(shown, "nats://…@one:4222,nats://…@two:4222,three");
        for url in ["nats://TOKEN@one", "nats://u:sec@ret@one"] {
            assert_eq!(hide_credentials(url), "nats://…@one", "{url}");
        }
        assert_eq!(hide_credentials("TOKEN@one:4222"), "…@one:4222");
        let text = "nats_url = 'nats://TOKEN@one,nats://u:secret@two'";
        let settings = Settings::merge(Given::default(), toml::from_str(text).unwrap()).unwrap();
        let shown = toml::to_string(&settings).unwrap();
        assert!(
            !shown.contains("TOKEN") && !shown.contains("secret@"),
            "{shown}"
        );
    }

    #[test]
    fn settings_are_not_shown_with_their_secrets_when_they_are_debugged() {
        let token = "0123456789abcdef0123456789abcdef";
        let text = format!("eventstore_token = '{token}'\nnats_url = 'nats://u:secret@one'");
        let given: Given = toml::from_str(&text).unwrap();
        let settings = Settings::merge(Given::default(), given.clone()).unwrap();
        let shown = format!("{given:?} {settings:?}");
        assert!(shown.contains("nats://…@one"), "{shown}");
        assert!(
            !shown.contains(token) && !shown.contains("secret@"),
            "{shown}"
        );
    }
}
