//! Journeys: what people do with Verbatim, through the doors they use, on a real process.

#![expect(
    clippy::expect_used,
    reason = "what fails here fails the journey, with words of its own"
)]

mod crash;
mod event_store;
mod import;
mod operations;
mod outsiders;
mod read_database;
mod tour;

use serde_json::json;
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
    let owner = Person::register(server.url(), "olga").await;
    let code = std::fs::read_to_string(server.data_dir().join("owner-code")).expect("a code");
    owner
        .post("/v1/owner", json!({ "code": code.trim() }))
        .await
        .ok();
    let role = format!("/v1/users/{}/system-roles/auditor", owner.id);
    owner.ask(reqwest::Method::PUT, &role, None, &[]).await.ok();
    (server, owner)
}
