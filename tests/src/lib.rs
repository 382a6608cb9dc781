//! What the journeys share: a server process of their own, people who use it over HTTP, and
//! listeners on the gateway. A journey says what people do; how it travels stands here.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what fails here fails the journey, with words of its own"
)]

mod browser;
mod cluster;
mod issuer;
mod link;
mod listener;
mod mail;
mod nats;
mod person;
mod postgres;
mod process;
mod raw;
mod s3;
mod storm;

pub use browser::Browser;
pub use cluster::{Cluster, ClusterNode, Plan, ROLES};
pub use issuer::IssuerProcess;
pub use link::Link;
pub use listener::Listener;
pub use mail::{Inbox, Letter, MailServer};
pub use nats::{NatsServer, free_port};
pub use person::{Answer, Person, password};
pub use postgres::PostgresServer;
pub use process::{ServerProcess, run_on_folder, without_limits};
pub use raw::exchange;
pub use s3::S3Server;
pub use storm::Storm;
