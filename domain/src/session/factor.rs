//! By what somebody shows who they are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that shows who somebody is. Stored by these names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// The account's password.
    Password,
    /// A code that was mailed to the account's address.
    MailedCode,
    /// The word of another issuer.
    Issuer,
    /// A code of an authenticator app.
    Totp,
    /// One of the codes for those who lost their second factor.
    RecoveryCode,
    /// A passkey, which asked its user for a PIN or a finger: it counts for both factors.
    Passkey,
}
