//! Tokens in cookies, for browsers: which cookies there are, how they are set and cleared, and how they
//! are read.
//!
//! A browser sends cookies along with whatever another site makes it ask. `SameSite=Strict` keeps them
//! back; where that is not enough, [`CSRF_HEADER`] has to show that whoever asks can read our cookies.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use domain::SessionId;

use crate::auth::Tokens;
use crate::failure::Failure;

/// The cookie with the access token.
pub const TOKEN_COOKIE: &str = "verbatim_token";

/// The cookie with the refresh token; it is sent to [`REFRESH_PATH`] only.
pub const REFRESH_COOKIE: &str = "verbatim_refresh";

/// The cookie whose value goes into [`CSRF_HEADER`]. Scripts can read it.
pub const CSRF_COOKIE: &str = "verbatim_csrf";

/// What a request that is known by its cookies and changes something has to carry.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Where refresh tokens are exchanged.
pub const REFRESH_PATH: &str = "/v1/sessions/refresh";

/// Where the access token is sent.
const TOKEN_PATH: &str = "/v1";

/// Over which connections browsers send our cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieSecurity {
    /// Only over TLS.
    #[default]
    TlsOnly,
    /// Also in the clear: for trying things out on a machine.
    Any,
}

/// What goes into cookies.
#[derive(Clone, Copy)]
pub struct Baked<'a> {
    /// Of which session.
    pub session: SessionId,
    /// The access token, and until when it is good.
    pub token: (&'a str, DateTime<Utc>),
    /// The refresh token, where there is one.
    pub refresh: Option<&'a str>,
    /// Until when the session lasts.
    pub session_expires_at: DateTime<Utc>,
}

/// One cookie, whatever is in it.
struct Cookie {
    name: &'static str,
    attributes: &'static str,
    path: &'static str,
}

const TOKEN: Cookie = Cookie {
    name: TOKEN_COOKIE,
    attributes: "; HttpOnly",
    path: TOKEN_PATH,
};

const REFRESH: Cookie = Cookie {
    name: REFRESH_COOKIE,
    attributes: "; HttpOnly",
    path: REFRESH_PATH,
};

const CSRF: Cookie = Cookie {
    name: CSRF_COOKIE,
    attributes: "",
    path: "/",
};

impl Cookie {
    /// The header that sets it to `value` for `seconds`; with 0 it is gone at once.
    fn set(
        &self,
        security: CookieSecurity,
        value: &str,
        seconds: i64,
    ) -> Result<HeaderValue, Failure> {
        let secure = match security {
            CookieSecurity::TlsOnly => "; Secure",
            CookieSecurity::Any => "",
        };
        let Self {
            name,
            attributes,
            path,
        } = self;
        let text = format!(
            "{name}={value}; Path={path}; Max-Age={seconds}; SameSite=Strict{attributes}{secure}"
        );
        let mut header = HeaderValue::try_from(text)
            .map_err(|error| Failure::internal("set a cookie", error))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl CookieSecurity {
    /// Adds the cookies of a session to the headers of an answer that is given at `now`.
    pub fn set(
        self,
        headers: &mut HeaderMap,
        tokens: &Tokens,
        baked: Baked<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let lasts = |until: DateTime<Utc>| (until - now).num_seconds().max(0);
        let session_lasts = lasts(baked.session_expires_at);
        let (token, token_expires_at) = baked.token;
        let token = TOKEN.set(self, token, lasts(token_expires_at))?;
        headers.append(header::SET_COOKIE, token);
        if let Some(refresh) = baked.refresh {
            let refresh = REFRESH.set(self, refresh, session_lasts)?;
            headers.append(header::SET_COOKIE, refresh);
        }
        let csrf = CSRF.set(self, &tokens.csrf(baked.session), session_lasts)?;
        headers.append(header::SET_COOKIE, csrf);
        Ok(())
    }

    /// Makes the browser forget all of them.
    pub fn clear(self, headers: &mut HeaderMap) -> Result<(), Failure> {
        for cookie in [TOKEN, REFRESH, CSRF] {
            headers.append(header::SET_COOKIE, cookie.set(self, "", 0)?);
        }
        Ok(())
    }
}

/// The cookie `name` of a request. Of several with that name the first: browsers send the one with the
/// longest path first (RFC 6265, section 5.4).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// Whether a page of our own host asks: `Origin` names the host and port of `Host`. A browser sends it
/// with every WebSocket, and no page can change it.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name)?.to_str().ok();
    let origin: Option<&str> = text(header::ORIGIN);
    let origin = origin.and_then(|origin| origin.split_once("://"));
    match (origin, text(header::HOST)) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::keys::Secret;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let mut sent = headers(&[(
            header::COOKIE,
            "a=1; verbatim_token=x.y=;verbatim_tokens=no",
        )]);
        sent.append(header::COOKIE, HeaderValue::from_static("b=2"));
        assert_eq!(cookie(&sent, TOKEN_COOKIE), Some("x.y="));
        assert_eq!(cookie(&sent, "b"), Some("2"));
        assert_eq!(cookie(&sent, "verbatim"), None);
        assert_eq!(cookie(&HeaderMap::new(), "a"), None);
    }

