//! Why a command was not carried out, and what the doors answer then.

use axum::http::StatusCode;
use domain::Refusal;
use infra::failure::Failure;
use infra::problem::Problem;

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The rules say no.
    #[error(transparent)]
    Refused(R),
    /// The same id came before with another body.
    #[error("this idempotency key was used for another command")]
    KeyReused,
    /// Others wrote to the stream again and again.
    #[error("others changed the same thing at the same time, again and again")]
    Conflict,
    /// Too much is waiting; this was not queued.
    #[error("too many commands are waiting")]
    Busy,
    /// The server is shutting down; this was not queued.
    #[error("the server is shutting down")]
    Closing,
    /// A fault of ours. The command may have been carried out; a retry under the same id finds out.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl<R: Refusal> ExecuteError<R> {
    /// The answer, where a refusal becomes what `refused` makes of it.
    pub fn into_problem(self, refused: impl FnOnce(&R) -> Problem) -> Problem {
        let unavailable = |code, title, detail| {
            let mut problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title).with_detail(detail);
            problem.retry_after_s = Some(1);
            problem
        };
        match self {
            Self::Refused(refusal) => refused(&refusal),
            Self::KeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another command",
            )
            .with_detail("a retry must ask the same; take a fresh key for another command"),
            Self::Conflict => Problem::new(
                StatusCode::CONFLICT,
                "conflict",
                "Others changed the same thing at the same time",
            )
            .with_detail("nothing was stored; try again"),
            Self::Busy => unavailable(
                "busy",
                "Too many commands are waiting",
                "nothing was stored; try again after a while",
            ),
            Self::Closing => unavailable(
                "shutting_down",
                "The server is shutting down",
                "nothing was stored; try again on another node or after a while",
            ),
            Self::Failure(failure) => failure.into(),
        }
    }
}

impl<R: Refusal> From<ExecuteError<R>> for Problem {
    fn from(error: ExecuteError<R>) -> Self {
        error.into_problem(|refusal| Self::refused(refusal))
    }
}
