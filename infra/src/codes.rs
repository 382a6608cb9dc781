//! The codes that are mailed: made of what the log says about them, under keys of the server's secret,
//! so that they stand nowhere. Whoever has the secret can make them all.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::user::code_budget::NetworkHash;
use domain::user::codes::{CODE_DIGITS, ChallengeHash, CodeHash, CodePurpose};
use domain::values::Email;
use domain::{CommandId, UserId};

use crate::keys::{Secret, hex, keyed_hash};
use crate::limits::Network;

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

/// What a stranger who asks for a code is given to name it by: 64 hex digits. Without it nobody tries that
/// code, so it is for nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// What somebody sends as one.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Challenge(…)")
    }
}

/// What one challenge is made of. Whoever asks the same again gets the same.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeOf<'a> {
    /// What the code is for.
    pub purpose: CodePurpose,
    /// Where it is to be mailed to.
    pub email: &'a Email,
    /// Where the one is who asks: the same request from elsewhere is another one.
    pub network: Network,
    /// What names the request.
    pub request: &'a str,
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
    challenging: [u8; 32],
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
            challenging: secret.derive("code-challenge"),
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
        CodeHash::new(self.hash_of(user, name(purpose), code.as_str()))
    }

    /// The challenge: HMAC-SHA-256. It is made whether or not there is an account.
    pub fn challenge(&self, of: &ChallengeOf<'_>) -> Challenge {
        let ChallengeOf {
            purpose,
            email,
            network,
            request,
        } = of;
        let purpose = name(*purpose);
        let data = format!("{purpose}\n{}\n{network}\n{request}", email.as_str());
        Challenge(hex(&keyed_hash(&self.challenging, data.as_bytes())))
    }

    /// What the log keeps of `challenge`.
    pub fn challenge_hash(&self, user: UserId, challenge: &Challenge) -> ChallengeHash {
        ChallengeHash::new(self.hash_of(user, "challenge", challenge.as_str()))
    }

    /// What the log keeps of the `network` of somebody who asks for a code.
    pub fn network_hash(&self, user: UserId, network: Network) -> NetworkHash {
        NetworkHash::new(self.hash_of(user, "network", &network.to_string()))
    }

    /// The hash of `text`, which is `what` at the account of `user`.
    fn hash_of(&self, user: UserId, what: &str, text: &str) -> String {
        let data = format!("{user}\n{what}\n{text}");
        hex(&keyed_hash(&self.hashing, data.as_bytes()))
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

    #[test]
    fn a_challenge_is_the_same_for_who_asks_the_same_again_and_for_nobody_else() {
        let keys = CodeKeys::new(&Secret::new([1; 32]));
        let email = Email::parse("alice@example.org").unwrap();
        let other_email = Email::parse("bob@example.org").unwrap();
        let asked = ChallengeOf {
            purpose: CodePurpose::LogIn,
            email: &email,
            network: Network::NONE,
            request: "one",
        };
        let challenge = keys.challenge(&asked);
        assert_eq!(challenge, keys.challenge(&asked));
        assert_eq!(challenge.as_str().len(), 64);
        assert_eq!(format!("{challenge:?}"), "Challenge(…)");
        let others = [
            keys.challenge(&ChallengeOf {
                purpose: CodePurpose::ResetPassword,
                ..asked
            }),
            keys.challenge(&ChallengeOf {
                email: &other_email,
                ..asked
            }),
            keys.challenge(&ChallengeOf {
                network: Network::of([192, 0, 2, 1].into()),
                ..asked
            }),
            keys.challenge(&ChallengeOf {
                request: "another",
                ..asked
            }),
            CodeKeys::new(&Secret::new([2; 32])).challenge(&asked),
        ];
        for other in others {
            assert_ne!(other, challenge);
        }
    }

    #[test]
    fn a_network_is_another_one_at_another_account() {
        let keys = CodeKeys::new(&Secret::new([1; 32]));
        let (one, other) = (of(1).user, UserId(Uuid::from_u128(2)));
        let hash = keys.network_hash(one, Network::NONE);
        assert_eq!(hash, keys.network_hash(one, Network::NONE));
        assert_ne!(hash, keys.network_hash(other, Network::NONE));
        let elsewhere = Network::of([192, 0, 2, 1].into());
        assert_ne!(hash, keys.network_hash(one, elsewhere));
    }
}
