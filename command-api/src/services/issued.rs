//! What is answered where a token was issued.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::service::ServiceEvent;
use domain::{Event, Position, Seq, ServiceId, StreamName, UserId};
use infra::event_store::Direction;
use infra::failure::Failure;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::execute::Done;

/// Events of a command that issues a token, at most: those of a creation.
const EVENTS_MAX: usize = 2;

/// A service's token. It is shown here and nowhere else, and to the retries of the command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// Of which service.
    pub id: ServiceId,
    /// For the header `Authorization: Bearer …`. It begins with `vs_`.
    pub token: String,
    /// After this moment the token is worth nothing; absent: when it is replaced or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The user as whom the service acts, where it is a bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Version of the command's first event in the service's stream.
    pub seq: Seq,
    /// Position in the log of the command's last event.
    pub position: Position,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IssuedToken(of {})", self.id)
    }
}

/// The token that the command issued which came to `done`: of a retry, the one of the first try.
pub(super) async fn issued(
    api: &CommandApi,
    service: ServiceId,
    user: Option<UserId>,
    done: Done,
) -> Result<IssuedToken, Failure> {
    const WHAT: &str = "read which token was issued";
    let stream = StreamName::service(service);
    let events = api
        .store()
        .read_stream(&stream, done.seq, Direction::Forward, EVENTS_MAX)
        .await?;
    for recorded in &events {
        let event = recorded.event().map_err(|e| Failure::internal(WHAT, e))?;
        if let Event::Service(ServiceEvent::TokenIssued(issued)) = event {
            return Ok(IssuedToken {
                id: service,
                token: api.service_tokens().token(service, issued.generation),
                expires_at: issued.expires_at,
                user,
                seq: done.seq,
                position: done.position,
            });
        }
    }
    Err(Failure::internal(WHAT, "there is none in the stream"))
}
