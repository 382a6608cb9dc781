//! Why an issuer's word could not be had, and what that answers.

use axum::http::StatusCode;

use crate::failure::Failure;
use crate::problem::Problem;

/// Seconds after which a client may ask again where an issuer was away.
const AGAIN_AFTER_S: u64 = 5;

/// Why an issuer's word could not be had. The texts are for our log; they hold no secrets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IssuerError {
    /// It did not answer in time, or not what it should.
    #[error("the issuer is away: {0}")]
    Away(String),
    /// As much is asked of it as may be at a time.
    #[error("too many requests to the issuer are under way")]
    Busy,
    /// It does not take what it was shown, or what it says does not hold.
    #[error("the issuer's word does not hold: {0}")]
    Refused(String),
    /// What it says held until a while ago.
    #[error("the issuer's word does not hold any more: exp is past")]
    Expired,
    /// A fault of ours.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<IssuerError> for Problem {
    /// Logs why, once; outsiders learn what to do.
    fn from(error: IssuerError) -> Self {
        let later = |code, title, seconds| {
            let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title);
            problem.retry_after_s = Some(seconds);
            problem
        };
        match error {
            IssuerError::Away(_) => {
                tracing::warn!(%error, "a login cannot go on");
                let title = "The service that vouches for you does not answer";
                later("issuer_unavailable", title, AGAIN_AFTER_S)
                    .with_detail("nothing was stored; try again, or log in another way")
            }
            IssuerError::Busy => later("busy", "Too many logins are waiting", 1),
            IssuerError::Refused(_) | IssuerError::Expired => {
                tracing::info!(%error, "a login was refused");
                Self::new(
                    StatusCode::UNAUTHORIZED,
                    "login_refused",
                    "The service that was to vouch for you did not",
                )
                .with_detail("begin the login again")
            }
            IssuerError::Failure(failure) => failure.into(),
        }
    }
}
