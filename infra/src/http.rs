//! What every route shares: reading bodies, queries and paths with problems that point at what is
//! wrong, and knowing the caller.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, FromRef, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::auth::{Caller, Guard};
use crate::problem::Problem;

/// Header that names a command, so that its retries are known as such.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;

/// A JSON body. Refuses what does not say that it is JSON (415 `unsupported_media_type`), as forms of other
/// sites cannot, what is not JSON (400 `malformed_body`), what has a field of the wrong type (422
/// `invalid_body`, with the field's pointer) and what is too large (413 `body_too_large`).
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = whole_body(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

/// The same where there need not be a body; an empty one is none.
#[derive(Clone, Copy, Debug)]
pub struct BodyIfAny<T>(pub Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for BodyIfAny<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = whole_body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        parse_json(&bytes).map(|value| Self(Some(value)))
    }
}

async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let is_json = says_json(request.headers());
    let body = Bytes::from_request(request, state).await;
    let body = body.map_err(|rejection| {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(status, "body_too_large", "The request body is too large")
        } else {
            Problem::malformed_body(rejection.body_text())
        }
    })?;
    if body.is_empty() || is_json {
        return Ok(body);
    }
    let (status, title) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON");
    let problem = Problem::new(status, "unsupported_media_type", title);
    Err(problem.with_detail("send the header Content-Type: application/json"))
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a JSON object that came from outside; problems as for [`Body`]. An array is none, though it
/// may have the values of the fields in their order.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "this is an array; send an object";
        return Err(Problem::invalid_field("", "invalid", detail));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().clone();
        let error = error.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => {
                let detail = without_place(&error);
                let pointer = pointer_of(&path) + &missing_field(&detail);
                Problem::invalid_field(&pointer, "invalid", plainly(&detail))
            }
            _ => Problem::malformed_body(error),
        }
    })?;
    deserializer.end().map_err(Problem::malformed_body)?;
    Ok(value)
}

/// The rest of the pointer where a field is missing: the path ends at what it should be in.
fn missing_field(detail: &str) -> String {
    let field = detail
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    field.map_or_else(String::new, |field| format!("/{field}"))
}

/// `serde_json` ends its messages with a place in the text; the pointer says it better.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(message, _)| message.to_owned())
}

/// The JSON Pointer (RFC 6901) of a path; the empty pointer is the whole body.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {
                pointer.pop();
            }
        }
    }
    pointer
}

/// Query parameters; what cannot be read is 400 `invalid_query`. Unknown ones are refused where the
/// type says `deny_unknown_fields`.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| query_problem(&rejection.body_text()))
    }
}

/// What is wrong with a query, where axum says it: the parameter's name comes first if it is known.
fn query_problem(said: &str) -> Problem {
    let said = said
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(said);
    let is_name = |name: &str| !name.contains(char::is_whitespace);
    match said.split_once(": ") {
        Some((name, detail)) if is_name(name) => Problem::invalid_query(name, plainly(detail)),
        _ => Problem::invalid_query("", said),
    }
}

/// What is to be sent instead, where those who read values only say what they stumbled over.
fn plainly(detail: &str) -> &str {
    const NO_TIME: [&str; 5] = [
        "premature end of input",
        "input contains invalid characters",
        "input is out of range",
        "input is not enough for unique date and time",
        "trailing input",
    ];
    if detail.starts_with("UUID parsing failed") {
        "this is no id; ids are like 270a656e-ec3e-5a25-9d76-0e649f5b0aa8"
    } else if NO_TIME.contains(&detail) {
        "this is no time as in RFC 3339, like 2026-11-21T09:34:58Z"
    } else {
        detail
    }
}

/// Parts of the path; what is no id is 404 `not_found`, as there is no such thing.
#[derive(Clone, Copy, Debug)]
pub struct InPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(path)| Self(path))
            .map_err(|rejection| Problem::not_found("not_found", path_detail(&rejection)))
    }
}

fn path_detail(rejection: &PathRejection) -> String {
    if let PathRejection::FailedToDeserializePathParams(failed) = rejection
        && let ErrorKind::DeserializeError {
            key,
            value,
            message,
        } = failed.kind()
    {
        return format!("{key} is {value:?}: {}", plainly(message));
    }
    rejection.body_text()
}

