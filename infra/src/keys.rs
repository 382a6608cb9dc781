//! The server's secrets: one file in the data folder, made at first start. Everything else that is
//! secret is derived from it or stands beside it.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::failure::Failure;

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

    /// Reads the secret in `path`; makes it, readable by nobody else, where there is none.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        match fs::read(path) {
            Ok(bytes) => bytes.try_into().map(Self).map_err(|_| {
                Failure::internal(
                    "read the server's secret",
                    "the file does not hold 32 bytes",
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(Failure::internal("read the server's secret", error)),
        }
    }

    fn make(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::internal("write the server's secret", error);
        let secret: [u8; 32] = rand::random();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
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
        if let Some(folder) = path.parent() {
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

/// HMAC-SHA-256 of `data` under `key`.
pub fn keyed_hash(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    // A key shorter than a block of the hash counts as filled up with zeros (RFC 2104).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(data);
    mac.finalize().into_bytes().into()
}
