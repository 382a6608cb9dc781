//! Who is asking: tokens, sessions and what a user may do on the whole server.

mod caller;
mod guard;
mod theirs;
mod tokens;

pub use caller::Caller;
pub use guard::{Guard, NotLetIn};
pub use theirs::FirstSight;
pub use tokens::{Claims, TokenRefused, Tokens};
