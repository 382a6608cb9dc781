//! What can have happened to the second factors of an account. None of it is secret.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::Actor;
use crate::ids::{CommandId, PasskeyId};
use crate::personal::Personal;
use crate::session::Factor;
use crate::user::factors::Ticket;
use crate::values::DisplayName;

/// `totp-begun`: an authenticator app was given a secret, which is made of the account and this
/// enrolment under a key of the server's, so that it stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpBegun {
    /// Names the enrolment: the command that began it.
    pub enrolment: CommandId,
    /// From this moment on it cannot be finished.
    pub expires_at: DateTime<Utc>,
}

/// `totp-enrolled`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpEnrolled {
    /// Which enrolment.
    pub enrolment: CommandId,
    /// The step (30 seconds since 1970) whose code showed that the app has the secret.
    pub step: u64,
}

/// `totp-used`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpUsed {
    /// The step whose code was sent. No code of it or of an earlier one is taken again.
    pub step: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// The login that it completed; absent where it was for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// `totp-removed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpRemoved {}

/// `recovery-codes-made`: they are made of the account and this set under a key of the server's, so
/// that they stand nowhere. Those before are worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCodesMade {
    /// Names the set: the command that made it.
    pub set: CommandId,
}

/// `recovery-code-used`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCodeUsed {
    /// Of which set.
    pub set: CommandId,
    /// Which of them, from 0.
    pub number: u8,
    /// When.
    pub at: DateTime<Utc>,
    /// The login that it completed; absent where it was for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// `passkey-added`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyAdded {
    /// The passkey.
    pub passkey: PasskeyId,
    /// What its user calls it.
    pub name: Personal<DisplayName>,
    /// By which authenticators name it: base64url without padding.
    pub credential_id: Personal<String>,
    /// Its public key and what else its use is checked with: the JSON of `webauthn-rs`, with the counter
    /// at 0.
    pub credential: Personal<String>,
    /// How often it was used, by its own count; 0 for those that do not count.
    pub sign_count: u32,
    /// When the challenge was made that it answered.
    pub challenged_at: DateTime<Utc>,
    /// When it was added.
    pub at: DateTime<Utc>,
}

/// `passkey-renamed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyRenamed {
    /// Which.
    pub passkey: PasskeyId,
    /// What its user calls it from now on.
    pub name: Personal<DisplayName>,
}

/// `passkey-used` and `passkey-suspected`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyUsed {
    /// Which.
    pub passkey: PasskeyId,
    /// How often it was used, by its own count.
    pub sign_count: u32,
    /// When the challenge was made that it answered. No older one is taken again.
    pub challenged_at: DateTime<Utc>,
    /// When.
    pub at: DateTime<Utc>,
    /// The login that it completed; absent where it was for something else, or a login by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// `passkey-removed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyRemoved {
    /// Which.
    pub passkey: PasskeyId,
    /// When.
    pub at: DateTime<Utc>,
}

/// `second-factor-refused`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorRefused {
    /// What it was said to be.
    pub factor: Factor,
    /// When.
    pub at: DateTime<Utc>,
    /// The login that it should have completed; absent where it was for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// `second-factors-removed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorsRemoved {
    /// Who removed them, because their user had lost them.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}
