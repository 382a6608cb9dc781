//! What the answers have in common: problems as they are described, and pages.

use std::collections::BTreeMap;

use infra::problem::Problem;
use utoipa::IntoResponses;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Content, Ref, RefOr};

/// Problems that every read may answer, as they are described.
pub(crate) struct ReadProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [
            (
                "400",
                "`invalid_query`: a query parameter is not what it should be",
            ),
            (
                "401",
                "`unauthenticated`, `token_expired`, `token_invalid`, `session_ended`: log in \
                 (again)",
            ),
            (
                "408",
                "`request_timeout`: the request or its answer took too long",
            ),
            (
                "429",
                "`rate_limited`: try again after `Retry-After` seconds",
            ),
            (
                "500",
                "`internal`: the server failed; the trace id names the request in its logs",
            ),
            (
                "503",
                "`read_model_behind`, `unavailable`: try again after `Retry-After` seconds",
            ),
        ]
        .into_iter()
        .map(|(status, description)| {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", problem)
                .build();
            (status.to_owned(), response.into())
        })
        .collect()
    }
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

/// A page of at most `limit` rows out of `rows`, of which there is one more where the page is not the last;
/// then also how the page's last row is named, for the page after it.
pub(crate) fn page<R, N>(
    mut rows: Vec<R>,
    limit: usize,
    name: impl FnOnce(&R) -> N,
) -> (Vec<R>, Option<N>) {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(name);
    (rows, next)
}
