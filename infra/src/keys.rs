//! The server's secrets: one file in the data folder, made at first start. Everything else that is
//! secret is derived from it or stands beside it.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::data_folder::make_folder;
use crate::failure::Failure;

/// What failed.
const WRITE: &str = "write the server's secret";

/// 32 secret bytes from which keys for single purposes are derived.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret that is known already.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the secret in `path`; makes it where there is none, in a folder that is for secrets only:
    /// neither is readable by anybody else. For a log that has no events yet: with another secret nobody
    /// would find the accounts of an old one.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Self::read(path);
        }
        let folder = folder_of(path);
        make_folder(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
            .map_err(|error| Failure::internal(WRITE, error))?;
        Self::create(path)
    }

    /// Reads the secret in `path`, which must be there.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |problem: String| {
            let problem = format!("{}: {problem}", path.display());
            Failure::internal("read the server's secret", problem)
        };
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed(
                "it is missing, and without it nobody could log in or keep their name; bring it \
                 back from the backup that the log is from, or, for a log that is still empty, \
                 make one with `verbatim new-secret FILE`"
                    .to_owned(),
            ),
            _ => failed(error.to_string()),
        })?;
        let bytes = bytes.try_into();
        bytes
            .map(Self)
            .map_err(|_| failed("the file does not hold 32 bytes".to_owned()))
    }

    /// Makes a new secret in `path`, readable by nobody else, in place of what is there. So is its
    /// folder where there was none; the permissions of one that is there are its owner's business.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::internal(WRITE, error);
        let secret: [u8; 32] = rand::random();
        let folder = folder_of(path);
        make_folder(folder).map_err(failed)?;
        let draft = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed)?;
        file.write_all(&secret)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)?;
        // Its name and its folder's survive a power cut, as what is made with it does.
        let folders = folder.ancestors().take(2);
        for folder in folders.filter(|folder| !folder.as_os_str().is_empty()) {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
        }
        Ok(Self(secret))
    }

    /// A key for the one purpose that `label` names: HMAC-SHA-256 of the label.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        keyed_hash(&self.0, label.as_bytes())
    }
}

/// The folder of the file `path`; the current one for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// HMAC-SHA-256 of `data` under `key`.
pub fn keyed_hash(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    // A key shorter than a block of the hash counts as filled up with zeros (RFC 2104).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(data);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::{Secret, folder_of};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_is_made_once_and_never_in_place_of_a_lost_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("secret");
        let missing = Secret::read(&path).unwrap_err().to_string();
        assert!(missing.contains(path.to_str().unwrap()), "{missing}");
        assert!(!path.exists());
        let made = Secret::open(&path).unwrap();
        for again in [Secret::open(&path), Secret::read(&path)] {
            assert_eq!(again.unwrap().derive("test"), made.derive("test"));
        }
        std::fs::write(&path, "short").unwrap();
        assert!(Secret::open(&path).is_err());
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let path = folder.path().join("secret");
        Secret::create(&path).unwrap();
        assert_eq!((mode(folder.path()), mode(&path)), (0o755, 0o600));
        let made = folder.path().join("deep").join("keys");
        Secret::create(&made.join("secret")).unwrap();
        assert_eq!((mode(folder.path()), mode(&made)), (0o755, 0o700));
    }

    #[test]
    fn the_folder_of_a_data_folders_keys_is_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        set_mode(&keys, 0o755);
        Secret::open(&keys.join("secret")).unwrap();
        assert_eq!(mode(&keys), 0o700);
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("secret")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/secret")), Path::new("a"));
        assert_eq!(folder_of(Path::new("/secret")), Path::new("/"));
    }
}
