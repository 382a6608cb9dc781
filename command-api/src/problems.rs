//! The problems that every command may answer, for the description of the API. A route that has more
//! codes of a status says all of them itself.

use std::collections::BTreeMap;

use infra::problem::Problem;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoResponses, ToSchema as _};

/// Of commands that need no token.
pub(crate) struct OpenProblems;

/// Of commands of a caller with a token.
pub(crate) struct CommandProblems;

const OPEN: [(&str, &str); 10] = [
    ("400", "`malformed_body`, `invalid_idempotency_key`"),
    ("408", "`request_timeout`"),
    (
        "409",
        "`conflict`: others kept changing the same thing; try again",
    ),
    ("413", "`body_too_large`"),
    (
        "415",
        "`unsupported_media_type`: a body is application/json",
    ),
    (
        "422",
        "`invalid_body` with a pointer to each wrong field, `idempotency_key_reused`",
    ),
    ("429", "`rate_limited`; with Retry-After"),
    (
        "500",
        "`internal`: look for the trace id in the server's log",
    ),
    (
        "503",
        "`busy`, `shutting_down`, `unavailable`; with Retry-After",
    ),
    ("507", "`storage_full`; with Retry-After"),
];

const TOKEN: [(&str, &str); 2] = [
    (
        "401",
        "`unauthenticated`, `token_expired`, `token_invalid`, `session_ended`",
    ),
    (
        "403",
        "`csrf_token_wrong`: the token is in a cookie, and x-csrf-token is missing or wrong; \
         `account_suspended`; `service_not_allowed`",
    ),
];

/// A problem with one of the codes in `description`.
pub(crate) fn response(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
        .into()
}

fn responses(
    problems: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> BTreeMap<String, RefOr<Response>> {
    problems
        .into_iter()
        .map(|(status, codes)| (status.to_owned(), response(codes)))
        .collect()
}

impl IntoResponses for OpenProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(OPEN)
    }
}

impl IntoResponses for CommandProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(OPEN.into_iter().chain(TOKEN))
    }
}
