//! Logging in: a session, and a token for it.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use domain::session::{Command, Opened, State as SessionState};
use domain::{Actor, CommandId, Personal, Position, SessionId, StreamName, UserId};
use infra::auth::TokenRefused;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::execute::Envelope;
use crate::passwords::PASSWORD_BYTES_MAX;
use crate::problems::OpenProblems;

/// Longest name of a device, in characters.
const DEVICE_CHARACTERS_MAX: usize = 100;

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Handle or e-mail address.
    login: String,
    /// The password.
    password: String,
    /// What the client calls its device: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
}

/// A login that succeeded.
#[derive(Clone, Debug, Serialize, ToSchema)]
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

fn wrong_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong_login",
        "Login or password is wrong",
    )
}

fn check_device(device: &str) -> Result<(), Problem> {
    let fits = (1..=DEVICE_CHARACTERS_MAX).contains(&device.chars().count());
    if fits && !device.chars().any(char::is_control) {
        return Ok(());
    }
    let rule = "a device has 1 to 100 characters and no control characters";
    Err(Problem::invalid_field("/device", "invalid_device", rule))
}

/// Opens a session for whoever knows the password.
async fn login(
    api: &CommandApi,
    request: Login,
    key: &Key,
    address: Option<SocketAddr>,
) -> Result<LoggedIn, Problem> {
    if let Some(device) = &request.device {
        check_device(device)?;
    }
    if request.password.len() > PASSWORD_BYTES_MAX {
        return Err(wrong_login());
    }
    // Without an account the password is checked all the same, so that time tells nothing.
    let found = api.find_user(&request.login).await?;
    let (user, hash) = match found {
        Some((user, account)) => (Some(user), account.password_hash),
        None => (None, None),
    };
    let verified = api.passwords().verify(hash, request.password).await?;
    let Some(user) = user.filter(|_| verified) else {
        return Err(wrong_login());
    };
    let command = key.command(|key| CommandId::of(user, key));
    let session = SessionId(command.derive("session").0);
    let body = ("login", &request.login, &request.device);
    let envelope = Envelope::new(Actor::User(user), command, &body)?;
    let opened = Opened {
        user,
        expires_at: api.clock().now() + api.session_lifetime(),
        device: request.device.map(|device| Personal::new(user, device)),
        address: address.map(|address| Personal::new(user, address.ip().to_string())),
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

/// Log in
#[utoipa::path(
    post,
    path = "/v1/sessions",
    tag = "sessions",
    request_body = Login,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_login`; `session_ended` for a retry of a login that was revoked since"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    Body(request): Body<Login>,
) -> Result<(StatusCode, Json<LoggedIn>), Problem> {
    let address = address.map(|Extension(ConnectInfo(address))| address);
    let logged_in = login(&api, request, &key, address).await?;
    Ok((StatusCode::CREATED, Json(logged_in)))
}
