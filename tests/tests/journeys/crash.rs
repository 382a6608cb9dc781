//! A server that is killed loses nothing it acknowledged, and its listeners miss nothing.

use tests::{Person, Storm};

use crate::owned_server;

/// Kills in one journey.
const ROUNDS: usize = 5;

/// Messages acknowledged between two kills.
const MESSAGES: usize = 40;

#[tokio::test]
async fn kill_during_sends_loses_nothing_and_listeners_resume_exactly() {
    let (mut server, olga) = owned_server().await;
    let mut people = Vec::new();
    for handle in ["ann", "bob", "cid"] {
        people.push(Person::register(&server.url(), handle).await);
    }
    let storm = Storm::begin(&olga, &people).await;
    for _ in 0..ROUNDS {
        storm.goes_on(MESSAGES).await;
        server.kill().await;
        server.start_again().await;
    }
    storm.goes_on(MESSAGES).await;
    assert!(storm.end(&olga).await > ROUNDS * MESSAGES);
}
