//! Requests whose head alone says that they are not to be served: ambiguous ones, which a proxy might
//! read otherwise than we do, and those with a token where everybody writes it down.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use infra::problem::Problem;

/// Names of query parameters under which clients send tokens.
const TOKENS: [&str; 2] = ["token", "access_token"];

/// Refuses them. Where the end of a request is a matter of opinion, nothing else is read from its
/// connection.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let ambiguous = ambiguity(&request);
    let closes = is_chunked || ambiguous.is_some();
    let mut response = match ambiguous.or_else(|| token_in_url(&request)) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    if closes {
        // A request with both lengths is read as chunked (RFC 9112, section 6.1), and the other length
        // is gone by now. So all that is chunked ends its connection.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// What could be read in two ways.
fn ambiguity(request: &Request) -> Option<Problem> {
    let count = |name| request.headers().get_all(name).iter().count();
    let hosts = count(header::HOST);
    let needs_host = request.version() == Version::HTTP_11 && request.uri().host().is_none();
    let detail = if hosts > 1 || (hosts == 0 && needs_host) {
        "a request has one Host"
    } else if count(header::TRANSFER_ENCODING) > 1 || !is_plainly_chunked(request) {
        "the only Transfer-Encoding is chunked"
    } else {
        return None;
    };
    let title = "The request can be read in several ways";
    let problem = Problem::new(StatusCode::BAD_REQUEST, "ambiguous_request", title);
    Some(problem.with_detail(detail))
}

fn is_plainly_chunked(request: &Request) -> bool {
    let encoding = request.headers().get(header::TRANSFER_ENCODING);
    encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Addresses are kept in histories and logs, and passed on; so what is in them is not a secret.
fn token_in_url(request: &Request) -> Option<Problem> {
    let query = request.uri().query()?;
    let mut names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    let has_token = names.any(|name| TOKENS.iter().any(|token| name.eq_ignore_ascii_case(token)));
    has_token.then(|| {
        let title = "A token stands in the address";
        Problem::new(StatusCode::BAD_REQUEST, "token_in_url", title).with_detail(
            "send it in the header Authorization: Bearer …, and end its session: it may have been \
             written down on the way",
        )
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::{ambiguity, token_in_url};

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_token_is_found_wherever_it_stands_in_the_query() {
        for (uri, found) in [
            ("/v1/users?token=x", true),
            ("/v1/users?limit=1&access_token=x", true),
            ("/v1/users?TOKEN", true),
            ("/v1/users?tokens=x", false),
            ("/v1/token", false),
            ("/v1/users?handle=token", false),
        ] {
            let problem = token_in_url(&request(uri, &[]));
            assert_eq!(problem.is_some(), found, "{uri}");
        }
    }

    #[test]
    fn there_is_one_host_and_one_way_to_find_the_end() {
        let host = ("host", "a");
        for (headers, is_good) in [
            (vec![host], true),
            (vec![], false),
            (vec![host, host], false),
            (vec![host, ("transfer-encoding", "Chunked")], true),
            (vec![host, ("transfer-encoding", "gzip, chunked")], false),
            (
                vec![
                    host,
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                false,
            ),
        ] {
            let problem = ambiguity(&request("/v1/users", &headers));
            assert_eq!(problem.is_none(), is_good, "{headers:?}");
        }
        assert!(ambiguity(&request("http://a/v1/users", &[])).is_none());
    }
}
