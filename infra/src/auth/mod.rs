//! Who is asking: tokens, sessions and what a user may do on the whole server.

mod caller;
pub mod cookies;
mod guard;
mod refresh_token;
mod signing_keys;
mod tokens;

pub use caller::Caller;
pub use guard::{Guard, NotLetIn, SentToken};
pub use refresh_token::{RefreshToken, RefreshTokens};
pub use tokens::{Claims, TokenRefused, Tokens};
