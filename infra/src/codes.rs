//! The codes that are mailed: made of what the log says about them, under keys of the server's secret,
//! so that they stand nowhere. Whoever has the secret can make them all.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::user::codes::{CODE_DIGITS, CodeHash, CodePurpose};
use domain::{CommandId, UserId};

use crate::keys::{Secret, keyed_hash};

/// Codes are below this: 10 to the power of [`CODE_DIGITS`].
const CODES: u64 = 10_u64.pow(CODE_DIGITS);

/// Characters of a code.
const LENGTH: usize = CODE_DIGITS as usize;

/// A code, as it stands in a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// Takes a code as somebody types it: spaces and hyphens between the digits do not count. `None`
    /// where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let separates = |character: char| character.is_whitespace() || character == '-';
        let digits: String = text
            .chars()
            .filter(|character| !separates(*character))
            .take(LENGTH + 1)
            .collect();
        let is_code = digits.len() == LENGTH && digits.bytes().all(|it| it.is_ascii_digit());
        is_code.then_some(Self(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Code(…)")
    }
}

/// What one code is made of. No two have the same: the command and the time are in it.
#[derive(Clone, Copy, Debug)]
pub struct CodeOf {
    /// The command that asked for it.
    pub command: CommandId,
    /// Whose it is.
    pub user: UserId,
    /// What it is for.
    pub purpose: CodePurpose,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Makes codes and their hashes.
#[derive(Clone)]
pub struct CodeKeys {
    making: [u8; 32],
    hashing: [u8; 32],
}

impl fmt::Debug for CodeKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("CodeKeys(…)")
    }
}

impl CodeKeys {
    /// The keys that follow from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self {
            making: secret.derive("code"),
            hashing: secret.derive("code-hash"),
        }
    }

    /// The code: the first eight bytes of HMAC-SHA-256, modulo the number of codes. That some codes are
    /// likelier than others by one part in 10^11 helps nobody.
    pub fn code(&self, of: &CodeOf) -> Code {
        let CodeOf {
            command,
            user,
            purpose,
            expires_at,
        } = of;
        let expires_at = expires_at.timestamp_micros();
        let data = format!("{command}\n{user}\n{}\n{expires_at}", name(*purpose));
        let digest = keyed_hash(&self.making, data.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let number = u64::from_be_bytes(first) % CODES;
        Code(format!("{number:0LENGTH$}"))
    }

    /// What the log keeps of `code`.
    pub fn hash(&self, user: UserId, purpose: CodePurpose, code: &Code) -> CodeHash {
        let data = format!("{user}\n{}\n{}", name(purpose), code.as_str());
        let digest = keyed_hash(&self.hashing, data.as_bytes());
        CodeHash::new(crate::keys::hex(&digest))
    }
}

/// Never changes: codes in mails hang on it.
const fn name(purpose: CodePurpose) -> &'static str {
    match purpose {
        CodePurpose::VerifyEmail => "verify_email",
        CodePurpose::LogIn => "log_in",
        CodePurpose::ResetPassword => "reset_password",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn of(command: u128) -> CodeOf {
        CodeOf {
            command: CommandId(Uuid::from_u128(command)),
            user: UserId(Uuid::from_u128(1)),
            purpose: CodePurpose::LogIn,
            expires_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_code_follows_from_all_that_is_said_of_it_and_from_the_secret() {
        let keys = CodeKeys::new(&Secret::new([1; 32]));
        let code = keys.code(&of(1));
        assert_eq!(code, CodeKeys::new(&Secret::new([1; 32])).code(&of(1)));
        let others = [
            keys.code(&of(2)),
            keys.code(&CodeOf {
                user: UserId(Uuid::from_u128(2)),
                ..of(1)
            }),
            keys.code(&CodeOf {
                purpose: CodePurpose::ResetPassword,
                ..of(1)
            }),
            keys.code(&CodeOf {
                expires_at: DateTime::UNIX_EPOCH + TimeDelta::microseconds(1),
                ..of(1)
            }),
            CodeKeys::new(&Secret::new([2; 32])).code(&of(1)),
        ];
        for other in others {
            assert_ne!(other, code);
        }
    }

    #[test]
    fn codes_have_eight_digits_and_are_spread_over_all_of_them() {
        let keys = CodeKeys::new(&Secret::new([1; 32]));
        let codes: Vec<String> = (0..1_000).map(|it| keys.code(&of(it)).0).collect();
        for code in &codes {
            assert_eq!(Code::parse(code).map(|code| code.0).as_ref(), Some(code));
        }
        let first_digits: BTreeSet<_> = codes.iter().map(|code| code.as_bytes()[0]).collect();
        assert_eq!(first_digits.len(), 10);
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }

    #[test]
    fn a_code_may_be_typed_in_groups_and_is_not_shown() {
        let code = Code::parse(" 0123-45 67 ").unwrap();
        assert_eq!(code.as_str(), "01234567");
        assert_eq!(format!("{code:?}"), "Code(…)");
        for wrong in ["", "1234567", "123456789", "1234567x", "１2345678"] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_same_digits_have_another_hash_for_something_else() {
        let keys = CodeKeys::new(&Secret::new([1; 32]));
        let (one, other) = (of(1).user, UserId(Uuid::from_u128(2)));
        let code = Code::parse("01234567").unwrap();
        let hash = keys.hash(one, CodePurpose::LogIn, &code);
        assert!(!hash.as_str().contains(code.as_str()));
        assert_ne!(hash, keys.hash(other, CodePurpose::LogIn, &code));
        assert_ne!(hash, keys.hash(one, CodePurpose::VerifyEmail, &code));
    }
}
