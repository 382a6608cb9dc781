//! Ending a session: this one, or another of one's own.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use domain::session::{Command, RevokedBecause};
use domain::{SessionId, StreamName};
use infra::auth::SentToken;
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// Ends a session of the asker.
async fn log_out(api: &CommandApi, asking: Asking, session: SessionId) -> Result<Answer, Problem> {
    let envelope = asking.envelope(&("log_out", session))?;
    let stream = StreamName::session(session);
    let command = Command::Revoke {
        by: asking.user,
        because: RevokedBecause::LoggedOut,
    };
    let done = api.sessions().execute(&stream, envelope, command).await?;
    api.guard().forget_session(session).await;
    Ok(Answer::new(session.0, done))
}

/// The answer to one whose own session has ended: a browser forgets its cookies.
pub(crate) fn goodbye(
    api: &CommandApi,
    headers: &HeaderMap,
    answer: Answer,
) -> Result<Response, Problem> {
    let mut response = answer.ok().into_response();
    match SentToken::of(headers)? {
        SentToken::Header(_) => {}
        SentToken::Cookie(_) => api.session_rules().cookies.clear(response.headers_mut())?,
    }
    Ok(response)
}

/// Log out
///
/// A browser that has its tokens in cookies forgets them.
#[utoipa::path(
    delete,
    path = "/v1/sessions/current",
    tag = "sessions",
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "The session has ended"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_current(
    State(api): State<CommandApi>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = asked.caller.session;
    let answer = log_out(&api, asked.asking, session).await?;
    goodbye(&api, &headers, answer)
}

/// End a session of one's own
#[utoipa::path(
    delete,
    path = "/v1/sessions/{session}",
    tag = "sessions",
    params(
        ("session" = SessionId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The session has ended"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`session_not_found`, also for those of others"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    headers: HeaderMap,
    InPath(session): InPath<SessionId>,
) -> Result<Response, Problem> {
    let own = asked.caller.session;
    let answer = log_out(&api, asked.asking, session).await?;
    if session == own {
        goodbye(&api, &headers, answer)
    } else {
        Ok(answer.ok().into_response())
    }
}
