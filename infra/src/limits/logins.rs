//! Slows down who guesses passwords, and nobody else.
//!
//! Failed logins count by login name and network together; and by login name alone for those networks
//! from which nobody logged in under that name before. So many guessers share one small budget, and the
//! one whose name it is goes on logging in from where they did: strangers' failures do not count there.
//!
//! A name counts whether there is an account or not, so that being slowed down tells nothing. It counts
//! as it was typed: handle and address of one account are two names, as what they have in common is not
//! for strangers to find out.
//!
//! All of it is in memory. A restart forgets the failures, and from where people logged in: until they
//! did so again, they are strangers to their own names.

use std::net::IpAddr;
use std::time::Instant;

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::limits::limiter::{Exceeded, Limiter};
use crate::limits::network::Network;
use crate::limits::rate::Limit;

/// Pairs of name and network that are remembered as known; of more, the one that logged in least
/// recently is a stranger again.
const KNOWN_MAX: usize = 100_000;

/// A login name, as long as any other. Only who types the same name has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name([u8; 32]);

impl Name {
    fn of(login: &str) -> Self {
        Self(Sha256::digest(login.trim().to_lowercase()).into())
    }
}

/// Lets in who may try a password.
pub struct LoginGate {
    /// Failures of a name from one network.
    pairs: Limiter<(Name, Network)>,
    /// Failures of a name from all networks that are not known for it.
    strangers: Limiter<Name>,
    known: Mutex<LruCache<(Name, Network), ()>>,
}

/// A password that is being tried. It counts as wrong unless it is said to be right.
#[must_use = "what is dropped counts as a wrong password"]
pub struct Attempt<'a> {
    gate: &'a LoginGate,
    name: Name,
    network: Network,
    stranger: bool,
}

impl LoginGate {
    /// Takes `each` failure of a name from one network, and of `strangers` together.
    pub fn new(each: Limit, strangers: Limit) -> Self {
        Self {
            pairs: Limiter::new(each),
            strangers: Limiter::new(strangers),
            known: Mutex::new(LruCache::unbounded()),
        }
    }

    /// Somebody at `address` is about to try a password for `login`. What is under way counts at once, so
    /// that many at a time are not more than one after the other.
    ///
    /// # Errors
    /// There were too many wrong ones; the password is not to be looked at.
    pub fn enter(&self, login: &str, address: Option<IpAddr>) -> Result<Attempt<'_>, Exceeded> {
        self.enter_at(login, address, Instant::now())
    }

    fn enter_at(
        &self,
        login: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt<'_>, Exceeded> {
        let (name, network) = (Name::of(login), Network::from(address));
        let stranger = !self.known.lock().contains(&(name, network));
        self.pairs.take((name, network), now)?;
        if stranger && let Err(exceeded) = self.strangers.take(name, now) {
            self.pairs.give_back(&(name, network));
            return Err(exceeded);
        }
        Ok(Attempt {
            gate: self,
            name,
            network,
            stranger,
        })
    }
}

impl Attempt<'_> {
    /// The password was right: nothing is counted, and from now on this network is known for the name.
    pub fn succeeded(self) {
        self.give_back();
        let mut known = self.gate.known.lock();
        known.put((self.name, self.network), ());
        if known.len() > KNOWN_MAX {
            known.pop_lru();
        }
    }

    /// Whether it was right could not be found out: nothing is counted.
    pub fn not_checked(self) {
        self.give_back();
    }

    fn give_back(&self) {
        self.gate.pairs.give_back(&(self.name, self.network));
        if self.stranger {
            self.gate.strangers.give_back(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use super::{Attempt, Exceeded, Limit, LoginGate};

    /// A gate and a clock that stands still.
    struct World {
        gate: LoginGate,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                gate: LoginGate::new(Limit::at(3, 60, 3), Limit::at(6, 60, 6)),
                now: Instant::now(),
            }
        }

        fn tries(&self, login: &str, place: u8) -> Result<Attempt<'_>, Exceeded> {
            let address = IpAddr::from([192, 0, 2, place]);
            self.gate.enter_at(login, Some(address), self.now)
        }

        fn fails(&self, login: &str, place: u8) -> Result<(), Exceeded> {
            self.tries(login, place).map(drop)
        }

        fn logs_in(&self, login: &str, place: u8) -> Result<(), Exceeded> {
            self.tries(login, place).map(Attempt::succeeded)
        }
    }

    #[test]
    fn who_guesses_from_one_place_is_slowed_there() {
        let mut world = World::new();
        for _ in 0..3 {
            world.fails("alice", 1).unwrap();
        }
        let exceeded = world.fails(" Alice ", 1).unwrap_err();
        assert_eq!(exceeded.retry_after, Duration::from_secs(20));
        world.fails("bob", 1).unwrap();
        world.fails("alice", 2).unwrap();
        world.now += Duration::from_secs(20);
        world.fails("alice", 1).unwrap();
        world.fails("alice", 1).unwrap_err();
    }

    #[test]
    fn many_guessers_share_a_budget_and_do_not_lock_the_owner_out() {
        let world = World::new();
        world.logs_in("alice", 200).unwrap();
        let guesses = (1..100).filter(|place| world.fails("alice", *place).is_ok());
        assert_eq!(guesses.count(), 6);
        world.fails("alice", 150).unwrap_err();
        for _ in 0..10 {
            world.logs_in("alice", 200).unwrap();
        }
        // Where she is known she has the failures of that place alone.
        for _ in 0..3 {
            world.fails("alice", 200).unwrap();
        }
        world.fails("alice", 200).unwrap_err();
    }

    #[test]
    fn a_right_password_and_a_failure_of_ours_cost_nothing() {
        let world = World::new();
        for _ in 0..100 {
            world.logs_in("alice", 1).unwrap();
            world.tries("bob", 1).unwrap().not_checked();
        }
    }

    #[test]
    fn tries_at_the_same_time_all_count() {
        let world = World::new();
        let tries: Vec<_> = (0..10).map(|_| world.tries("alice", 1)).collect();
        assert_eq!(tries.iter().filter(|entered| entered.is_ok()).count(), 3);
    }
}
