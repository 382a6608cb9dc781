//! What second factors are made and checked with.

use infra::factors::{RecoveryCodeKeys, RelyingParty, RelyingPartyConfig, TotpKeys};
use infra::failure::Failure;
use infra::keys::Secret;
use infra::limits::LoginGate;
use infra::seal::Seal;

/// How second factors are taken.
pub struct SecondFactorRules {
    /// Whose passkeys they are; its name is also what authenticator apps show.
    pub relying_party: RelyingPartyConfig,
    /// Slows down who guesses the factors of one user.
    pub gate: LoginGate,
}

/// Everything about second factors that follows from the server's secret and its settings.
pub(crate) struct SecondFactors {
    pub(super) relying_party: RelyingParty,
    pub(super) totp: TotpKeys,
    pub(super) recovery: RecoveryCodeKeys,
    pub(super) tickets: Seal,
    pub(super) gate: LoginGate,
}

impl SecondFactors {
    pub(crate) fn new(rules: SecondFactorRules, secret: &Secret) -> Result<Self, Failure> {
        Ok(Self {
            relying_party: RelyingParty::new(&rules.relying_party, secret)?,
            totp: TotpKeys::new(secret),
            recovery: RecoveryCodeKeys::new(secret),
            tickets: Seal::new(secret, "second-factor-ticket")?,
            gate: rules.gate,
        })
    }
}
