//! From a token to a [`Caller`]: the one check behind every door.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, header};
use chrono::{DateTime, Utc};
use domain::service::{self, Live, Scope, Service};
use domain::session::{self, Session};
use domain::user::{self, Account, PresenceChoice, Standing, SystemRole, User};
use domain::{ServiceId, SessionId, StreamName, UserId};
use futures::future::BoxFuture;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::auth::cookies::{CSRF_HEADER, TOKEN_COOKIE, cookie};
use crate::auth::service_tokens::{is_hash_of, is_service_token, service_of};
use crate::auth::theirs::{FirstSight, Theirs};
use crate::auth::{Caller, CallerKind, Claims, TokenRefused, Tokens};
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

/// Checks tokens against the log: a revoked session, role or service and a suspension count within
/// [`States::AGE_MAX`] on every node.
pub struct Guard {
    tokens: Tokens,
    /// Tokens whose signature was found good, by their SHA-256.
    signed: Cache<[u8; 32], Claims>,
    sessions: States<Session>,
    users: States<User>,
    services: States<Service>,
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
    /// The account is suspended.
    #[error("this account is suspended")]
    Suspended {
        /// When that ends by itself.
        until: Option<DateTime<Utc>>,
    },
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

/// A token as it came with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SentToken<'a> {
    /// In `Authorization: Bearer …`.
    Header(&'a str),
    /// In a cookie, which the browser may have sent on behalf of another site.
    Cookie(&'a str),
}

impl<'a> SentToken<'a> {
    /// The token of a request with these headers. A cookie counts only where there is no
    /// `Authorization` at all.
    ///
    /// # Errors
    /// 401 `unauthenticated` where there is none.
    pub fn of(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let sent = match headers.get(header::AUTHORIZATION) {
            Some(value) => value
                .to_str()
                .ok()
                .and_then(|value| value.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| Self::Header(token.trim())),
            None => cookie(headers, TOKEN_COOKIE).map(Self::Cookie),
        };
        sent.ok_or_else(|| {
            Problem::unauthenticated("send a token in the header Authorization: Bearer …")
        })
    }

    /// The token itself.
    pub const fn text(self) -> &'a str {
        match self {
            Self::Header(token) | Self::Cookie(token) => token,
        }
    }
}

/// How old what is known of sessions and users may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// At most [`States::AGE_MAX`].
    Recent,
    /// As of now.
    Current,
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
            NotLetIn::Suspended { until } => account_suspended(until),
            NotLetIn::Problem(problem) => *problem,
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

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStanding {
    /// It lets its user in.
    Open,
    /// It does so again when a suspension ends.
    Suspended,
    /// It never does again.
    Ended,
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
        Box::pin(self.check(token, Age::Recent))
    }

