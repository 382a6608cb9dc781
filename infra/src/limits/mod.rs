//! How often who may ask. Each process counts for itself and forgets when it ends; what is shared by a
//! whole cluster is only what the log says.
//!
//! Nothing here knows of routes or settings: `Limit` is how a bound is written, `Limiter` counts by any
//! key, `Network` is what an address counts as, `Proxies` finds that address behind proxies, and
//! `LoginGate` slows down who guesses passwords.

mod limiter;
mod logins;
mod network;
mod proxies;
mod rate;

pub use limiter::{Exceeded, Limiter, Standing};
pub use logins::{Attempt, LoginGate};
pub use network::Network;
pub use proxies::{Proxies, Proxy};
pub use rate::{Limit, LimitInvalid, Rate};
