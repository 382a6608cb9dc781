//! Whose account somebody is for whom an issuer vouches; the first time, that account is made.
//!
//! As a registration it goes over several streams: the identity's, the handle's, the address's and the
//! account's. The account's id derives from the identity and from how often it was claimed before, so
//! that whoever comes again after a crash, by whichever door, goes on where the first try ended.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::session::VouchedBy;
use domain::user::{self, Account, IdentityCommand, Refused, Vouched};
use domain::values::{DisplayName, Email, Handle, IssuerName};
use domain::{Actor, CommandId, StreamName, UserId};
use infra::auth::{NotLetIn, TokenRefused};
use infra::clock::fresh_id;
use infra::event_store::version_of;
use infra::failure::Failure;
use infra::issuers::{Issuer, Profile};
use infra::problem::Problem;
use uuid::Uuid;

use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError};
use crate::identity::claims::Claimant;

/// Namespace of the accounts that issuers' identities make.
const ACCOUNTS: Uuid = Uuid::from_u128(0x5b0e_93d7_21ca_5d48_8f36_c27a_e40d_719b);

/// Handles that are tried with a number; then one that is hardly ever taken.
const HANDLES_WITH_A_NUMBER: u32 = 4;

/// Longest part of a handle that comes from the issuer, in bytes: room for what is appended.
const HANDLE_BYTES_MAX: usize = 20;

/// What an issuer says of somebody, and of when that is where it is known.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) profile: &'a Profile,
    pub(super) as_of: Option<DateTime<Utc>>,
}

/// Who may get an account by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newcomers {
    /// Whoever the issuer's configuration says.
    AsConfigured,
    /// Everybody: the issuer itself asks for the account.
    Welcome,
}

/// Whose account an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// This user's.
    To(UserId),
    /// Somebody's into whose account it is no way, as the issuer deleted it and has not said otherwise
    /// since.
    Closed,
}

impl Admitted {
    /// The user; 403 `identity_closed` where it is no way in.
    pub(super) fn user(self) -> Result<UserId, Problem> {
        match self {
            Self::To(user) => Ok(user),
            Self::Closed => Err(Problem::refused(&Refused::IdentityClosed)),
        }
    }
}

impl Word<'_> {
    pub(super) fn vouched(&self) -> Vouched {
        Vouched {
            issuer: self.issuer.config().name.clone(),
            subject: self.profile.subject.clone(),
            email: self.profile.email.clone(),
            as_of: self.as_of,
        }
    }

    pub(super) fn stream(&self, api: &CommandApi) -> StreamName {
        api.issuers()
            .identity_stream(self.issuer, &self.profile.subject)
    }

    fn is_way_into(&self, account: &Account) -> bool {
        account.is_linked(&self.issuer.config().name, &self.profile.subject)
    }

    pub(super) fn is_of(&self, account: &Account) -> bool {
        account.has_identity(&self.issuer.config().name, &self.profile.subject)
    }
}

/// Whose account it is; made where there is none.
///
/// # Errors
/// 403 `not_registered` where none may be made, 503 `unavailable` while another command about the same
/// identity is under way, and what every command may answer.
pub(super) async fn admit(
    api: &CommandApi,
    word: Word<'_>,
    newcomers: Newcomers,
) -> Result<Admitted, Problem> {
    let stream = word.stream(api);
    let holder = api.holder(&stream).await?;
    let account = match holder {
        Some(holder) => api.account(holder).await?.map(|account| (holder, account)),
        None => None,
    };
    if let Some((holder, account)) = &account {
        if word.is_way_into(account) {
            return Ok(Admitted::To(*holder));
        }
        if word.is_of(account) {
            // Where its record is younger than its end.
            return link(api, word, *holder, CommandId(fresh_id())).await;
        }
    }
    if let Some(user) = by_address(api, word).await? {
        return link_by_address(api, word, user).await;
    }
    let may_register = word.issuer.config().policy.auto_register;
    if !may_register && newcomers == Newcomers::AsConfigured {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_registered",
            "There is no account for this login",
        )
        .with_detail("ask whoever runs this server for one, or link this login to your account"));
    }
    // Who holds it without an account is the same person: an earlier try was cut short.
    let user = match holder.filter(|_| account.is_none()) {
        Some(user) => user,
        None => account_of(api, &stream).await?,
    };
    register(api, word, user).await.map(Admitted::To)
}

