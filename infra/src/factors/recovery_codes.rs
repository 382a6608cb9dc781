//! Codes for those who lost their second factor: made of the account and their set under a key of the
//! server's secret, so that they stand nowhere but with their user.

use std::fmt;

use domain::user::factors::RECOVERY_CODES;
use domain::{CommandId, UserId};
use subtle::ConstantTimeEq as _;

use crate::keys::{Secret, keyed_hash};

/// Digits and lower-case letters without those that look like others: 32, five bits each.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of a code: 50 bits. Whoever guesses is slowed down long before that matters.
const LENGTH: usize = 10;

/// A recovery code, without the hyphen in its middle.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RecoveryCode(…)")
    }
}

impl RecoveryCode {
    /// Takes a code as somebody types it: spaces, hyphens and capitals do not matter, and what looks like
    /// a digit counts as that. `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let separates = |character: char| character.is_whitespace() || character == '-';
        let typed = text.chars().filter(|character| !separates(*character));
        let code: String = typed
            .take(LENGTH + 1)
            .map(|character| match character.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                other => other,
            })
            .collect();
        let is_code = code.len() == LENGTH && code.bytes().all(|it| ALPHABET.contains(&it));
        is_code.then_some(Self(code))
    }

    /// As it is shown: two groups with a hyphen between them.
    pub fn shown(&self) -> String {
        let (first, second) = self.0.split_at(LENGTH / 2);
        format!("{first}-{second}")
    }
}

/// Makes recovery codes.
pub struct RecoveryCodeKeys {
    key: [u8; 32],
}

impl RecoveryCodeKeys {
    /// The keys that follow from `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self {
            key: secret.derive("recovery-code"),
        }
    }

    /// All codes of a set, by their number.
    pub fn codes(&self, user: UserId, set: CommandId) -> Vec<RecoveryCode> {
        let numbers = 0..RECOVERY_CODES;
        numbers.map(|number| self.code(user, set, number)).collect()
    }

    /// Which of the set `code` is. Takes the same time for all that are none.
    pub fn number(&self, user: UserId, set: CommandId, code: &RecoveryCode) -> Option<u8> {
        let codes = (0..RECOVERY_CODES).zip(self.codes(user, set));
        codes.fold(None, |found, (number, known)| {
            let is_it = bool::from(known.0.as_bytes().ct_eq(code.0.as_bytes()));
            if is_it { Some(number) } else { found }
        })
    }

    fn code(&self, user: UserId, set: CommandId, number: u8) -> RecoveryCode {
        let digest = keyed_hash(&self.key, format!("{user}\n{set}\n{number}").as_bytes());
        let characters = digest.iter().take(LENGTH);
        let character = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
        RecoveryCode(characters.map(character).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId(Uuid::from_u128(1));
    const SET: CommandId = CommandId(Uuid::from_u128(2));

    #[test]
    fn a_set_has_ten_codes_that_are_known_again_and_nobody_elses() {
        let keys = RecoveryCodeKeys::new(&Secret::new([1; 32]));
        let codes = keys.codes(USER, SET);
        let shown: BTreeSet<_> = codes.iter().map(RecoveryCode::shown).collect();
        assert_eq!((codes.len(), shown.len()), (10, 10));
        for (number, code) in (0..).zip(&codes) {
            assert_eq!(keys.number(USER, SET, code), Some(number));
            assert_eq!(keys.number(UserId(SET.0), SET, code), None);
            assert_eq!(keys.number(USER, CommandId(USER.0), code), None);
        }
        let other = RecoveryCodeKeys::new(&Secret::new([2; 32]));
        assert_eq!(other.number(USER, SET, &codes[0]), None);
        assert_eq!(format!("{:?}", codes[0]), "RecoveryCode(…)");
    }

    #[test]
    fn a_code_may_be_typed_in_any_way() {
        let code = RecoveryCode::parse(" 0oIl1-abcDE ").unwrap();
        assert_eq!(code.shown(), "00111-abcde");
        for wrong in [
            "",
            "00111-abcd",
            "00111-abcdef",
            "00111-abcdu",
            "００１１１abcde",
        ] {
            assert_eq!(RecoveryCode::parse(wrong), None, "{wrong}");
        }
    }
}
