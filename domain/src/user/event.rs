//! What can have happened to an account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::change::Change;
use crate::event::{Actor, FromCategory as _, events};
use crate::ids::{AttachmentId, ServiceId, SessionId, UserId};
use crate::personal::Personal;
use crate::user::code_budget::NetworkHash;
use crate::user::codes::{ChallengeHash, CodeHash, CodePurpose};
use crate::user::factors::{
    PasskeyAdded, PasskeyRemoved, PasskeyRenamed, PasskeyUsed, RecoveryCodeUsed, RecoveryCodesMade,
    SecondFactorRefused, SecondFactorsRemoved, TotpBegun, TotpEnrolled, TotpRemoved, TotpUsed,
};
use crate::user::preferences::Preferences;
use crate::values::{
    DisplayName, Email, Handle, IssuerName, Locale, Pronouns, Reason, StatusText, Subject, TimeZone,
};

/// What a user may do on the whole server, besides being a user.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// Gives and takes system roles, and everything an admin may.
    Owner,
    /// Runs the server: imports, rebuilds, services, standing, and everything an analyst may.
    Admin,
    /// Reads the whole log, each time on the record. No other role includes this.
    Auditor,
    /// Reads how the server is doing.
    Analyst,
}

/// `user-registered`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The address, where there is one: imported users may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
    /// What the user wants to be called.
    pub display_name: Personal<DisplayName>,
    /// The unique name.
    pub handle: Handle,
    /// Where the account came from when it was imported, such as `slack:U5213C2A7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
}

/// `profile-changed`: what is absent stays as it is, what is null is empty from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileChanged {
    /// What the user wants to be called from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Personal<DisplayName>>,
    /// What they are up to.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub status_text: Change<Personal<StatusText>>,
    /// Where their clock is.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub time_zone: Change<Personal<TimeZone>>,
    /// Their language.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub locale: Change<Personal<Locale>>,
    /// How to speak of them.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    pub pronouns: Change<Personal<Pronouns>>,
}

/// `avatar-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvatarChanged {
    /// The picture from now on; none where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<AttachmentId>,
}

/// `password-set`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordSet {
    /// In PHC format (`$argon2id$…`).
    pub hash: Personal<String>,
}

/// `code-issued`: a code is to be mailed. It is made of the event's command, account, purpose and
/// expiry under a key of the server's, so that it stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeIssued {
    /// What it is for.
    pub purpose: CodePurpose,
    /// Where it goes.
    pub email: Personal<Email>,
    /// Of the code.
    pub hash: CodeHash,
    /// Of what whoever asked for it has to send with it, where that was not the user, logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeHash>,
    /// Of where that one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_from: Option<NetworkHash>,
    /// When it was asked for.
    pub issued_at: DateTime<Utc>,
    /// From this moment on it is worth nothing.
    pub expires_at: DateTime<Utc>,
}

/// `code-refused` and `code-used`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeDone {
    /// What the code is for.
    pub purpose: CodePurpose,
    /// Of the code, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeHash>,
}

/// `email-verified`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailVerified {
    /// Which address.
    pub email: Personal<Email>,
}

/// `system-role-granted` and `system-role-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRoleChanged {
    /// Which role.
    pub role: SystemRole,
}

/// `preferences-changed`: all of them, in place of those before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferencesChanged {
    /// What is preferred.
    pub preferences: Personal<Preferences>,
}

/// `user-blocked` and `user-unblocked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockChanged {
    /// Whom the user blocks, or blocks no more.
    pub user: UserId,
}

/// `user-suspended`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Who suspended the user.
    pub by: Actor,
    /// When it ends by itself; absent: when the user is reinstated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Why, in the words of who suspended the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Personal<Reason>>,
}

/// `user-reinstated`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reinstated {
    /// Who reinstated the user.
    pub by: Actor,
}

/// `user-deactivated`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivated {}

/// `user-reactivated`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactivated {}

/// `service-attached`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAttached {
    /// The service that acts as this user.
    pub service: ServiceId,
}

/// `logged-out-everywhere`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOutEverywhere {
    /// The login epoch that begins: sessions of earlier ones have ended.
    pub epoch: u32,
    /// The one session that goes on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<SessionId>,
}

/// `external-identity-linked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityLinked {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// For whom it vouches, in its own terms.
    pub subject: Personal<Subject>,
    /// The address, where the issuer says that it is theirs. Where it is the account's own, that one is
    /// verified by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
    /// Of when the issuer's record is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
}