/// The account that the identity makes next: another each time that it was let go.
async fn account_of(api: &CommandApi, stream: &StreamName) -> Result<UserId, Failure> {
    let version = version_of(api.store(), stream).await?;
    let name = format!("{stream}\n{}", version.0);
    Ok(UserId(Uuid::new_v5(&ACCOUNTS, name.as_bytes())))
}

/// The account that has the verified address, where the configuration lets whoever has the address into
/// it and nobody else can be in it already.
async fn by_address(api: &CommandApi, word: Word<'_>) -> Result<Option<UserId>, Problem> {
    let Some(email) = &word.profile.email else {
        return Ok(None);
    };
    if !word.issuer.config().policy.link_by_verified_email {
        return Ok(None);
    }
    let found = api.find_user(email.as_str()).await?;
    let issuer = &word.issuer.config().name;
    let found = found.filter(|(_, account)| {
        account.has_proven_address(email) && !account.identities.contains_key(issuer)
    });
    Ok(found.map(|(user, _)| user))
}

async fn link_by_address(
    api: &CommandApi,
    word: Word<'_>,
    user: UserId,
) -> Result<Admitted, Problem> {
    let command = CommandId(fresh_id());
    let claimant = Claimant::begin(api, user, command);
    let stream = word.stream(api);
    if !claimant.claim(api, &stream, |a| word.is_of(a)).await? {
        return Err(under_way());
    }
    claimant.check_time(api)?;
    link(api, word, user, command).await
}

/// Makes the identity a way into the account of `user`, who holds it. `command` is fresh: whoever comes
/// again wants to know how things stand now.
async fn link(
    api: &CommandApi,
    word: Word<'_>,
    user: UserId,
    command: CommandId,
) -> Result<Admitted, Problem> {
    let body = ("link_vouched", word.stream(api));
    let envelope = Envelope::new(Actor::System, command, &body)?;
    let command = user::Command::Identity {
        user,
        command: IdentityCommand::Link(word.vouched()),
    };
    match api.change_account(user, envelope, command).await {
        Ok(_) => Ok(Admitted::To(user)),
        Err(ExecuteError::Refused(Refused::IdentityClosed)) => Ok(Admitted::Closed),
        Err(error) => Err(error.into()),
    }
}

async fn register(api: &CommandApi, word: Word<'_>, user: UserId) -> Result<UserId, Problem> {
    let command = CommandId(user.0).derive("register");
    let claimant = Claimant::begin(api, user, command);
    let stream = word.stream(api);
    if !claimant.claim(api, &stream, |a| word.is_of(a)).await? {
        return Err(under_way());
    }
    let email = claim_email(api, &claimant, word).await?;
    let handle = claim_handle(api, &claimant, word, user).await?;
    claimant.check_time(api)?;
    // Not of what was free at the time: another try may have found other things.
    let envelope = Envelope::new(Actor::User(user), command, &("register_vouched", &stream))?;
    let command = user::Command::RegisterVouched {
        user,
        email,
        display_name: display_name(word.profile, &handle)?,
        handle,
        vouched: word.vouched(),
    };
    match api.change_account(user, envelope, command).await {
        Ok(_) => Ok(user),
        // Somebody who had an account by this identity, let go of it and has it claimed again by a try
        // from before: that try is over.
        Err(ExecuteError::Refused(Refused::AlreadyRegistered)) => Err(under_way()),
        Err(error) => Err(error.into()),
    }
}

/// The verified address, if nobody has it. Otherwise the account does without: who has it is not told.
async fn claim_email(
    api: &CommandApi,
    claimant: &Claimant,
    word: Word<'_>,
) -> Result<Option<Email>, Problem> {
    let Some(email) = &word.profile.email else {
        return Ok(None);
    };
    if api.find_user(email.as_str()).await?.is_some() {
        return Ok(None);
    }
    let stream = api.email_stream(email);
    let is_of = |account: &Account| account.has_proven_address(email);
    let is_claimed = claimant.claim(api, &stream, is_of).await?;
    Ok(is_claimed.then(|| email.clone()))
}

/// A free handle that is like what they call themselves.
async fn claim_handle(
    api: &CommandApi,
    claimant: &Claimant,
    word: Word<'_>,
    user: UserId,
) -> Result<Handle, Problem> {
    for handle in handles(word.profile, user) {
        if api.find_user(handle.as_str()).await?.is_some() {
            continue;
        }
        let stream = api.handle_stream(&handle);
        let is_of = |account: &Account| account.handle == handle;
        if claimant.claim(api, &stream, is_of).await? {
            return Ok(handle);
        }
    }
    let taken = "every handle that was tried is taken";
    Err(Failure::unavailable("register", taken).into())
}

