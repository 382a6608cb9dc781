//! From a token to a [`Caller`]: the one check behind every door.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use domain::session::{self, Session, VouchedBy};
use domain::user::{self, User};
use domain::{SessionId, StreamName, UserId};
use futures::future::BoxFuture;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::auth::theirs::{FirstSight, Theirs};
use crate::auth::{Caller, Claims, TokenRefused, Tokens};
use crate::clock::Clock;
use crate::event_store::EventStore;
use crate::failure::Failure;
use crate::issuers::{AccessToken, Issuer, Issuers};
use crate::problem::Problem;
use crate::states::States;

/// Tokens whose signatures are remembered as good; of more, the least used is checked again.
const SIGNED_MAX: u64 = 100_000;

/// How long the signature of an unused token is remembered.
const SIGNED_IDLE_MAX: Duration = Duration::from_mins(10);

/// Checks tokens against the log: a revoked session or role counts within
/// [`States::AGE_MAX`] on every node.
pub struct Guard {
    tokens: Tokens,
    /// Tokens whose signature was found good, by their SHA-256.
    signed: Cache<[u8; 32], Claims>,
    sessions: States<Session>,
    users: States<User>,
    /// Access tokens of issuers.
    theirs: Theirs,
    clock: Clock,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotLetIn {
    /// The token is worth nothing.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// Their issuer is away, or their account is not let in or cannot be made.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The log could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<Problem> for NotLetIn {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<NotLetIn> for Problem {
    fn from(why: NotLetIn) -> Self {
        match why {
            NotLetIn::Token(refused) => {
                let mut problem = Self::unauthenticated(refused);
                let code = match refused {
                    TokenRefused::Expired => "token_expired",
                    TokenRefused::Invalid => "token_invalid",
                    TokenRefused::SessionEnded => "session_ended",
                    TokenRefused::AccountNotReady => "account_not_ready",
                };
                code.clone_into(&mut problem.code);
                problem
            }
            NotLetIn::Problem(problem) => *problem,
            NotLetIn::Failure(failure) => failure.into(),
        }
    }
}

impl Guard {
    /// Checks tokens of `tokens` against what `store` says of sessions and users.
    pub fn new(tokens: Tokens, store: &Arc<dyn EventStore>, clock: &Clock) -> Self {
        Self {
            tokens,
            signed: Cache::builder()
                .max_capacity(SIGNED_MAX)
                .time_to_idle(SIGNED_IDLE_MAX)
                .build(),
            sessions: States::new(Arc::clone(store), clock.clone()),
            users: States::new(Arc::clone(store), clock.clone()),
            theirs: Theirs::new(store, clock),
            clock: clock.clone(),
        }
    }

    /// The same, which also takes access tokens of `issuers`.
    #[must_use]
    pub fn with_issuers(mut self, issuers: Arc<Issuers>) -> Self {
        self.theirs.take_from(issuers);
        self
    }

    /// From now on `first_sight` makes accounts and sessions of those who come with an issuer's access
    /// token for the first time. Without it, and once it is gone, they are
    /// [`TokenRefused::AccountNotReady`]. Only the first call counts.
    pub fn set_first_sight(&self, first_sight: Weak<dyn FirstSight>) {
        self.theirs.set_first_sight(first_sight);
    }

    /// Who holds `token`. Boxed, so that every door does not compile all of it again.
    pub fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, NotLetIn>> {
        Box::pin(self.check(token))
    }

