//! Why an account says no.

use crate::decider::{Refusal, RefusalKind};
use crate::user::decide::User;
use crate::user::factors;

/// Why an account says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// There is one already.
    #[error("this account is registered already")]
    AlreadyRegistered,
    /// Without it nobody could log in.
    #[error(
        "this is the last way into the account; set a password, verify an address or link another identity first"
    )]
    LastWayIn,
    /// The account has another identity of the same issuer.
    #[error("the account has another identity of this issuer; unlink that first")]
    IssuerAlreadyLinked,
    /// The issuer deleted it.
    #[error("the issuer has deleted this identity")]
    IdentityClosed,
    /// What has ended before it begins is a mistake.
    #[error("the end of it is in the past")]
    EndsInThePast,
    /// One cannot block oneself.
    #[error("nobody blocks themselves")]
    BlocksOneself,
    /// As many are blocked as may be.
    #[error("a user blocks at most {} others", User::BLOCKS_MAX)]
    TooManyBlocks,
    /// Nobody suspends themselves.
    #[error("nobody suspends themselves")]
    SuspendsOneself,
    /// An owner is always there.
    #[error("an owner cannot be suspended or deactivated; take the role away first")]
    IsOwner,
    /// Who cannot come in owns nothing.
    #[error("the account is suspended or deactivated")]
    NotActive,
    /// A bot has no system roles: what services may do is in their scopes.
    #[error("this is the account of a service, which has no system roles")]
    IsService,
    /// There is nowhere to mail to.
    #[error("this account has no e-mail address")]
    NoAddress,
    /// There is nothing to verify.
    #[error("the e-mail address is verified already")]
    AlreadyVerified,
    /// They have to wait before another is mailed.
    #[error("too many codes were asked for; use the last one, or wait some minutes")]
    TooManyCodes,
    /// There is no such code, or not any more.
    #[error("this is not the code; ask for another if it was tried too often or is too old")]
    WrongCode,
    /// It would not keep others out.
    #[error("the password is easy to guess")]
    WeakPassword,
    /// Somebody else was faster.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
    /// It was ended together with all others.
    #[error("this session has ended; log in again")]
    SessionEnded,
    /// Something about second factors.
    #[error(transparent)]
    Factor(#[from] factors::Refused),
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user_not_found",
            Self::AlreadyRegistered => "already_registered",
            Self::LastWayIn => "last_way_in",
            Self::IssuerAlreadyLinked => "issuer_already_linked",
            Self::IdentityClosed => "identity_closed",
            Self::EndsInThePast => "ends_in_the_past",
            Self::BlocksOneself => "blocks_oneself",
            Self::TooManyBlocks => "too_many_blocks",
            Self::SuspendsOneself => "suspends_oneself",
            Self::IsOwner => "is_owner",
            Self::NotActive => "account_not_active",
            Self::IsService => "is_service",
            Self::NoAddress => "no_email",
            Self::AlreadyVerified => "email_already_verified",
            Self::TooManyCodes => "too_many_codes",
            Self::WrongCode => "wrong_code",
            Self::WeakPassword => "weak_password",
            Self::PasswordChanged => "password_changed",
            Self::SessionEnded => "session_ended",
            Self::Factor(refused) => refused.code(),
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered
            | Self::LastWayIn
            | Self::IssuerAlreadyLinked
            | Self::TooManyBlocks
            | Self::IsOwner
            | Self::NotActive
            | Self::IsService
            | Self::NoAddress
            | Self::AlreadyVerified
            | Self::TooManyCodes
            | Self::PasswordChanged
            | Self::SessionEnded => RefusalKind::Conflict,
            Self::IdentityClosed | Self::WrongCode => RefusalKind::Forbidden,
            Self::Factor(refused) => refused.kind(),
            Self::EndsInThePast
            | Self::BlocksOneself
            | Self::SuspendsOneself
            | Self::WeakPassword => RefusalKind::Invalid,
        }
    }
}
