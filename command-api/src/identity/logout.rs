//! Ending a session: this one, or another of one's own.

use axum::extract::State;
use domain::session::{Command, RevokedBecause};
use domain::{SessionId, StreamName};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
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

/// Log out
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
) -> Result<Answered, Problem> {
    let session = asked.caller.session;
    Ok(log_out(&api, asked.asking, session).await?.ok())
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
    InPath(session): InPath<SessionId>,
) -> Result<Answered, Problem> {
    Ok(log_out(&api, asked.asking, session).await?.ok())
}
