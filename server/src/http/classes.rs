//! What a request counts as. A route that is in no table counts by its method; a new route that is more
//! delicate than others is one more line here.

use axum::http::Method;

/// What requests are counted as, each with limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// They change something.
    Commands,
    /// They do not.
    Reads,
    /// A password or a second factor is tried.
    Login,
    /// A code is asked for or tried.
    Code,
    /// An account is made.
    Registration,
}

/// Routes that count as something else than their method says.
const ROUTES: &[(&str, &str, Class)] = &[
    ("POST", "/v1/sessions", Class::Login),
    ("POST", "/v1/sessions/second-factor", Class::Login),
    ("POST", "/v1/sessions/passkey", Class::Login),
    ("POST", "/v1/passkeys/challenge", Class::Login),
    ("POST", "/v1/users/me/factors/totp", Class::Login),
    ("POST", "/v1/users/me/factors/totp/confirm", Class::Code),
    ("POST", "/v1/users/me/factors/totp/remove", Class::Login),
    ("POST", "/v1/users/me/factors/recovery-codes", Class::Login),
    (
        "POST",
        "/v1/users/me/factors/passkeys/challenge",
        Class::Login,
    ),
    (
        "POST",
        "/v1/users/me/factors/passkeys/{passkey}/remove",
        Class::Login,
    ),
    ("PUT", "/v1/users/me/password", Class::Login),
    ("POST", "/v1/users/me/deactivate", Class::Login),
    ("POST", "/v1/logins/{issuer}", Class::Login),
    ("POST", "/v1/logins/{issuer}/callback", Class::Login),
    ("POST", "/v1/owner", Class::Code),
    ("POST", "/v1/codes", Class::Code),
    ("POST", "/v1/sessions/code", Class::Code),
    ("POST", "/v1/passwords/reset", Class::Code),
    ("POST", "/v1/users/me/verify-email", Class::Code),
    ("POST", "/v1/users", Class::Registration),
];

/// What is not counted, by how its path begins: for those who run the server, and the same for everybody.
const FREE: &[&str] = &["/health/", "/metrics", "/docs", "/openapi.json"];

impl Class {
    /// What a request to `route` counts as; `None` where it does not count. Paths that no route has count
    /// too.
    pub(super) fn of(method: &Method, route: &str) -> Option<Self> {
        if FREE.iter().any(|free| route.starts_with(free)) {
            return None;
        }
        let listed = ROUTES
            .iter()
            .find(|(by, path, _)| method == *by && route == *path);
        Some(match listed {
            Some((_, _, class)) => *class,
            None if method.is_safe() => Self::Reads,
            None => Self::Commands,
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::Value;

    use super::{Class, FREE, ROUTES};

    #[test]
    fn what_is_not_listed_counts_by_its_method() {
        for (method, route, class) in [
            (Method::POST, "/v1/sessions", Some(Class::Login)),
            (Method::GET, "/v1/sessions", Some(Class::Reads)),
            (Method::POST, "/v1/conversations", Some(Class::Commands)),
            (
                Method::DELETE,
                "/v1/sessions/current",
                Some(Class::Commands),
            ),
            (Method::HEAD, "/v1/conversations", Some(Class::Reads)),
            (Method::GET, "unmatched", Some(Class::Reads)),
            (Method::GET, "/health/ready", None),
            (Method::GET, "/docs/{*rest}", None),
        ] {
            assert_eq!(Class::of(&method, route), class, "{method} {route}");
        }
    }

    #[test]
    fn what_is_listed_is_a_route() {
        let api: Value = serde_json::from_str(crate::http::WHOLE_API).unwrap();
        for (method, route, _) in ROUTES {
            let method = method.to_lowercase();
            assert!(api["paths"][route][&method].is_object(), "{method} {route}");
        }
        let paths = api["paths"].as_object().unwrap();
        let free = paths
            .keys()
            .filter(|path| path.starts_with(FREE[0]) || path.starts_with(FREE[1]));
        assert_eq!(free.count(), 3);
    }
}
