//! Opening a session, whichever way somebody came in: what they know or hold is checked before.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use domain::session::{Command, Opened, State as SessionState};
use domain::{CommandId, Personal, Position, SessionId, StreamName, UserId};
use infra::auth::TokenRefused;
use infra::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::execute::Envelope;

/// Longest name of a device, in characters.
const DEVICE_CHARACTERS_MAX: usize = 100;

/// Somebody who may come in.
pub(crate) struct WayIn {
    /// Who.
    pub(crate) user: UserId,
    /// The command, from which the session's id derives: a retry gets the session of the first try.
    pub(crate) command: CommandId,
    /// What was asked, in the command's metadata.
    pub(crate) envelope: Envelope,
    /// What the client calls its device, as [`check_device`] takes it.
    pub(crate) device: Option<String>,
    /// Where the client is.
    pub(crate) address: Option<IpAddr>,
}

/// A login that succeeded.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// For the header `Authorization: Bearer …`, and for `identify` on the stream.
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// After this moment the token is worth nothing.
    expires_at: DateTime<Utc>,
    /// The session, to be revoked by its id.
    session: SessionId,
    /// Whose.
    user: UserId,
    /// Position in the log of the login.
    position: Position,
}

/// Refuses a name of a device that is empty, too long or not plain: 422, pointing at `/device`.
pub(crate) fn check_device(device: &str) -> Result<(), Problem> {
    let fits = (1..=DEVICE_CHARACTERS_MAX).contains(&device.chars().count());
    if fits && !device.chars().any(char::is_control) {
        return Ok(());
    }
    let rule = "a device has 1 to 100 characters and no control characters";
    Err(Problem::invalid_field("/device", "invalid_device", rule))
}

/// Opens a session for `way_in` and signs a token for it.
///
/// # Errors
/// 401 `session_ended` for a retry whose session was revoked since, and what every command may answer.
pub(crate) async fn open_session(api: &CommandApi, way_in: WayIn) -> Result<LoggedIn, Problem> {
    let WayIn {
        user,
        command,
        envelope,
        device,
        address,
    } = way_in;
    let session = SessionId(command.derive("session").0);
    let opened = Opened {
        user,
        expires_at: api.clock().now() + api.session_lifetime(),
        device: device.map(|device| Personal::new(user, device)),
        address: address.map(|address| Personal::new(user, address.to_string())),
    };
    let stream = StreamName::session(session);
    let done = api
        .sessions()
        .execute(&stream, envelope, Command::Open(opened))
        .await?;
    // A retry gets a token for the session that the first try opened.
    let expires_at = match *api.session(session).await? {
        SessionState::Open { expires_at, .. } => expires_at,
        SessionState::Revoked { .. } | SessionState::Absent => {
            let ended = infra::auth::NotLetIn::Token(TokenRefused::SessionEnded);
            return Err(ended.into());
        }
    };
    let now = api.clock().now();
    Ok(LoggedIn {
        token: api.guard().tokens().sign(user, session, now, expires_at)?,
        token_type: "Bearer",
        expires_at,
        session,
        user,
        position: done.position,
    })
}
