//! From a token to a [`Caller`]: the one check behind every door.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, Utc};
use domain::service::{self, Live, Scope, Service};
use domain::session::{self, Session};
use domain::user::{Account, Standing, SystemRole, User};
use domain::{ServiceId, SessionId, StreamName, UserId};
use futures::future::BoxFuture;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::auth::service_tokens::{is_hash_of, is_service_token, service_of};
use crate::auth::{Caller, CallerKind, Claims, TokenRefused, Tokens};
use crate::clock::Clock;
use crate::event_store::EventStore;
use crate::failure::Failure;
use crate::problem::Problem;
use crate::states::States;

/// Tokens whose signatures are remembered as good; of more, the least used is checked again.
const SIGNED_MAX: u64 = 100_000;

/// How long the signature of an unused token is remembered.
const SIGNED_IDLE_MAX: Duration = Duration::from_mins(10);

/// Checks tokens against the log: a revoked session, role or service and a suspension count within
/// [`States::AGE_MAX`] on every node.
pub struct Guard {
    tokens: Tokens,
    /// Tokens whose signature was found good, by their SHA-256.
    signed: Cache<[u8; 32], Claims>,
    sessions: States<Session>,
    users: States<User>,
    services: States<Service>,
    clock: Clock,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotLetIn {
    /// The token is worth nothing.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The account is suspended.
    #[error("this account is suspended")]
    Suspended {
        /// When that ends by itself.
        until: Option<DateTime<Utc>>,
    },
    /// The log could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
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
                };
                code.clone_into(&mut problem.code);
                problem
            }
            NotLetIn::Suspended { until } => account_suspended(until),
            NotLetIn::Failure(failure) => failure.into(),
        }
    }
}

/// 403 `account_suspended`; says until when, where it ends by itself.
pub fn account_suspended(until: Option<DateTime<Utc>>) -> Problem {
    let title = "This account is suspended";
    let problem = Problem::new(StatusCode::FORBIDDEN, "account_suspended", title);
    match until {
        Some(until) => problem.with_detail(format!("until {}", until.to_rfc3339())),
        None => problem.with_detail("those who run the server can end this"),
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
            services: States::new(Arc::clone(store), clock.clone()),
            clock: clock.clone(),
        }
    }

    /// Who holds `token`. Boxed, so that every door does not compile all of it again.
    pub fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, NotLetIn>> {
        Box::pin(self.check(token))
    }

    async fn check(&self, token: &str) -> Result<Caller, NotLetIn> {
        if is_service_token(token) {
            return self.check_service(token).await;
        }
        let claims = self.claims(token).await?;
        let stream = StreamName::session(claims.sid);
        let mut session = self.sessions.recent(&stream).await?;
        if matches!(*session, session::State::Absent) {
            session = self.sessions.current(&stream).await?;
        }
        let expires_at = match *session {
            session::State::Open { user, expires_at } if user == claims.sub => {
                expires_at.min(claims.expires_at())
            }
            _ => return Err(TokenRefused::SessionEnded.into()),
        };
        if expires_at <= self.clock.now() {
            return Err(TokenRefused::Expired.into());
        }
        let user = self.users.recent(&StreamName::user(claims.sub)).await?;
        let account = user.account.as_ref().ok_or(TokenRefused::SessionEnded)?;
        self.check_standing(account)?;
        Ok(Caller {
            user: claims.sub,
            session: claims.sid,
            system_roles: account.system_roles.clone(),
            expires_at,
            kind: CallerKind::Person,
        })
    }

    fn check_standing(&self, account: &Account) -> Result<(), NotLetIn> {
        match account.standing(self.now()) {
            Standing::Active => Ok(()),
            Standing::Suspended { until } => Err(NotLetIn::Suspended { until }),
            Standing::Deactivated => Err(TokenRefused::SessionEnded.into()),
        }
    }

    /// A service comes in with the one token that the log has the hash of.
    async fn check_service(&self, token: &str) -> Result<Caller, NotLetIn> {
        let service = service_of(token).ok_or(TokenRefused::Invalid)?;
        let stream = StreamName::service(service);
        let mut state = self.services.recent(&stream).await?;
        // Another node may have made it, or given it this token, just now.
        if !is_token_of(&state, token) {
            state = self.services.current(&stream).await?;
        }
        let live = match &*state {
            service::State::Live(live) if is_hash_of(&live.hash, token) => live,
            service::State::Live(_) | service::State::Absent | service::State::Revoked => {
                return Err(TokenRefused::Invalid.into());
            }
        };
        let expires_at = live.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        if expires_at <= self.now() {
            return Err(TokenRefused::Expired.into());
        }
        if let Some(bot) = live.account {
            let user = self.users.recent(&StreamName::user(bot)).await?;
            let account = user.account.as_ref().ok_or(TokenRefused::Invalid)?;
            self.check_standing(account)?;
        }
        Ok(service_caller(service, live, expires_at))
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

    /// The time by which tokens are checked.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
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
    pub async fn account(&self, user: UserId) -> Result<Option<Account>, Failure> {
        Ok(self
            .users
            .current(&StreamName::user(user))
            .await?
            .account
            .clone())
    }

    /// The account of `user`, if there is one and its user may come in now.
    pub async fn active_account(&self, user: UserId) -> Result<Option<Account>, Failure> {
        let account = self.account(user).await?;
        Ok(account.filter(|account| account.standing(self.now()) == Standing::Active))
    }

    /// Makes the next check ask the log about everything that lets `caller` in.
    pub async fn forget(&self, caller: &Caller) {
        self.forget_user(caller.user).await;
        match caller.kind {
            CallerKind::Person => self.forget_session(caller.session).await,
            CallerKind::Service { service, .. } => self.forget_service(service).await,
        }
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

    /// Makes the next check ask the log about `service`: call it after changing it.
    pub async fn forget_service(&self, service: ServiceId) {
        self.services.forget(&StreamName::service(service)).await;
    }

    /// Signs and serves the keys.
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

fn is_token_of(state: &service::State, token: &str) -> bool {
    match state {
        service::State::Live(live) => is_hash_of(&live.hash, token),
        service::State::Absent | service::State::Revoked => false,
    }
}

/// A service that was let in until `expires_at`.
fn service_caller(service: ServiceId, live: &Live, expires_at: DateTime<Utc>) -> Caller {
    let role = |scope: &Scope| match scope {
        Scope::Auditor => Some(SystemRole::Auditor),
        Scope::Analyst => Some(SystemRole::Analyst),
        Scope::Bot | Scope::Importer => None,
    };
    Caller {
        user: live.account.unwrap_or(UserId(service.0)),
        session: SessionId(service.0),
        system_roles: live.scopes.iter().filter_map(role).collect(),
        expires_at,
        kind: CallerKind::Service {
            service,
            scopes: live.scopes.clone(),
        },
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
