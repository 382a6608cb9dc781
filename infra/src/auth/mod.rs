//! Who is asking: tokens, sessions, services and what they may do on the whole server.

mod caller;
mod guard;
mod service_tokens;
mod tokens;

pub use caller::{Caller, CallerKind};
pub use guard::{Guard, NotLetIn, account_suspended};
pub use service_tokens::{ServiceTokens, hash_of_service_token};
pub use tokens::{Claims, TokenRefused, Tokens};