    #[test]
    fn cookies_are_for_tls_and_tokens_are_not_for_scripts() {
        let tokens = Tokens::new(&Secret::new([1; 32])).unwrap();
        let session = SessionId(Uuid::from_u128(2));
        let now = DateTime::UNIX_EPOCH;
        let refresh = tokens.refresh().make(session, 0);
        let baked = Baked {
            session,
            token: ("a.b.c", now + TimeDelta::minutes(15)),
            refresh: Some(refresh.text()),
            session_expires_at: now + TimeDelta::hours(1),
        };
        let set = |security: CookieSecurity| -> Vec<String> {
            let mut headers = HeaderMap::new();
            security.set(&mut headers, &tokens, baked, now).unwrap();
            let set = headers.get_all(header::SET_COOKIE).iter();
            set.map(|value| value.to_str().unwrap().to_owned())
                .collect()
        };
        let csrf = tokens.csrf(session);
        let refresh = refresh.text();
        assert_eq!(
            set(CookieSecurity::TlsOnly),
            [
                "verbatim_token=a.b.c; Path=/v1; Max-Age=900; SameSite=Strict; HttpOnly; Secure"
                    .to_owned(),
                format!(
                    "verbatim_refresh={refresh}; Path=/v1/sessions/refresh; Max-Age=3600; \
                     SameSite=Strict; HttpOnly; Secure"
                ),
                format!("verbatim_csrf={csrf}; Path=/; Max-Age=3600; SameSite=Strict; Secure"),
            ]
        );
        for cookie in set(CookieSecurity::Any) {
            assert!(!cookie.contains("Secure"), "{cookie}");
        }
    }

    #[test]
    fn only_pages_of_the_same_host_and_port_are_of_the_same_origin() {
        let asked = |origin: &str| {
            let pairs = [
                (header::HOST, "chat.example.org:8443"),
                (header::ORIGIN, origin),
            ];
            is_same_origin(&headers(&pairs))
        };
        assert!(asked("https://chat.example.org:8443"));
        assert!(asked("https://Chat.Example.ORG:8443"));
        for other in [
            "https://chat.example.org",
            "https://chat.example.org:8444",
            "https://evil.example.org:8443",
            "https://chat.example.org:8443.evil.example",
            "https://chat.example.org:8443@evil.example",
            "null",
            "",
        ] {
            assert!(!asked(other), "{other}");
        }
        assert!(!is_same_origin(&headers(&[(header::HOST, "a")])));
        assert!(!is_same_origin(&headers(&[(header::ORIGIN, "https://a")])));
    }
}
