//! Who asks, and under which command id: read from a request's headers.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use domain::{Actor, CommandId, UserId};
use infra::auth::Caller;
use infra::clock::fresh_id;
use infra::http::{Authenticated, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_BYTES_MAX};
use infra::problem::Problem;
use serde::Serialize;

use crate::CommandApi;
use crate::execute::Envelope;

/// A user's command, whatever it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// Who.
    pub(crate) user: UserId,
    /// Names the command and its retries.
    pub(crate) command: CommandId,
}

impl Asking {
    /// What goes with the command into the log. `body` is all that is asked, with the command's
    /// name: the same key with another body is refused.
    pub(crate) fn envelope(&self, body: &impl Serialize) -> Result<Envelope, Problem> {
        Ok(Envelope::new(Actor::User(self.user), self.command, body)?)
    }
}

/// The `Idempotency-Key` of a request, if it has one. One that is empty, longer than 200 bytes or
/// not UTF-8 is 400 `invalid_idempotency_key`.
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) Option<String>);

impl Key {
    /// Checks a key, wherever it came from.
    pub(crate) fn check(key: &str) -> Result<&str, Problem> {
        if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
            Ok(key)
        } else {
            Err(invalid_key())
        }
    }

    /// The id that `name` makes of the key; a fresh one without a key.
    pub(crate) fn command(&self, name: impl FnOnce(&str) -> CommandId) -> CommandId {
        match &self.0 {
            Some(key) => name(key),
            None => CommandId(fresh_id()),
        }
    }
}

fn invalid_key() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid_idempotency_key",
        "The Idempotency-Key is not valid",
    )
    .with_detail("a key has 1 to 200 bytes of UTF-8, and a request has one key")
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else {
            return Ok(Self(None));
        };
        let key = std::str::from_utf8(key.as_bytes()).map_err(|_| invalid_key())?;
        if keys.next().is_some() {
            return Err(invalid_key());
        }
        Self::check(key).map(|key| Self(Some(key.to_owned())))
    }
}

/// A command of a caller with a good token.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) asking: Asking,
}

impl FromRequestParts<CommandApi> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &CommandApi) -> Result<Self, Problem> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, api).await?;
        let key = Key::from_request_parts(parts, api).await?;
        let user = caller.user;
        let command = key.command(|key| CommandId::of(user, key));
        Ok(Self {
            caller,
            asking: Asking { user, command },
        })
    }
}
