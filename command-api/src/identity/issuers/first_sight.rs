//! What happens when somebody comes with an issuer's own access token for the first time: their account
//! is made, and the login that the token is of becomes a session here, so that it can be seen, revoked
//! and streamed to as any other.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::session::{Command, Factor, Opened, Refused};
use domain::{Actor, CommandId, StreamName, UserId};
use infra::auth::FirstSight;
use infra::issuers::AccessToken;
use infra::problem::Problem;
use uuid::Uuid;

use super::admit::{Newcomers, Word, admit, vouched};
use super::issuer;
use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError};

/// How long a login that the issuer names may last here. Its tokens end sooner, each by itself; a login
/// that is older than this begins again at the issuer.
const NAMED_SESSION_MAX: TimeDelta = TimeDelta::days(366);

#[async_trait]
impl FirstSight for CommandApi {
    async fn admit(&self, token: &AccessToken) -> Result<(), Problem> {
        let issuer = issuer(self, token.issuer.as_str())?;
        let word = Word {
            issuer,
            profile: &token.profile,
            as_of: None,
        };
        let user = admit(self, word, Newcomers::AsConfigured).await?.user()?;
        open(self, user, token).await
    }
}

/// Opens the session of `token`. The one who was first has opened it for all.
async fn open(api: &CommandApi, user: UserId, token: &AccessToken) -> Result<(), Problem> {
    let stream = StreamName::session(token.session);
    let command = CommandId(Uuid::new_v5(&token.session.0, b"open"));
    let envelope = Envelope::new(Actor::User(user), command, &("open_session_of", &stream))?;
    let vouched = vouched(api, user, &token.issuer).await?;
    let opened = Opened {
        user,
        expires_at: until(api, token),
        device: None,
        address: None,
        refresh_hash: None,
        login_epoch: vouched.login_epoch,
        amr: [Factor::Issuer].into(),
        vouched_by: Some(vouched.by),
    };
    let done = api
        .sessions()
        .execute(&stream, envelope, Command::Open(opened))
        .await;
    match done {
        // Whether it is still good is for the guard to see.
        Ok(_) | Err(ExecuteError::Refused(Refused::AlreadyOpen)) => {
            api.guard().forget_session(token.session).await;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// When the session ends by itself: with the token where each token is a session of its own.
fn until(api: &CommandApi, token: &AccessToken) -> DateTime<Utc> {
    if token.names_session {
        api.clock().now() + NAMED_SESSION_MAX
    } else {
        token.expires_at
    }
}
