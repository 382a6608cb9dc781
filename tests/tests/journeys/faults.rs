//! A cluster on a bad day: whatever is killed, stopped, wiped or cut while clients send and listen,
//! nothing acknowledged is lost or doubled, and every client hears exactly the log.

use std::time::Duration;

use tests::{Person, ROLES, Storm};

use crate::site::Site;

/// Faults of each sort.
const ROUNDS: usize = 10;

/// Messages that are acknowledged between two faults: the cluster works again.
const MESSAGES: usize = 20;

/// How long NATS is away in one round; the other rounds are shorter.
const AWAY_LONG: Duration = Duration::from_secs(30);

/// Three people, and the storm they make.
async fn storm(site: &Site) -> Storm {
    let mut people: Vec<Person> = Vec::new();
    for name in ["ann", "bob", "cid"] {
        people.push(site.person(name).await);
    }
    Storm::begin(&site.owner, &people).await
}

#[tokio::test]
async fn every_role_may_be_killed() {
    let mut site = Site::cluster().await;
    for role in ROLES {
        let storm = storm(&site).await;
        let cluster = site.cluster.as_mut().expect("a cluster");
        for round in 0..ROUNDS {
            storm.goes_on(MESSAGES).await;
            let victim = cluster.of_role(role).nth(round % 2).expect("two of each");
            victim.kill().await;
            storm.goes_on(MESSAGES).await;
            victim.start_again().await;
        }
        storm.goes_on(MESSAGES).await;
        let messages = storm.end(&site.owner).await;
        eprintln!("{role} killed {ROUNDS} times: {messages} messages");
    }
}

#[tokio::test]
async fn nats_may_go_and_lose_everything() {
    let mut site = Site::cluster().await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    for round in 0..ROUNDS {
        storm.goes_on(MESSAGES).await;
        cluster.nats.kill().await;
        // Without NATS commands are acknowledged and history is read.
        storm.goes_on(MESSAGES).await;
        if round == 0 {
            tokio::time::sleep(AWAY_LONG).await;
        }
        if round % 2 == 0 {
            cluster.nats.wipe();
        }
        cluster.nats.start_again().await;
    }
    storm.goes_on(MESSAGES).await;
    storm.end(&site.owner).await;
}

#[tokio::test]
async fn postgres_may_be_restarted_and_killed() {
    let mut site = Site::cluster().await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    for round in 0..2 * ROUNDS {
        storm.goes_on(MESSAGES).await;
        if round % 2 == 0 {
            cluster.postgres.stop().await;
        } else {
            cluster.postgres.kill().await;
        }
        cluster.postgres.start_again().await;
    }
    storm.goes_on(MESSAGES).await;
    storm.end(&site.owner).await;
}
