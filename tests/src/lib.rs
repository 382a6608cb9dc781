//! What the journeys share: a server process of their own, people who use it over HTTP, and
//! listeners on the gateway. A journey says what people do; how it travels stands here.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what fails here fails the journey, with words of its own"
)]

mod listener;
mod person;
mod process;

pub use listener::Listener;
pub use person::{Answer, Person};
pub use process::{ServerProcess, run_on_folder};
