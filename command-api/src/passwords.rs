//! Hashing, checking and judging passwords, a few at a time and away from the threads that serve
//! requests. Hashes are argon2id (RFC 9106).

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::StatusCode;
use infra::failure::Failure;
use infra::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::password_strength::{self, Weakness};

/// Shortest password, in characters.
pub(crate) const PASSWORD_CHARACTERS_MIN: usize = 10;

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 200;

/// Hashes that are computed at the same time: each takes a core, and the memory that is set.
const AT_ONCE_MAX: usize = 2;

/// Hashes that may wait for their turn; one more is 503 `busy`.
const WAITING_MAX: usize = 64;

/// What failed.
const HASH: &str = "hash a password";

/// What a hash costs whoever computes it, in favour of nobody guessing many. One thread does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// How often it is gone through.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// The first choice of those that OWASP recommends.
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
        }
    }
}

/// Computes and checks hashes.
#[derive(Clone)]
pub(crate) struct Passwords {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    params: Params,
    /// Checked in place of a hash that does not exist, so that an unknown name takes as long as a wrong
    /// password.
    nobodys_hash: Arc<str>,
}

/// What checking a password says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It is another, or there is none.
    No,
    /// It is the one.
    Yes,
    /// It is the one, and its hash has another cost than is set now.
    WithOtherCost,
}

impl Passwords {
    /// Hashes at `cost`; hashes at other costs are known, too.
    ///
    /// # Errors
    /// There are no hashes at that cost.
    pub(crate) fn new(cost: PasswordCost) -> Result<Self, Failure> {
        let PasswordCost { memory_kib, passes } = cost;
        let params = Params::new(memory_kib, passes, Params::DEFAULT_P_COST, None)
            .map_err(|error| Failure::internal(HASH, error.to_string()))?;
        let nobodys_hash = format!(
            "$argon2id$v=19$m={memory_kib},t={passes},p=1$\
             bm90aGluZyBhdCBhbGwh$JkPDHP0i2pM1SgIkpFpkWYCTQVhOuMQhKhYwB4iFvxk"
        );
        Ok(Self {
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            params,
            nobodys_hash: nobodys_hash.into(),
        })
    }

    /// The hash of `password` in PHC format, with a fresh salt.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        let argon2 = self.argon2();
        Ok(self.run(move || hash(&argon2, &password)).await??)
    }

    /// The same for a password that somebody chooses, whose own words are `known`: 422 `weak_password`
    /// where it is easy to guess.
    pub(crate) async fn hash_chosen(
        &self,
        password: String,
        known: Vec<String>,
    ) -> Result<String, Problem> {
        let argon2 = self.argon2();
        let hashed = self.run(
            move || match password_strength::weakness(&password, &known) {
                Some(weakness) => Err(Problem::from(weakness)),
                None => Ok(hash(&argon2, &password)?),
            },
        );
        hashed.await?
    }

    /// The same for a password that somebody chooses who only knows the words `known`, and what makes it
    /// easy to guess for who knows the words `theirs` as well. It is as much work whatever those are.
    pub(crate) async fn hash_for(
        &self,
        password: String,
        known: Vec<String>,
        theirs: Vec<String>,
    ) -> Result<(String, Option<Weakness>), Problem> {
        let argon2 = self.argon2();
        let hashed = self.run(move || {
            if let Some(weakness) = password_strength::weakness(&password, &known) {
                return Err(Problem::from(weakness));
            }
            let weakness = password_strength::weakness(&password, &theirs);
            Ok((hash(&argon2, &password)?, weakness))
        });
        hashed.await?
    }

    /// Whether `password` is the one that was hashed. Takes its time also where there is no hash,
    /// and then says no; at once where it is longer than any that was.
    pub(crate) async fn verify(
        &self,
        hash: Option<String>,
        password: String,
    ) -> Result<Verified, Problem> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(Verified::No);
        }
        let (argon2, params) = (self.argon2(), self.params.clone());
        let nobodys_hash = Arc::clone(&self.nobodys_hash);
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(&nobodys_hash);
            let Ok(hash) = PasswordHash::new(hash) else {
                return Verified::No;
            };
            let matches = argon2.verify_password(password.as_bytes(), &hash).is_ok();
            if !(known && matches) {
                return Verified::No;
            }
            let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
            match Params::try_from(&hash) {
                Ok(of_hash) if cost(&of_hash) == cost(&params) => Verified::Yes,
                Ok(_) | Err(_) => Verified::WithOtherCost,
            }
        })
        .await
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
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

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, Failure> {
    argon2
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Failure::internal(HASH, error.to_string()))
}

/// Refuses a password that is too short or too long to be one: 422, pointing at `/password`.
pub(crate) fn check_length(password: &str) -> Result<(), domain::values::Invalid> {
    let is_long_enough = password.chars().count() >= PASSWORD_CHARACTERS_MIN;
    if is_long_enough && password.len() <= PASSWORD_BYTES_MAX {
        return Ok(());
    }
    Err(domain::values::Invalid {
        code: "invalid_password",
        rule: "a password has at least 10 characters and at most 200 bytes",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: PasswordCost = PasswordCost {
        memory_kib: 64,
        passes: 1,
    };

    fn passwords(cost: PasswordCost) -> Passwords {
        Passwords::new(cost).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_again() {
        let passwords = passwords(PasswordCost::default());
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        let verify = async |hash: Option<&str>, password: &str| {
            let verified = passwords.verify(hash.map(str::to_owned), password.to_owned());
            verified.await.unwrap()
        };
        assert_eq!(verify(Some(&hash), "correct horse").await, Verified::Yes);
        assert_eq!(verify(Some(&hash), "wrong horse").await, Verified::No);
        assert_eq!(verify(None, "correct horse").await, Verified::No);
        assert_eq!(verify(Some("damaged"), "correct horse").await, Verified::No);
    }

    #[tokio::test]
    async fn a_hash_at_another_cost_is_known_as_such() {
        let hash = passwords(LOW).hash("correct horse".to_owned()).await;
        let hash = hash.unwrap();
        let dear = passwords(PasswordCost { passes: 2, ..LOW });
        let verified = dear.verify(Some(hash.clone()), "correct horse".to_owned());
        assert_eq!(verified.await.unwrap(), Verified::WithOtherCost);
        let verified = dear.verify(Some(hash), "wrong horse".to_owned());
        assert_eq!(verified.await.unwrap(), Verified::No);
        let none = PasswordCost {
            memory_kib: 1,
            passes: 1,
        };
        assert!(Passwords::new(none).is_err());
    }

    #[tokio::test]
    async fn nobodys_hash_costs_what_others_cost() {
        for cost in [LOW, PasswordCost::default()] {
            let passwords = passwords(cost);
            let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
            let (real, nobodys) = (
                PasswordHash::new(&hash).unwrap(),
                PasswordHash::new(&passwords.nobodys_hash).unwrap(),
            );
            assert_eq!(real.algorithm, nobodys.algorithm);
            assert_eq!(real.version, nobodys.version);
            assert_eq!(real.params, nobodys.params);
            let length = |hash: &PasswordHash| hash.hash.as_ref().map(|hash| hash.as_ref().len());
            assert_eq!(length(&real), length(&nobodys));
        }
    }
}