/// `external-identity-updated`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityUpdated {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// Of when its record is.
    pub as_of: DateTime<Utc>,
    /// What the user is called from now on, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Personal<DisplayName>>,
    /// The address of the identity and of the account from now on, where that changed: verified by the
    /// issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Email>>,
}

/// Why an identity is no way in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlinkedBecause {
    /// The user asked for it.
    Asked,
    /// The issuer does not know it any more.
    DeletedByIssuer,
}

/// `external-identity-unlinked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentityUnlinked {
    /// The name under which the issuer is configured.
    pub issuer: IssuerName,
    /// For whom it vouched, in its own terms.
    pub subject: Personal<Subject>,
    /// Why.
    pub because: UnlinkedBecause,
    /// Of when the issuer's record is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
}

events! {
    /// An event in a stream `user-{id}`.
    UserEvent {
        /// The account begins.
        "user-registered" => Registered(Registered),
        /// It has another profile.
        "profile-changed" => ProfileChanged(ProfileChanged),
        /// It has another picture, or none.
        "avatar-changed" => AvatarChanged(AvatarChanged),
        /// It has another password.
        "password-set" => PasswordSet(PasswordSet),
        /// A code is mailed to its address.
        "code-issued" => CodeIssued(CodeIssued),
        /// Somebody sent another code than the one that was mailed.
        "code-refused" => CodeRefused(CodeDone),
        /// Somebody sent the code, which is worth nothing from now on.
        "code-used" => CodeUsed(CodeDone),
        /// Its address is its user's.
        "email-verified" => EmailVerified(EmailVerified),
        /// It may do more.
        "system-role-granted" => SystemRoleGranted(SystemRoleChanged),
        /// It may do less.
        "system-role-revoked" => SystemRoleRevoked(SystemRoleChanged),
        /// It has other preferences.
        "preferences-changed" => PreferencesChanged(PreferencesChanged),
        /// Its user wants nothing to do with another.
        "user-blocked" => Blocked(BlockChanged),
        /// They do not mind any more.
        "user-unblocked" => Unblocked(BlockChanged),
        /// Nobody comes in with it for now.
        "user-suspended" => Suspended(Suspended),
        /// Its user may come in again.
        "user-reinstated" => Reinstated(Reinstated),
        /// Its user has closed it.
        "user-deactivated" => Deactivated(Deactivated),
        /// Its user has opened it again.
        "user-reactivated" => Reactivated(Reactivated),
        /// It is a bot's: nobody logs in to it.
        "service-attached" => ServiceAttached(ServiceAttached),
        /// Its sessions have ended, but for one at most.
        "logged-out-everywhere" => LoggedOutEverywhere(LoggedOutEverywhere),
        /// An issuer's word is a way in.
        "external-identity-linked" => ExternalIdentityLinked(ExternalIdentityLinked),
        /// The issuer's record says something else.
        "external-identity-updated" => ExternalIdentityUpdated(ExternalIdentityUpdated),
        /// The issuer's word is a way in no longer.
        "external-identity-unlinked" => ExternalIdentityUnlinked(ExternalIdentityUnlinked),
        /// An authenticator app was given a secret.
        "totp-begun" => TotpBegun(TotpBegun),
        /// The app's codes count from now on.
        "totp-enrolled" => TotpEnrolled(TotpEnrolled),
        /// Somebody sent a right one.
        "totp-used" => TotpUsed(TotpUsed),
        /// They count no more.
        "totp-removed" => TotpRemoved(TotpRemoved),
        /// There are other recovery codes.
        "recovery-codes-made" => RecoveryCodesMade(RecoveryCodesMade),
        /// One of them is worth nothing from now on.
        "recovery-code-used" => RecoveryCodeUsed(RecoveryCodeUsed),
        /// A passkey counts from now on.
        "passkey-added" => PasskeyAdded(PasskeyAdded),
        /// Its user calls it something else.
        "passkey-renamed" => PasskeyRenamed(PasskeyRenamed),
        /// It answered a challenge.
        "passkey-used" => PasskeyUsed(PasskeyUsed),
        /// Its count did not grow: somebody may have a copy.
        "passkey-suspected" => PasskeySuspected(PasskeyUsed),
        /// It counts no more.
        "passkey-removed" => PasskeyRemoved(PasskeyRemoved),
        /// Somebody sent a wrong second factor.
        "second-factor-refused" => SecondFactorRefused(SecondFactorRefused),
        /// Its user had lost all of them.
        "second-factors-removed" => SecondFactorsRemoved(SecondFactorsRemoved),
    }
}
