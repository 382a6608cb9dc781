//! One leader at a time, whatever happens to its connection.

use std::time::Duration;

use infra::clock::fresh_id;
use infra::leadership::{LOST_AFTER_MAX, Leadership};
use sqlx::{Connection as _, PgConnection};

use crate::event_store::{eventually, shared_server};
use crate::postgres::PostgresServer;

/// More than anything here takes; only a failure waits for its end.
const PATIENCE: Duration = Duration::from_mins(1);

/// An election of its own on the tests' PostgreSQL; its connections have its name.
struct Election {
    url: String,
    name: String,
    observer: PgConnection,
}

impl Election {
    async fn new() -> Self {
        let server = shared_server();
        let name = format!("test-{}", fresh_id());
        let joint = if server.contains('?') { '&' } else { '?' };
        Self {
            url: format!("{server}{joint}application_name={name}"),
            observer: PgConnection::connect(&server).await.unwrap(),
            name,
        }
    }

    fn campaign(&self) -> tokio::task::JoinHandle<Leadership> {
        let (url, name) = (self.url.clone(), self.name.clone());
        tokio::spawn(async move { Leadership::campaign(&url, &name).await.unwrap() })
    }

    /// Connections that have asked for the lock.
    async fn candidates(&mut self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 \
                     AND query LIKE '%pg_try_advisory_lock%' AND state = 'idle'";
        let count = sqlx::query_scalar(count).bind(&self.name);
        count.fetch_one(&mut self.observer).await.unwrap()
    }

    /// Ends the session that has the lock.
    async fn terminate_the_leader(&mut self) {
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
                         JOIN pg_stat_activity USING (pid) \
                         WHERE locktype = 'advisory' AND granted AND application_name = $1";
        let terminate = sqlx::query_scalar(terminate).bind(&self.name);
        let ended: i64 = terminate.fetch_one(&mut self.observer).await.unwrap();
        assert_eq!(ended, 1);
    }
}

#[tokio::test]
async fn a_leader_whose_session_ends_notices_and_is_followed_by_another() {
    let mut election = Election::new().await;
    let leader = election.campaign().await.unwrap();
    let next = election.campaign();
    eventually(async || election.candidates().await >= 1).await;
    assert!(leader.is_held());
    assert!(!next.is_finished(), "there are two leaders");

    election.terminate_the_leader().await;
    tokio::time::timeout(LOST_AFTER_MAX, leader.lost())
        .await
        .expect("the old leader does not notice");
    assert!(!leader.is_held());
    let next = tokio::time::timeout(PATIENCE, next).await;
    let next = next.expect("nobody follows").unwrap();
    assert!(next.is_held());

    // Dropping it is enough for another to follow.
    let last = election.campaign();
    drop(next);
    let last = tokio::time::timeout(PATIENCE, last).await;
    assert!(last.expect("nobody follows").unwrap().is_held());
}

#[tokio::test]
async fn elections_of_different_names_do_not_meet() {
    let (one, other) = (Election::new().await, Election::new().await);
    let one = one.campaign().await.unwrap();
    let other = other.campaign().await.unwrap();
    assert!(one.is_held() && other.is_held());
}

#[tokio::test]
async fn a_server_that_dies_ends_the_leadership_and_is_waited_for() {
    let mut server = PostgresServer::start().await;
    let url = server.url();
    let leader = Leadership::campaign(&url, "relay").await.unwrap();
    server.kill().await;
    tokio::time::timeout(LOST_AFTER_MAX, leader.lost())
        .await
        .expect("the leader does not notice");
    let again = tokio::spawn(async move { Leadership::campaign(&url, "relay").await });
    server.start_again().await;
    let again = tokio::time::timeout(PATIENCE, again).await;
    let again = again.expect("nobody follows").unwrap();
    assert!(again.unwrap().is_held());
}