    async fn check(&self, token: &str) -> Result<Caller, NotLetIn> {
        if let Some(issuer) = self.theirs.issuer_of(token) {
            return self.check_theirs(issuer, token).await;
        }
        let claims = self.claims(token).await?;
        let stream = StreamName::session(claims.sid);
        let mut session = self.sessions.recent(&stream).await?;
        if matches!(*session, session::State::Absent) {
            session = self.sessions.current(&stream).await?;
        }
        let (expires_at, vouched_by) = match &*session {
            session::State::Open {
                user,
                expires_at,
                vouched_by,
            } if *user == claims.sub => (*expires_at.min(&claims.expires_at()), vouched_by),
            _ => return Err(TokenRefused::SessionEnded.into()),
        };
        if expires_at <= self.clock.now() {
            return Err(TokenRefused::Expired.into());
        }
        // A login on the word of an issuer ends with the identity.
        let is_good = |user: &user::State| {
            let since = |word: &VouchedBy| user.account.as_ref()?.linked_since(&word.issuer);
            vouched_by
                .iter()
                .all(|word| since(word) == Some(word.since))
        };
        let stream = StreamName::user(claims.sub);
        let mut user = self.users.recent(&stream).await?;
        if !is_good(&user) {
            // It may have been linked just now, on another node.
            user = self.users.current(&stream).await?;
        }
        let account = user.account.as_ref().filter(|_| is_good(&user));
        let account = account.ok_or(TokenRefused::SessionEnded)?;
        Ok(Caller {
            user: claims.sub,
            session: claims.sid,
            issuer: vouched_by.as_ref().map(|word| word.issuer.clone()),
            system_roles: account.system_roles.clone(),
            expires_at,
        })
    }

    /// Who holds an access token of `issuer`. Whoever is not known yet is made known, if this process
    /// can do that.
    async fn check_theirs(&self, issuer: &Issuer, token: &str) -> Result<Caller, NotLetIn> {
        let token = self.theirs.checked(issuer, token).await?;
        if token.expires_at <= self.clock.now() {
            return Err(TokenRefused::Expired.into());
        }
        if let Some(caller) = self.known(issuer, &token).await? {
            return Ok(caller);
        }
        // What is kept may be old.
        self.forget_theirs(issuer, &token).await?;
        if let Some(caller) = self.known(issuer, &token).await? {
            return Ok(caller);
        }
        let first_sight = self.theirs.first_sight();
        let first_sight = first_sight.ok_or(TokenRefused::AccountNotReady)?;
        first_sight.admit(&token).await?;
        self.forget_theirs(issuer, &token).await?;
        let caller = self.known(issuer, &token).await?;
        Ok(caller.ok_or(TokenRefused::AccountNotReady)?)
    }

    /// The caller that an issuer's token means; `None` where there is no account or no session yet.
    async fn known(
        &self,
        issuer: &Issuer,
        token: &AccessToken,
    ) -> Result<Option<Caller>, NotLetIn> {
        let Some(holder) = self.theirs.holder(issuer, &token.profile.subject).await? else {
            return Ok(None);
        };
        let user = self.users.recent(&StreamName::user(holder)).await?;
        let Some(account) = &user.account else {
            return Ok(None);
        };
        if !account.is_linked(&token.issuer, &token.profile.subject) {
            return Ok(None);
        }
        let session = StreamName::session(token.session);
        match &*self.sessions.recent(&session).await? {
            session::State::Open {
                user, expires_at, ..
            } if *user == holder => {
                let expires_at = *expires_at.min(&token.expires_at);
                if expires_at <= self.clock.now() {
                    return Err(TokenRefused::Expired.into());
                }
                Ok(Some(Caller {
                    user: holder,
                    session: token.session,
                    issuer: Some(token.issuer.clone()),
                    system_roles: account.system_roles.clone(),
                    expires_at,
                }))
            }
            session::State::Absent => Ok(None),
            session::State::Open { .. } | session::State::Revoked { .. } => {
                Err(TokenRefused::SessionEnded.into())
            }
        }
    }

    /// Makes the next check of such a token ask the log.
    async fn forget_theirs(&self, issuer: &Issuer, token: &AccessToken) -> Result<(), NotLetIn> {
        let subject = &token.profile.subject;
        if let Some(holder) = self.theirs.forget(issuer, subject).await? {
            self.forget_user(holder).await;
        }
        self.forget_session(token.session).await;
        Ok(())
    }

