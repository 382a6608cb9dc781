//! What the answers have in common: problems as they are described, limits of pages.

use infra::problem::Problem;
use utoipa::IntoResponses;

/// Problems that every read may answer.
#[derive(IntoResponses)]
#[expect(
    dead_code,
    reason = "describes answers; the problems themselves are made elsewhere"
)]
pub(crate) enum ReadProblems {
    /// `invalid_query`: a query parameter is not what it should be.
    #[response(status = 400, content_type = "application/problem+json")]
    InvalidQuery(#[to_schema] Problem),
    /// `unauthenticated`, `token_expired`, `token_invalid`, `session_ended`: log in (again).
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(#[to_schema] Problem),
    /// `internal`: the server failed; the trace id names the request in its logs.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] Problem),
    /// `read_model_behind`, `unavailable`: try again after `Retry-After` seconds.
    #[response(status = 503, content_type = "application/problem+json")]
    Behind(#[to_schema] Problem),
}

/// A page's size: `asked`, or `usual` where nothing was asked.
pub(crate) fn limit(asked: Option<usize>, usual: usize, max: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(usual),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::invalid_query(
            "limit",
            format!("a page has 1 to {max} entries"),
        )),
    }
}