    /// The same, with everything that was in the log before this call: for those who hear of what
    /// happens from now on.
    pub fn caller_as_of_now<'a>(
        &'a self,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Caller, NotLetIn>> {
        Box::pin(self.check(token, Age::Current))
    }

    async fn check(&self, token: &str, age: Age) -> Result<Caller, NotLetIn> {
        if is_service_token(token) {
            return self.check_service(token, age).await;
        }
        if let Some(issuer) = self.theirs.issuer_of(token) {
            return self.check_theirs(issuer, token, age).await;
        }
        let claims = self.claims(token).await?;
        let now = self.clock.now();
        claims.check_time(now)?;
        let login = match self.session(claims.sid, age).await? {
            session::State::Open(login) if login.user == claims.sub => login,
            _ => return Err(TokenRefused::SessionEnded.into()),
        };
        let expires_at = login.expires_at.min(claims.expires_at());
        if expires_at <= now {
            return Err(TokenRefused::Expired.into());
        }
        let lets_in = |state: &user::State| {
            let account = state.account.as_ref();
            account.is_some_and(|account| account.lets_in(claims.sid, &login))
        };
        let mut user = self.user(claims.sub, age).await?;
        if login.vouched_by.is_some() && !lets_in(&user) {
            // The identity may have been linked just now, on another node.
            user = self.user(claims.sub, Age::Current).await?;
        }
        let account = user.account.as_ref().filter(|_| lets_in(&user));
        let account = account.ok_or(TokenRefused::SessionEnded)?;
        self.check_standing(account)?;
        Ok(Caller {
            user: claims.sub,
            session: claims.sid,
            system_roles: account.system_roles.clone(),
            expires_at,
            issuer: login.vouched_by.map(|word| word.issuer),
            login_epoch: login.login_epoch,
            presence: account.presence,
            kind: CallerKind::Person,
        })
    }

    /// Who holds an access token of `issuer`. Whoever is not known yet is made known, if this process
    /// can do that.
    async fn check_theirs(
        &self,
        issuer: &Issuer,
        token: &str,
        age: Age,
    ) -> Result<Caller, NotLetIn> {
        let token = self.theirs.checked(issuer, token).await?;
        if token.expires_at <= self.now() {
            return Err(TokenRefused::Expired.into());
        }
        if age == Age::Recent
            && let Some(caller) = self.known(issuer, &token, age).await?
        {
            return Ok(caller);
        }
        // What is kept may be old.
        if let Some(caller) = self.known(issuer, &token, Age::Current).await? {
            return Ok(caller);
        }
        let first_sight = self.theirs.first_sight();
        let first_sight = first_sight.ok_or(TokenRefused::AccountNotReady)?;
        first_sight.admit(&token).await?;
        let caller = self.known(issuer, &token, Age::Current).await?;
        Ok(caller.ok_or(TokenRefused::AccountNotReady)?)
    }

    /// The caller that an issuer's token means; `None` where there is no account or no session yet.
    async fn known(
        &self,
        issuer: &Issuer,
        token: &AccessToken,
        age: Age,
    ) -> Result<Option<Caller>, NotLetIn> {
        let subject = &token.profile.subject;
        let Some(holder) = self.theirs.holder(issuer, subject, age).await? else {
            return Ok(None);
        };
        let user = self.user(holder, age).await?;
        let is_linked = |account: &&Account| account.is_linked(&token.issuer, subject);
        let Some(account) = user.account.as_ref().filter(is_linked) else {
            return Ok(None);
        };
        let login = match self.session(token.session, age).await? {
            session::State::Open(login)
                if login.user == holder && account.lets_in(token.session, &login) =>
            {
                login
            }
            session::State::Absent => return Ok(None),
            session::State::Open(_) if age == Age::Recent => return Ok(None),
            session::State::Open(_) | session::State::Revoked { .. } => {
                return Err(TokenRefused::SessionEnded.into());
            }
        };
        let expires_at = login.expires_at.min(token.expires_at);
        if expires_at <= self.now() {
            return Err(TokenRefused::Expired.into());
        }
        self.check_standing(account)?;
        Ok(Some(Caller {
            user: holder,
            session: token.session,
            system_roles: account.system_roles.clone(),
            expires_at,
            issuer: Some(token.issuer.clone()),
            login_epoch: login.login_epoch,
            presence: account.presence,
            kind: CallerKind::Person,
        }))
    }

    async fn user(&self, id: UserId, age: Age) -> Result<Arc<user::State>, Failure> {
        let stream = StreamName::user(id);
        match age {
            Age::Recent => self.users.recent(&stream).await,
            Age::Current => self.users.current(&stream).await,
        }
    }

    async fn session(&self, id: SessionId, age: Age) -> Result<session::State, Failure> {
        let stream = StreamName::session(id);
        let mut session = match age {
            Age::Recent => self.sessions.recent(&stream).await?,
            Age::Current => self.sessions.current(&stream).await?,
        };
        if matches!(*session, session::State::Absent) {
            session = self.sessions.current(&stream).await?;
        }
        Ok((*session).clone())
    }

    fn check_standing(&self, account: &Account) -> Result<(), NotLetIn> {
        match account.standing(self.now()) {
            Standing::Active => Ok(()),
            Standing::Suspended { until } => Err(NotLetIn::Suspended { until }),
            Standing::Deactivated => Err(TokenRefused::SessionEnded.into()),
        }
    }

    /// A service comes in with the one token that the log has the hash of.
    async fn check_service(&self, token: &str, age: Age) -> Result<Caller, NotLetIn> {
        let service = service_of(token).ok_or(TokenRefused::Invalid)?;
        let stream = StreamName::service(service);
        let mut state = self.services.recent(&stream).await?;
        // Another node may have made it, or given it this token, just now.
        if age == Age::Current || !is_token_of(&state, token) {
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
        let mut caller = service_caller(service, live, expires_at);
        if let Some(bot) = live.account {
            let user = self.user(bot, age).await?;
            let account = user.account.as_ref().ok_or(TokenRefused::Invalid)?;
            self.check_standing(account)?;
            caller.presence = account.presence;
        }
        Ok(caller)
    }

    /// What `token` says. A signature that was good stays good, so that it is checked once while it
    /// is remembered; whether its time is over is for the caller to see.
    async fn claims(&self, token: &str) -> Result<Claims, NotLetIn> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.signed.get(&digest).await {
            return Ok(claims);
        }
        let claims = self.tokens.verify(token, self.clock.now())?;
        self.signed.insert(digest, claims.clone()).await;
        Ok(claims)
    }

    /// What became of the login `session` of `user`, as of a moment ago.
    pub async fn login_standing(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<LoginStanding, Failure> {
        let session::State::Open(login) = self.session(session, Age::Recent).await? else {
            return Ok(LoginStanding::Ended);
        };
        let state = self.user(user, Age::Recent).await?;
        let lets_in = |account: &&Account| {
            login.user == user && login.expires_at > self.now() && account.lets_in(session, &login)
        };
        let account = state.account.as_ref().filter(lets_in);
        Ok(match account.map(|account| account.standing(self.now())) {
            Some(Standing::Active) => LoginStanding::Open,
            Some(Standing::Suspended { .. }) => LoginStanding::Suspended,
            Some(Standing::Deactivated) | None => LoginStanding::Ended,
        })
    }

    /// The time by which tokens are checked.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Who sent a request with this method and these headers.
    ///
    /// # Errors
    /// 401 without a good token; 403 `csrf_token_wrong` where the token is in a cookie, the method
    /// changes something, and the header does not show that our cookies can be read.
    pub async fn caller_of(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        let sent = SentToken::of(headers)?;
        let caller = self.caller(sent.text()).await?;
        match sent {
            SentToken::Cookie(_) if !method.is_safe() => {
                self.check_csrf(caller.session, headers)?;
            }
            SentToken::Cookie(_) | SentToken::Header(_) => {}
        }
        Ok(caller)
    }

    /// Refuses a request on behalf of `session` by cookie that may come from another site: 403
    /// `csrf_token_wrong`.
    pub fn check_csrf(&self, session: SessionId, headers: &HeaderMap) -> Result<(), Problem> {
        let said = headers.get(CSRF_HEADER);
        if said.is_some_and(|said| self.tokens.is_csrf(session, said.as_bytes())) {
            return Ok(());
        }
        let title = "This may come from another site";
        let detail = "send the value of the cookie verbatim_csrf in the header x-csrf-token";
        Err(Problem::new(StatusCode::FORBIDDEN, "csrf_token_wrong", title).with_detail(detail))
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

    /// What is known of `user`, as of at most [`States::AGE_MAX`] ago. Of whoever was just let in nothing is
    /// read for it.
    pub async fn recent_user(&self, user: UserId) -> Result<Arc<user::State>, Failure> {
        self.user(user, Age::Recent).await
    }

    /// The account of `user`, if there is one and its user may come in now.
    pub async fn active_account(&self, user: UserId) -> Result<Option<Account>, Failure> {
        let account = self.account(user).await?;
        Ok(account.filter(|account| account.standing(self.now()) == Standing::Active))
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
        // No login opened it, and none ends it.
        login_epoch: u32::MAX,
        issuer: None,
        presence: PresenceChoice::default(),
        kind: CallerKind::Service {
            service,
            scopes: live.scopes.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::Personal;
    use domain::session::{Opened, SessionEvent};
    use domain::user::{Registered, UserEvent};
    use domain::values::{DisplayName, Handle};

    use super::*;
    use crate::auth::testing::append;
    use crate::clock::fresh_id;
    use crate::event_store::MemoryEventStore;
    use crate::keys::Secret;

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
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
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

    /// A user in `store` whose login `session` is of the first epoch.
    async fn logged_in(store: &Arc<dyn EventStore>, clock: &Clock) -> (UserId, SessionId) {
        let (user, session) = (UserId(fresh_id()), SessionId(fresh_id()));
        let registered = Registered {
            email: None,
            display_name: Personal::new(user, DisplayName::parse("Alice").unwrap()),
            handle: Handle::parse("alice").unwrap(),
            imported_from: None,
        };
        let registered = UserEvent::Registered(registered).into();
        append(store, &StreamName::user(user), registered).await;
        log_in(store, clock, user, session, 0).await;
        (user, session)
    }

    async fn log_in(
        store: &Arc<dyn EventStore>,
        clock: &Clock,
        user: UserId,
        session: SessionId,
        login_epoch: u32,
    ) {
        let opened = SessionEvent::Opened(Opened {
            user,
            expires_at: clock.now() + TimeDelta::hours(2),
            device: None,
            address: None,
            refresh_hash: None,
            login_epoch,
            vouched_by: None,
            amr: [].into(),
        });
        append(store, &StreamName::session(session), opened.into()).await;
    }

    #[tokio::test]
    async fn a_login_of_an_earlier_epoch_has_ended_but_for_the_one_that_is_kept() {
        let clock = Clock::fixed(Clock::system().now());
        let now = clock.now();
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        let guard = Guard::new(Tokens::new(&Secret::new([1; 32])).unwrap(), &store, &clock);
        let (user, phone) = logged_in(&store, &clock).await;
        let [laptop, late, new] = [(); 3].map(|()| SessionId(fresh_id()));
        log_in(&store, &clock, user, laptop, 0).await;
        let out = domain::user::LoggedOutEverywhere {
            epoch: 1,
            kept: Some(phone),
        };
        let out = UserEvent::LoggedOutEverywhere(out).into();
        append(&store, &StreamName::user(user), out).await;
        // It was checked before, and comes into the log after.
        log_in(&store, &clock, user, late, 0).await;
        log_in(&store, &clock, user, new, 1).await;
        for (session, is_let_in) in [(phone, true), (laptop, false), (late, false), (new, true)] {
            let token = guard
                .tokens()
                .sign(user, session, now, now + TimeDelta::hours(1));
            let caller = guard.caller(&token.unwrap()).await;
            assert_eq!(caller.is_ok(), is_let_in);
            if let Err(refused) = caller {
                let ended = NotLetIn::Token(TokenRefused::SessionEnded);
                assert_eq!(refused.to_string(), ended.to_string());
            }
        }
    }

    #[tokio::test]
    async fn a_cookie_counts_without_a_header_and_changes_nothing_without_proof() {
        let clock = Clock::fixed(Clock::system().now());
        let now = clock.now();
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        let guard = Guard::new(Tokens::new(&Secret::new([1; 32])).unwrap(), &store, &clock);
        let (user, session) = logged_in(&store, &clock).await;
        let token = guard
            .tokens()
            .sign(user, session, now, now + TimeDelta::hours(1));
        let csrf = guard.tokens().csrf(session);
        // Somebody who can plant a cookie plants both of their own session.
        let planted = guard.tokens().csrf(SessionId(fresh_id()));
        let cookies = format!("verbatim_csrf={planted}; verbatim_token={}", token.unwrap());
        let code = async |method: Method, pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookies.parse().unwrap());
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            let caller = guard.caller_of(&method, &headers).await;
            caller.map_or_else(|problem| problem.code, |_| "let in".to_owned())
        };
        assert_eq!(code(Method::GET, &[]).await, "let in");
        assert_eq!(code(Method::HEAD, &[]).await, "let in");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let proof = [(CSRF_HEADER, csrf.as_str())];
            assert_eq!(code(method.clone(), &proof).await, "let in");
            for wrong in ["", "guess", &planted] {
                let proof = [(CSRF_HEADER, wrong)];
                assert_eq!(code(method.clone(), &proof).await, "csrf_token_wrong");
            }
            assert_eq!(code(method, &[]).await, "csrf_token_wrong");
        }
        for other in ["Basic YTpi", "Bearer", "Bearer garbage"] {
            let refused = code(Method::GET, &[("authorization", other)]).await;
            assert!(refused.starts_with("unauthenticated") || refused == "token_invalid");
        }
    }
}
