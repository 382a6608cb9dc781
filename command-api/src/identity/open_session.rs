//! Opening a session, whichever way somebody came in: what they know or hold is checked before.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use domain::session::{Command, Factor, Login, Opened, State as SessionState, VouchedBy};
use domain::user::Refused;
use domain::{CommandId, Personal, Position, SessionId, StreamName, UserId};
use infra::auth::cookies::Baked;
use infra::auth::{NotLetIn, TokenRefused};
use infra::keys::hex;
use infra::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::factors::ticket::check_second_factor;
use crate::identity::standing::{check_active, let_in, reactivate};

/// Longest name of a device, in characters.
const DEVICE_CHARACTERS_MAX: usize = 100;

/// Somebody who may come in.
pub(crate) struct WayIn {
    /// Who.
    pub(crate) user: UserId,
    /// The login epoch of the account as it was when what they know or hold was checked; not as it is
    /// now.
    pub(crate) login_epoch: u32,
    /// The command, from which the session's id derives: a retry gets the session of the first try.
    pub(crate) command: CommandId,
    /// What was asked, in the command's metadata.
    pub(crate) envelope: Envelope,
    /// What the client calls its device, as [`check_device`] takes it.
    pub(crate) device: Option<String>,
    /// Where the client is.
    pub(crate) address: Option<IpAddr>,
    /// What they showed.
    pub(crate) amr: BTreeSet<Factor>,
    /// Whether to open the account again, where its user has deactivated it.
    pub(crate) reactivate: bool,
    /// On whose word, where that is not our own.
    pub(crate) vouched_by: Option<VouchedBy>,
}

/// A login that succeeded, or goes on.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// For the header `Authorization: Bearer …`, and for `identify` on the stream. Absent where it is in
    /// a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Always `Bearer`.
    token_type: &'static str,
    /// After this moment the token is worth nothing.
    expires_at: DateTime<Utc>,
    /// To be exchanged for the next tokens, once. Absent where it is in a cookie, and for sessions from
    /// before there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// The session, to be revoked by its id.
    session: SessionId,
    /// After this moment the session cannot be refreshed: log in again.
    session_expires_at: DateTime<Utc>,
    /// Whose.
    user: UserId,
    /// Position in the log of the login, or of the refresh.
    position: Position,
}

/// How the tokens get to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// In the answer.
    InBody,
    /// In cookies.
    InCookies,
}

impl HandOver {
    /// As a request asks for it.
    pub(crate) const fn asked(cookies: bool) -> Self {
        if cookies {
            Self::InCookies
        } else {
            Self::InBody
        }
    }
}

impl LoggedIn {
    /// Signs an access token for `session`, which is `login`, and gives it its refresh token number
    /// `generation`.
    pub(crate) fn sign(
        api: &CommandApi,
        session: SessionId,
        login: &Login,
        generation: Option<u32>,
        position: Position,
    ) -> Result<Self, Problem> {
        let now = api.clock().now();
        let tokens = api.guard().tokens();
        let expires_at = api.session_rules().token_expires_at(now, login.expires_at);
        let refresh = generation.map(|generation| tokens.refresh().make(session, generation));
        Ok(Self {
            token: Some(tokens.sign(login.user, session, now, expires_at)?),
            token_type: "Bearer",
            expires_at,
            refresh_token: refresh.map(|refresh| refresh.text().to_owned()),
            session,
            session_expires_at: login.expires_at,
            user: login.user,
            position,
        })
    }

    /// The answer to whoever logged in. Nobody on the way keeps it.
    pub(crate) fn answer(
        mut self,
        api: &CommandApi,
        status: StatusCode,
        hand_over: HandOver,
    ) -> Result<Response, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match hand_over {
            HandOver::InBody => {}
            HandOver::InCookies => {
                let token = self.token.take().unwrap_or_default();
                let refresh_token = self.refresh_token.take();
                let baked = Baked {
                    session: self.session,
                    token: (&token, self.expires_at),
                    refresh: refresh_token.as_deref(),
                    session_expires_at: self.session_expires_at,
                };
                let (tokens, now) = (api.guard().tokens(), api.clock().now());
                let cookies = api.session_rules().cookies;
                cookies.set(&mut headers, tokens, baked, now)?;
            }
        }
        Ok((status, headers, Json(self)).into_response())
    }
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

/// Opens a session for `way_in` and signs its tokens.
///
/// Somebody may log out everywhere while this goes on. The session is of the epoch in which what opened
/// it was checked: a login that was checked before has ended wherever its event comes into the log, and
/// one that was checked after goes on.
///
/// # Errors
/// 401 `second_factor_required` where what they showed is not enough, `session_ended` for a retry whose
/// session was revoked since, 403 for an account that is not
/// active, and what every command may answer.
pub(crate) async fn open_session(api: &CommandApi, way_in: WayIn) -> Result<LoggedIn, Problem> {
    let account = api.account(way_in.user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    check_second_factor(api, &account, &way_in)?;
    if way_in.reactivate {
        reactivate(api, way_in.user, way_in.command).await?;
    }
    check_active(api, way_in.user).await?;
    let WayIn {
        user,
        login_epoch,
        command,
        envelope,
        device,
        address,
        amr,
        reactivate: _,
        vouched_by,
    } = way_in;
    let session = SessionId(command.derive("session").0);
    let refresh = api.guard().tokens().refresh().make(session, 0);
    let opened = Opened {
        user,
        expires_at: api.clock().now() + api.session_rules().session_lifetime,
        device: device.map(|device| Personal::new(user, device)),
        address: address.map(|address| Personal::new(user, address.to_string())),
        refresh_hash: Some(hex(&refresh.digest())),
        login_epoch,
        vouched_by,
        amr,
    };
    let stream = StreamName::session(session);
    let done = api
        .sessions()
        .execute(&stream, envelope, Command::Open(opened))
        .await?;
    // A retry gets tokens of the session that the first try opened, as it is by now.
    let login = login_of(api, session, &*api.session(session).await?).await?;
    let generation = login.refresh.as_ref().map(|refresh| refresh.generation);
    LoggedIn::sign(api, session, &login, generation, done.position)
}

/// The login of `session`, whose state is `state`.
///
/// # Errors
/// 401 `session_ended` where it was revoked, by itself or with all others, or never was; 403 for an
/// account that is not active.
pub(crate) async fn login_of(
    api: &CommandApi,
    session: SessionId,
    state: &SessionState,
) -> Result<Login, Problem> {
    let login = match state {
        SessionState::Open(login) => login,
        SessionState::Revoked { .. } | SessionState::Absent => return Err(session_ended()),
    };
    let account = api.account(login.user).await?;
    let account = account.filter(|account| account.lets_in(session, login));
    let account = account.ok_or_else(session_ended)?;
    let_in(account.standing(api.clock().now()))?;
    Ok(login.clone())
}

/// 401 `session_ended`.
pub(crate) fn session_ended() -> Problem {
    NotLetIn::Token(TokenRefused::SessionEnded).into()
}
