//! Journeys: what people do with Verbatim, through the doors they use, on a real process.

#![expect(
    clippy::expect_used,
    reason = "what fails here fails the journey, with words of its own"
)]

mod attachments;
mod attacks;
mod crash;
mod deploy;
mod documents;
mod edges;
mod event_store;
mod faults;
mod import;
mod issuers;
mod jetstream;
mod mail;
mod mail_in_a_cluster;
mod matrix;
mod messages;
mod notifications;
mod operations;
mod outside;
mod outsiders;
mod people;
mod presence;
mod profiles;
mod read_database;
mod schema;
mod search;
mod second_factor;
mod sessions;
mod site;
mod spaces;
mod timing;
mod tour;

use tests::{Person, ServerProcess};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_verbatim-under-test");

/// A server and its owner, who is also an auditor.
async fn owned_server() -> (ServerProcess, Person) {
    owned_server_with(&[]).await
}

/// The same, started with further arguments.
async fn owned_server_with(arguments: &[&str]) -> (ServerProcess, Person) {
    let server = ServerProcess::start_with(PROGRAM, arguments).await;
    let code = std::fs::read_to_string(server.data_dir().join("owner-code")).expect("a code");
    let owner = site::owner_of(&server.url(), code.trim()).await;
    (server, owner)
}