/// Where the client is; `None` where the request came over no network, as in tests. Behind proxies it is
/// what whoever serves found out and put into the request's extensions; else the other end of the
/// connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let found = parts.extensions.get::<Self>().copied();
        Ok(found.unwrap_or_else(|| {
            let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>();
            Self(connection.map(|ConnectInfo(address)| address.ip().to_canonical()))
        }))
    }
}

/// What came of asking who the caller is, where that was asked before the route was reached. In the
/// request's extensions, so that it is not asked twice.
#[derive(Clone, Debug)]
pub struct Checked(pub Result<Caller, Problem>);

/// A caller who is a user, person or bot, by `Authorization: Bearer …` or by cookie; without a good
/// token 401, with that of a service that acts as no user 403 `service_not_allowed`, and 403
/// `csrf_token_wrong` for a cookie that may have been sent on behalf of another site.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Caller);

/// A caller of any kind: for routes that look at what a service may do. Without a good token 401.
#[derive(Clone, Debug)]
pub struct AnyCaller(pub Caller);

/// 403 `forbidden` for everybody but admins and owners.
pub fn admins_only(caller: &Caller) -> Result<(), Problem> {
    if caller.is_admin() {
        Ok(())
    } else {
        Err(Problem::forbidden(
            "this is for admins and owners of the server",
        ))
    }
}

/// 403 `service_not_allowed`: the service's scopes are for other things.
pub fn service_not_allowed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "service_not_allowed",
        "This is not among what the service may do",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated
where
    Arc<Guard>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let AnyCaller(caller) = AnyCaller::from_request_parts(parts, state).await?;
        if caller.is_user() {
            Ok(Self(caller))
        } else {
            Err(service_not_allowed())
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AnyCaller
where
    Arc<Guard>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(Checked(caller)) = parts.extensions.get::<Checked>() {
            return caller.clone().map(Self);
        }
        Arc::<Guard>::from_ref(state)
            .caller_of(&parts.method, &parts.headers)
            .await
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{parse_json, query_problem};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        #[serde(rename = "body")]
        _body: String,
    }

    fn pointer_and_detail(text: &str) -> (String, String) {
        let problem = parse_json::<Message>(text.as_bytes()).unwrap_err();
        assert_eq!(problem.code, "invalid_body", "{problem}");
        let field = problem.errors.into_iter().next().unwrap();
        (field.pointer, field.detail)
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        assert_eq!(pointer_and_detail("{}").0, "/body");
        assert_eq!(pointer_and_detail(r#"{"body":7}"#).0, "/body");
        assert_eq!(pointer_and_detail(r#"{"body":"a","more":1}"#).0, "/more");
        let (pointer, detail) = pointer_and_detail(r#"["a"]"#);
        assert_eq!(pointer, "");
        assert!(detail.contains("object"), "{detail}");
    }

    #[test]
    fn ids_and_times_are_asked_for_in_words() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[serde(rename = "author")]
            _author: Option<domain::UserId>,
            #[serde(rename = "after")]
            _after: Option<chrono::DateTime<chrono::Utc>>,
        }
        let wrong = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            let rejection = axum::extract::Query::<Asked>::try_from_uri(&uri).unwrap_err();
            let field = query_problem(&rejection.body_text()).errors.remove(0);
            (field.pointer, field.detail)
        };
        for (query, name, word) in [
            ("author=carol", "?author", "ids are like"),
            ("after=2026-11-22", "?after", "RFC 3339"),
            ("after=yesterday", "?after", "RFC 3339"),
            ("page=2", "?page", "unknown field"),
        ] {
            let (pointer, detail) = wrong(query);
            assert_eq!(pointer, name, "{detail}");
            assert!(detail.contains(word), "{detail}");
        }
    }

    #[test]
    fn what_nests_too_deeply_is_malformed() {
        for open in ["[", "{\"a\":"] {
            let text = format!("{{\"a\":{}", open.repeat(100_000));
            let problem = parse_json::<serde_json::Value>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code, "malformed_body", "{problem}");
            assert!(problem.to_string().contains("recursion"), "{problem}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for text in ["", "{", "nonsense", r#"{"body":"a"} more"#] {
            let problem = parse_json::<Message>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code, "malformed_body", "{text}");
        }
    }
}
