//! A login of a user on a device, from opening over refreshes to revocation.

mod decide;
mod event;
mod factor;
mod refresh;

pub use decide::{Command, Login, Refused, Session, State};
pub use event::*;
pub use factor::Factor;
pub use refresh::{
    REFRESHES_STORED_MAX, REFRESHES_STORED_WITHIN, RETRIED_WITHIN, Refresh, RefreshState,
};
