//! Codes of authenticator apps: RFC 6238 with SHA-1, six digits and steps of 30 seconds, which all apps
//! take. The secret of an app is made of the account and its enrolment under a key of the server's secret,
//! so that it stands nowhere but in the app.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::{CommandId, UserId};
use totp_rs::{Builder, Totp};

use crate::failure::Failure;
use crate::keys::{Secret, keyed_hash};

/// Bytes of an app's secret: as many as SHA-1 has (RFC 4226, section 4).
const SECRET_BYTES: usize = 20;

/// Steps by which the clock of the device may be off, either way.
const SKEW_STEPS: u16 = 1;

/// Makes the secrets of apps, and knows their codes.
pub struct TotpKeys {
    key: [u8; 32],
}

/// What an app is given, once.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret {
    /// In base32, to be typed.
    pub base32: String,
    /// `otpauth://totp/…`, to be shown as a QR code.
    pub uri: String,
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TotpSecret(…)")
    }
}

impl TotpKeys {
    /// The keys that follow from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self {
            key: secret.derive("totp"),
        }
    }

    /// What the app of `enrolment` is given. It shows `account` under the name `service`.
    ///
    /// # Errors
    /// The names cannot be written into a URI.
    pub fn secret(
        &self,
        user: UserId,
        enrolment: CommandId,
        account: &str,
        service: &str,
    ) -> Result<TotpSecret, Failure> {
        // The names of both are apart by a colon.
        let named = |name: &str| name.replace(':', " ");
        let app = self.builder(user, enrolment);
        let app = app.with_account_name(named(account));
        let app = app.with_issuer(Some(named(service))).build_noncompliant();
        let uri = app.to_url();
        Ok(TotpSecret {
            base32: app.secret().to_base32(),
            uri: uri.map_err(|error| Failure::internal("name an authenticator app", error))?,
        })
    }

    /// The step of which `code` is, at `now`; `None` where it is of none that may be sent then. Spaces and
    /// hyphens in it do not count.
    pub fn step(
        &self,
        user: UserId,
        enrolment: CommandId,
        code: &str,
        now: DateTime<Utc>,
    ) -> Option<u64> {
        let separates = |character: char| character.is_whitespace() || character == '-';
        let digits: String = code.chars().filter(|it| !separates(*it)).take(7).collect();
        let now = u64::try_from(now.timestamp()).ok()?;
        self.app(user, enrolment).check(&digits, now)
    }

    fn app(&self, user: UserId, enrolment: CommandId) -> Totp {
        self.builder(user, enrolment).build_noncompliant()
    }

    fn builder(&self, user: UserId, enrolment: CommandId) -> Builder {
        let digest = keyed_hash(&self.key, format!("{user}\n{enrolment}").as_bytes());
        // SHA-1, six digits and 30 seconds are what it builds unless told.
        Builder::new()
            .with_secret(digest[..SECRET_BYTES].to_vec())
            .with_skew(SKEW_STEPS)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId(Uuid::from_u128(1));
    const APP: CommandId = CommandId(Uuid::from_u128(2));

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// The values of RFC 6238, appendix B, of which an app shows the last six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let app = Builder::new().with_secret(b"12345678901234567890".to_vec());
        let app = app.build_noncompliant();
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(app.generate(seconds).to_string(), code);
        }
    }

    /// What the app shows.
    fn code(keys: &TotpKeys, seconds: u64) -> String {
        keys.app(USER, APP).generate(seconds).to_string()
    }

    #[test]
    fn a_code_is_known_one_step_early_and_late_and_says_its_step() {
        let keys = TotpKeys::new(&Secret::new([1; 32]));
        let code = code(&keys, 3_000);
        for (seconds, step) in [
            (2_969, None),
            (2_970, Some(100)),
            (3_029, Some(100)),
            (3_059, Some(100)),
            (3_060, None),
        ] {
            assert_eq!(keys.step(USER, APP, &code, at(seconds)), step, "{seconds}");
        }
        let grouped = format!(" {} {}", &code[..3], &code[3..]);
        assert_eq!(keys.step(USER, APP, &grouped, at(3_000)), Some(100));
        for wrong in ["", "1", "12345", "１２３４５６", "aaaaaa"] {
            assert_eq!(keys.step(USER, APP, wrong, at(3_000)), None);
        }
        let longer = format!("{code}0");
        assert_eq!(keys.step(USER, APP, &longer, at(3_000)), None);
    }

    #[test]
    fn every_enrolment_of_everybody_has_another_secret() {
        let keys = TotpKeys::new(&Secret::new([1; 32]));
        let secret = |keys: &TotpKeys, user, app| {
            keys.secret(user, app, "alice", "Verbatim").unwrap().base32
        };
        let first = secret(&keys, USER, APP);
        assert_eq!(first.len(), 32);
        let other = TotpKeys::new(&Secret::new([2; 32]));
        for another in [
            secret(&keys, UserId(APP.0), APP),
            secret(&keys, USER, CommandId(USER.0)),
            secret(&other, USER, APP),
        ] {
            assert_ne!(another, first);
        }
    }

    #[test]
    fn the_uri_names_the_service_and_the_account() {
        let keys = TotpKeys::new(&Secret::new([1; 32]));
        let shown = keys.secret(USER, APP, "a:b c", "Tea & Co").unwrap();
        let expected = format!(
            "otpauth://totp/Tea%20%26%20Co:a%20b%20c?secret={}&issuer=Tea%20%26%20Co",
            shown.base32
        );
        assert_eq!(shown.uri, expected);
        assert_eq!(format!("{shown:?}"), "TotpSecret(…)");
    }
}
