//! Hashing and checking passwords with argon2id (RFC 9106), a few at a time and away from the
//! threads that serve requests.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use axum::http::StatusCode;
use infra::failure::Failure;
use infra::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shortest password, in characters.
pub(crate) const PASSWORD_CHARACTERS_MIN: usize = 10;

/// Longest password, in bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 200;

/// Hashes that are computed at the same time: each takes a core and 19 MiB.
const AT_ONCE_MAX: usize = 2;

/// Hashes that may wait for their turn; one more is 503 `busy`.
const WAITING_MAX: usize = 64;

/// Checked in place of a hash that does not exist, so that an unknown name takes as long as a wrong
/// password. Has the parameters of the hashes made here.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
     bm90aGluZyBhdCBhbGwh$JkPDHP0i2pM1SgIkpFpkWYCTQVhOuMQhKhYwB4iFvxk";

/// Computes and checks hashes.
#[derive(Clone)]
pub(crate) struct Passwords {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// The hash of `password` in PHC format, with a fresh salt.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        let hashed = self
            .run(move || {
                Argon2::default()
                    .hash_password(password.as_bytes())
                    .map(|hash| hash.to_string())
            })
            .await?;
        hashed.map_err(|error| Failure::internal("hash a password", error.to_string()).into())
    }

    /// Whether `password` is the one that was hashed. Takes its time also where there is no hash,
    /// and then says no.
    pub(crate) async fn verify(
        &self,
        hash: Option<String>,
        password: String,
    ) -> Result<bool, Problem> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(NOBODYS_HASH);
            let matches = PasswordHash::new(hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            });
            known && matches
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            // Held to the end even where the request is gone: the thread is still at work.
            drop(turn);
            result
        })
        .await
        .map_err(|error| Failure::internal("compute a hash", error).into())
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let Ok(_place) = self.waiting.try_acquire() else {
            let mut problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many logins are waiting",
            );
            problem.retry_after_s = Some(1);
            return Err(problem);
        };
        Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|closed| Failure::internal("wait to compute a hash", closed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{NOBODYS_HASH, Passwords};
    use argon2::password_hash::phc::PasswordHash;

    #[tokio::test]
    async fn a_password_is_known_again() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        let verify = |hash: Option<&str>, password: &str| {
            passwords.verify(hash.map(str::to_owned), password.to_owned())
        };
        assert!(verify(Some(&hash), "correct horse").await.unwrap());
        assert!(!verify(Some(&hash), "wrong horse").await.unwrap());
        assert!(!verify(None, "correct horse").await.unwrap());
        assert!(!verify(Some("damaged"), "correct horse").await.unwrap());
    }

    #[tokio::test]
    async fn nobodys_hash_costs_what_others_cost() {
        let hash = Passwords::new()
            .hash("correct horse".to_owned())
            .await
            .unwrap();
        let (real, nobodys) = (
            PasswordHash::new(&hash).unwrap(),
            PasswordHash::new(NOBODYS_HASH).unwrap(),
        );
        assert_eq!(real.algorithm, nobodys.algorithm);
        assert_eq!(real.version, nobodys.version);
        assert_eq!(real.params, nobodys.params);
        let length = |hash: &PasswordHash| hash.hash.as_ref().map(|hash| hash.as_ref().len());
        assert_eq!(length(&real), length(&nobodys));
    }
}
