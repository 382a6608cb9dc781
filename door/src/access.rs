//! Who may come through the door: a person who is an auditor may read, on the record; who holds the
//! service token may read and append, and delete where that is allowed at all.
//!
//! Both come in the call's `authorization`: a person with `Bearer` and an access token, or with `Basic`
//! and handle or address and password, where the account has no second factor; a service with `Bearer` and its token, or with `Basic`, the user
//! `service` and its token. A service account with the scope `auditor` may read as a person may, with
//! `Bearer` and its own token.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::user::{Account, SystemRole};
use domain::{Actor, UserId};
use infra::auth::{Caller, CallerKind, Guard, NotLetIn, TokenRefused};
use infra::failure::Failure;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::limits::{LOGIN_REMEMBERED, LOGINS_MAX};
use crate::statuses::{access_denied, failure, unauthenticated};

/// The user name with which a service sends its token by `Basic`.
pub const SERVICE_USER: &str = "service";

/// The shortest service token, in bytes.
pub const SERVICE_TOKEN_BYTES_MIN: usize = 32;

/// Checks handle or address and password, wherever people are known.
#[async_trait]
pub trait Logins: Send + Sync + 'static {
    /// Whose they are; `None` where they are wrong. Takes as long for an unknown name.
    async fn user(&self, login: &str, password: &str) -> Result<Option<KnownUser>, Failure>;
}

/// Somebody whose password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Who.
    pub user: UserId,
    /// The login epoch of the account when it was checked: it is good in no later one.
    pub login_epoch: u32,
}

/// The secret of services, as its hash.
#[derive(Clone)]
pub struct ServiceToken([u8; 32]);

impl ServiceToken {
    /// Takes a token; `None` where it has less than [`SERVICE_TOKEN_BYTES_MIN`] bytes.
    pub fn new(token: &str) -> Option<Self> {
        (token.len() >= SERVICE_TOKEN_BYTES_MIN).then(|| Self(Sha256::digest(token).into()))
    }

    /// Whether it is `token`; takes the same time for every other one.
    fn is(&self, token: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(token).into();
        self.0.ct_eq(&other).into()
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ServiceToken(…)")
    }
}

/// Whether services may delete streams, which hides their events from readers of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// No.
    Refused,
    /// Yes, but for Verbatim's own streams.
    Allowed,
}

/// Who came.
#[derive(Clone, Debug)]
pub(crate) enum Visitor {
    /// Holds the service token.
    Service,
    /// An auditor who came with a password, when the account was in this login epoch.
    Auditor(KnownUser),
    /// An auditor, person or service account, who came with a token of their own.
    Holder {
        /// Who they are on the record.
        actor: Actor,
        token: Arc<str>,
    },
}

/// Knows who may come.
pub(crate) struct Doorkeeper {
    guard: Arc<Guard>,
    logins: Arc<dyn Logins>,
    service: Option<ServiceToken>,
    /// Passwords that were right, by the hash of what was sent.
    remembered: Cache<[u8; 32], KnownUser>,
}

enum Credentials<'a> {
    Bearer(&'a str),
    Basic(String, String),
}

impl Doorkeeper {
    pub(crate) fn new(
        guard: Arc<Guard>,
        logins: Arc<dyn Logins>,
        service: Option<ServiceToken>,
    ) -> Self {
        Self {
            guard,
            logins,
            service,
            remembered: Cache::builder()
                .max_capacity(LOGINS_MAX)
                .time_to_live(LOGIN_REMEMBERED)
                .build(),
        }
    }

    /// Who made a call and may read.
    pub(crate) async fn reader(&self, call: &MetadataMap) -> Result<Visitor, Status> {
        let visitor = match credentials(call)? {
            Credentials::Bearer(token) if self.is_service(token) => Visitor::Service,
            Credentials::Bearer(token) => {
                let actor = self.holder(token).await?.actor();
                let token = token.into();
                Visitor::Holder { actor, token }
            }
            Credentials::Basic(name, token) if name == SERVICE_USER => {
                if !self.is_service(&token) {
                    return Err(unauthenticated("the service token is wrong"));
                }
                Visitor::Service
            }
            Credentials::Basic(login, password) => {
                Visitor::Auditor(self.login(&login, &password).await?)
            }
        };
        self.still(&visitor).await?;
        Ok(visitor)
    }

