//! The one-time code by which the first owner proves that they run the server. Derived from the
//! server's secret, so that it stays the same over restarts until it is used.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use infra::keys::Secret;

/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The code: 80 bits as four groups of four characters.
pub(crate) fn of(secret: &Secret) -> String {
    let bytes = secret.derive("owner-code");
    let mut bits: u128 = 0;
    for byte in &bytes[..10] {
        bits = bits << 8 | u128::from(*byte);
    }
    let mut code = String::with_capacity(19);
    for index in 0..16 {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        let shift = 75 - 5 * index;
        code.push(char::from(ALPHABET[(bits >> shift & 31) as usize]));
    }
    code
}

/// Writes the code where only the one who runs the server reads it.
pub(crate) fn write(path: &Path, code: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{code}")
}

/// Removes the file once the code is used; that there is none is fine.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use infra::keys::Secret;

    #[test]
    fn a_code_is_sixteen_characters_and_depends_on_the_secret() {
        let code = super::of(&Secret::new([1; 32]));
        assert_eq!(code.len(), 19);
        assert!(code.split('-').all(|group| group.len() == 4), "{code}");
        assert_eq!(code, super::of(&Secret::new([1; 32])));
        assert_ne!(code, super::of(&Secret::new([2; 32])));
    }
}