    /// What `token` says. A signature that was good stays good, so that it is checked once while it
    /// is remembered; whether its time is over is for the caller to see.
    async fn claims(&self, token: &str) -> Result<Claims, TokenRefused> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.signed.get(&digest).await {
            return Ok(claims);
        }
        let claims = self.tokens.check(token)?;
        self.signed.insert(digest, claims.clone()).await;
        Ok(claims)
    }

    /// Who sent a request with these headers: `Authorization: Bearer …`.
    pub async fn caller_of(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| {
                Problem::unauthenticated("send a token in the header Authorization: Bearer …")
            })?;
        Ok(self.caller(token).await?)
    }

    /// The account of `user`, if there is one.
    pub async fn account(&self, user: UserId) -> Result<Option<domain::user::Account>, Failure> {
        Ok(self
            .users
            .current(&StreamName::user(user))
            .await?
            .account
            .clone())
    }

    /// Makes the next check ask the log about `user`: call it after changing what they may do, so
    /// that it counts at once on this node.
    pub async fn forget_user(&self, user: UserId) {
        self.users.forget(&StreamName::user(user)).await;
    }

    /// Makes the next check ask the log about `session`: call it after revoking it.
    pub async fn forget_session(&self, session: SessionId) {
        self.sessions.forget(&StreamName::session(session)).await;
    }

    /// Signs and serves the keys.
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::session::{Opened, SessionEvent};
    use domain::user::{Registered, UserEvent};
    use domain::values::{DisplayName, Handle};
    use domain::{Actor, CommandId, Event, Metadata, Personal};

    use super::*;
    use crate::clock::fresh_id;
    use crate::event_store::{Expected, MemoryEventStore, NewEvent};
    use crate::keys::Secret;

    async fn append(store: &Arc<dyn EventStore>, stream: &StreamName, event: Event) {
        let metadata = Metadata {
            actor: Actor::System,
            command_id: CommandId(fresh_id()),
            command_hash: String::new(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent::encode(&event, &metadata, 0).unwrap();
        let appended = store.append(stream, Expected::Any, vec![event]).await;
        appended.unwrap();
    }

    #[tokio::test]
    async fn a_caller_lasts_as_long_as_the_token_and_no_longer_than_the_session() {
        let clock = Clock::fixed(Clock::system().now());
        let now = clock.now();
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        let tokens = Tokens::new(&Secret::new([1; 32])).unwrap();
        let guard = Guard::new(tokens, &store, &clock);
        let (user, session) = (UserId(fresh_id()), SessionId(fresh_id()));
        let registered = Registered {
            email: None,
            display_name: Personal::new(user, DisplayName::parse("Alice").unwrap()),
            handle: Handle::parse("alice").unwrap(),
            imported_from: None,
        };
        let registered = UserEvent::Registered(registered).into();
        append(&store, &StreamName::user(user), registered).await;
        let opened = Opened {
            user,
            expires_at: now + TimeDelta::hours(2),
            device: None,
            address: None,
            vouched_by: None,
        };
        let opened = SessionEvent::Opened(opened).into();
        append(&store, &StreamName::session(session), opened).await;
        let token = |lasts| {
            let tokens = guard.tokens();
            tokens.sign(user, session, now, now + lasts).unwrap()
        };
        let short = token(TimeDelta::minutes(1));
        let caller = guard.caller(&short).await.unwrap();
        let left = caller.expires_at - now;
        assert!(left > TimeDelta::seconds(58) && left <= TimeDelta::minutes(1));
        let long = token(TimeDelta::hours(9));
        let caller = guard.caller(&long).await.unwrap();
        assert_eq!(caller.expires_at, now + TimeDelta::hours(2));

        clock.set(now + TimeDelta::minutes(1));
        let refused = guard.caller(&short).await.unwrap_err();
        assert!(matches!(refused, NotLetIn::Token(TokenRefused::Expired)));
        guard.caller(&long).await.unwrap();
    }
}