/// Handles to try, in order.
fn handles(profile: &Profile, user: UserId) -> impl Iterator<Item = Handle> {
    let address = profile.email.as_ref().map(Email::as_str);
    let local_part = |address: &str| address.split('@').next().map(str::to_owned);
    let called = profile
        .username
        .clone()
        // Many issuers give the address for a name, and not every address is for everybody's eyes.
        .and_then(|name| local_part(&name))
        .or_else(|| address.and_then(local_part))
        .unwrap_or_default();
    let base = base_of(&called);
    let numbered = {
        let base = base.clone();
        (2..2 + HANDLES_WITH_A_NUMBER).map(move |number| format!("{base}-{number}"))
    };
    let last = format!("{base}-{}", &user.0.simple().to_string()[..10]);
    std::iter::once(base)
        .chain(numbered)
        .chain(std::iter::once(last))
        .filter_map(|text| Handle::parse(&text).ok())
}

/// What of `called` a handle may have.
fn base_of(called: &str) -> String {
    let folded = called.to_lowercase();
    let kept = folded
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c));
    let kept: String = kept
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(HANDLE_BYTES_MAX)
        .collect();
    match kept.len() {
        0 | 1 => format!("user{kept}"),
        _ => kept,
    }
}

/// What they want to be called; their handle where the issuer does not say.
fn display_name(profile: &Profile, handle: &Handle) -> Result<DisplayName, Failure> {
    let said = [profile.name.as_deref(), profile.username.as_deref()];
    said.into_iter()
        .flatten()
        .chain([handle.as_str()])
        .find_map(|text| DisplayName::parse(text).ok())
        .ok_or_else(|| Failure::internal("register", "a handle that is no name"))
}

/// What a session is opened on.
pub(super) struct OpenedOn {
    /// The identity.
    pub(super) by: VouchedBy,
    /// The login epoch of the account.
    pub(super) login_epoch: u32,
}

/// What a session of `user` is opened on at the word of `issuer`.
///
/// # Errors
/// 401 `session_ended` where it is no way in any more: it was let go of just now.
pub(super) async fn vouched(
    api: &CommandApi,
    user: UserId,
    issuer: &IssuerName,
) -> Result<OpenedOn, Problem> {
    let account = api.account(user).await?;
    let found = account.and_then(|account| {
        let by = VouchedBy {
            issuer: issuer.clone(),
            since: account.linked_since(issuer)?,
        };
        let login_epoch = account.login_epoch;
        Some(OpenedOn { by, login_epoch })
    });
    Ok(found.ok_or(NotLetIn::Token(TokenRefused::SessionEnded))?)
}

fn under_way() -> Problem {
    let waiting = "another command about the same identity is under way";
    Failure::unavailable("admit somebody", waiting).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::values::Subject;

    fn profile(username: Option<&str>, email: Option<&str>) -> Profile {
        Profile {
            subject: Subject::parse("1").unwrap(),
            email: email.map(|email| Email::parse(email).unwrap()),
            username: username.map(str::to_owned),
            name: None,
        }
    }

    fn first_handle(username: Option<&str>, email: Option<&str>) -> String {
        let profile = profile(username, email);
        let first = handles(&profile, UserId(Uuid::nil())).next().unwrap();
        first.as_str().to_owned()
    }

    #[test]
    fn a_handle_is_like_what_somebody_calls_themselves() {
        for (username, email, expected) in [
            (Some("Alice"), None, "alice"),
            (Some("alice@example.org"), None, "alice"),
            (None, Some("alice.l@example.org"), "alice.l"),
            (Some("_-Ålice L!"), None, "licel"),
            (Some("愛"), None, "user"),
            (Some("a"), None, "usera"),
            (None, None, "user"),
        ] {
            assert_eq!(first_handle(username, email), expected, "{username:?}");
        }
        assert_eq!(
            first_handle(Some(&"a".repeat(99)), None).len(),
            HANDLE_BYTES_MAX
        );
    }

    #[test]
    fn every_handle_that_is_tried_is_one() {
        let profile = profile(Some(&"a".repeat(99)), None);
        let tried: Vec<_> = handles(&profile, UserId(Uuid::max())).collect();
        assert_eq!(tried.len(), 2 + HANDLES_WITH_A_NUMBER as usize);
        let name = display_name(&profile, &tried[0]).unwrap();
        assert_eq!(name.as_str(), tried[0].as_str(), "the other is too long");
    }
}
