//! Who is asking: tokens, sessions, services and what they may do on the whole server.

mod caller;
pub mod cookies;
mod guard;
mod refresh_token;
mod service_tokens;
mod signing_keys;
#[cfg(test)]
mod testing;
mod theirs;
mod tokens;

pub use caller::{Caller, CallerKind};
pub use guard::{Guard, LoginStanding, NotLetIn, SentToken, account_suspended};
pub use refresh_token::{RefreshToken, RefreshTokens};
pub use service_tokens::{ServiceTokens, hash_of_service_token};
pub use theirs::FirstSight;
pub use tokens::{Claims, TokenRefused, Tokens};
