//! Second factors, as far as the server's keys are needed for them: codes of authenticator apps, recovery
//! codes and passkeys. Whether what is right is good now is the domain's to say.

mod passkeys;
mod recovery_codes;
mod totp;

pub use passkeys::{
    Answered, ChallengeRefused, PasskeyAnswer, PasskeyChallenge, Registered, RelyingParty,
    RelyingPartyConfig, RelyingPartyInvalid,
};
pub use recovery_codes::{RecoveryCode, RecoveryCodeKeys};
pub use totp::{TotpKeys, TotpSecret};