    /// Checks that who made a call may append.
    pub(crate) async fn writer(&self, call: &MetadataMap) -> Result<(), Status> {
        match self.reader(call).await? {
            Visitor::Service => Ok(()),
            Visitor::Auditor(_) | Visitor::Holder { .. } => {
                Err(access_denied("only services append"))
            }
        }
    }

    /// Checks that `visitor` may still read.
    pub(crate) async fn still(&self, visitor: &Visitor) -> Result<(), Status> {
        let is_auditor = match visitor {
            Visitor::Service => true,
            Visitor::Auditor(known) => match self.auditor(known.user).await? {
                Some(account) if account.login_epoch > known.login_epoch => {
                    return Err(unauthenticated("all logins were ended; log in again"));
                }
                Some(account) if account.factors.are_on() => {
                    return Err(access_denied(
                        "this account has a second factor; log in and come with a token",
                    ));
                }
                account => account.is_some(),
            },
            Visitor::Holder { token, .. } => {
                let caller = self.holder(token).await?;
                match caller.kind {
                    CallerKind::Person => self.auditor(caller.user).await?.is_some(),
                    CallerKind::Service { .. } => caller.is_auditor(),
                }
            }
        };
        if is_auditor {
            Ok(())
        } else {
            Err(access_denied("only auditors read the log"))
        }
    }

    /// The account of `user`, where they are an auditor as of now and may come in.
    async fn auditor(&self, user: UserId) -> Result<Option<Account>, Status> {
        let account = self.guard.active_account(user).await;
        let account = account.map_err(|error| failure(&error))?;
        Ok(account.filter(|account| account.system_roles.contains(&SystemRole::Auditor)))
    }

    fn is_service(&self, token: &str) -> bool {
        let service = self.service.as_ref();
        service.is_some_and(|service| service.is(token))
    }

    /// Whose token it is.
    async fn holder(&self, token: &str) -> Result<Caller, Status> {
        match self.guard.caller(token).await {
            Ok(caller) => Ok(caller),
            Err(NotLetIn::Token(refused)) => Err(unauthenticated(match refused {
                TokenRefused::Expired => "the token has expired; log in again",
                TokenRefused::Invalid => "the token is not valid",
                TokenRefused::SessionEnded => "the session has ended; log in again",
                TokenRefused::AccountNotReady => "call the command API once with this token first",
            })),
            Err(NotLetIn::Suspended { .. }) => Err(access_denied("the account is suspended")),
            Err(NotLetIn::Problem(_)) => Err(unauthenticated(
                "the token's issuer or its account did not let it in",
            )),
            Err(NotLetIn::Failure(error)) => Err(failure(&error)),
        }
    }

    async fn login(&self, login: &str, password: &str) -> Result<KnownUser, Status> {
        let mut sent = Sha256::new();
        sent.update((login.len() as u64).to_be_bytes());
        sent.update(login);
        sent.update(password);
        let sent: [u8; 32] = sent.finalize().into();
        if let Some(known) = self.remembered.get(&sent).await {
            let account = self.guard.account(known.user).await;
            let account = account.map_err(|error| failure(&error))?;
            if account.is_some_and(|account| account.login_epoch == known.login_epoch) {
                return Ok(known);
            }
        }
        let found = self.logins.user(login, password).await;
        let found = found
            .map_err(|error| failure(&error))?
            .ok_or_else(|| unauthenticated("login or password is wrong"))?;
        self.remembered.insert(sent, found).await;
        Ok(found)
    }
}

fn credentials(call: &MetadataMap) -> Result<Credentials<'_>, Status> {
    let header = call
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| unauthenticated("send credentials: Bearer or Basic"))?;
    let (scheme, value) = (header.0, header.1.trim());
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Bearer(value));
    }
    let decoded = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| STANDARD.decode(value).ok())
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .as_deref()
        .and_then(|decoded| decoded.split_once(':'))
        .map(|(login, password)| Credentials::Basic(login.to_owned(), password.to_owned()))
        .ok_or_else(|| unauthenticated("send credentials: Bearer or Basic"))
}
