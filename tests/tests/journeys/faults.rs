//! A cluster on a bad day: whatever is killed, stopped, wiped or cut while clients send and listen,
//! nothing acknowledged is lost or doubled, and every client hears exactly the log. Afterwards NATS has
//! the log, too, and passes it on.

use std::time::Duration;

use tests::{Link, Person, Plan, PostgresServer, ROLES, Storm};

use crate::profiles::on_the_door;
use crate::site::Site;
use crate::{PROGRAM, jetstream};

/// Faults of each sort.
const ROUNDS: usize = 10;

/// Messages that are acknowledged between two faults: the cluster works again.
const MESSAGES: usize = 20;

/// How long NATS is away when it loses everything.
const AWAY: Duration = Duration::from_secs(30);

/// Three people, and the storm they make.
async fn storm(site: &Site) -> Storm {
    let mut people: Vec<Person> = Vec::new();
    for name in ["ann", "bob", "cid"] {
        people.push(site.person(name).await);
    }
    Storm::begin(&site.owner, &people).await
}

/// Ends the storm. Listeners would get everything from the log alone, so NATS is looked at as well.
async fn ends(site: &Site, storm: Storm) -> usize {
    let messages = storm.end(&site.owner).await;
    jetstream::is_well(site).await;
    messages
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
        let messages = ends(&site, storm).await;
        eprintln!("{role} killed {ROUNDS} times: {messages} messages");
    }
}

#[tokio::test]
async fn nats_may_go_and_lose_everything() {
    let mut site = Site::cluster().await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    for _ in 0..ROUNDS {
        storm.goes_on(MESSAGES).await;
        cluster.nats[0].kill().await;
        // Without NATS commands are acknowledged and history is read.
        storm.goes_on(MESSAGES).await;
        tokio::time::sleep(AWAY).await;
        cluster.nats[0].wipe();
        cluster.nats[0].start_again().await;

        storm.goes_on(MESSAGES).await;
        cluster.nats[0].kill().await;
        storm.goes_on(MESSAGES).await;
        cluster.nats[0].start_again().await;
    }
    storm.goes_on(MESSAGES).await;
    ends(&site, storm).await;
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
    ends(&site, storm).await;
}

#[tokio::test]
async fn a_cluster_of_nats_may_lose_its_leader() {
    let three_nats = Plan {
        three_nats: true,
        ..Plan::default()
    };
    let mut site = Site::cluster_of(three_nats).await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    for _ in 0..ROUNDS {
        storm.goes_on(MESSAGES).await;
        let leader = cluster.nats_leader("verbatim-events").await;
        cluster.nats[leader].kill().await;
        storm.goes_on(MESSAGES).await;
        cluster.nats[leader].start_again().await;
    }
    storm.goes_on(MESSAGES).await;
    ends(&site, storm).await;
}

#[tokio::test]
async fn the_event_store_behind_the_door_may_be_killed() {
    let mut site = Site::cluster_of(on_the_door()).await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    for _ in 0..ROUNDS {
        storm.goes_on(MESSAGES).await;
        cluster.restart_event_store().await;
    }
    storm.goes_on(MESSAGES).await;
    ends(&site, storm).await;
}

#[tokio::test]
async fn two_relays_may_publish_at_once() {
    let mut site = Site::cluster().await;
    let storm = storm(&site).await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    // With a read database of its own it has an election of its own, and so a relay that publishes.
    cluster.postgres.make_database("other").await;
    let other = PostgresServer::url_at(&cluster.postgres.address(), "other");
    let mut rival = cluster.extra(PROGRAM, "projector", &["--database-url".to_owned(), other]);
    for _ in 0..ROUNDS {
        rival.start_again().await;
        storm.goes_on(MESSAGES).await;
        rival.kill().await;
        storm.goes_on(MESSAGES).await;
    }
    ends(&site, storm).await;
}

/// How long a link is cut; in every other round its connections are dead afterwards.
const CUT: Duration = Duration::from_millis(500);

/// How long a link is silent once: a leader finds that it leads no longer, and NATS that it was not
/// answered for three pings, which takes 15 seconds at most.
const SILENCE: Duration = Duration::from_secs(18);

#[tokio::test]
async fn each_role_may_be_cut_off_from_each_engine() {
    let mut site = Site::cluster().await;
    let cluster = site.cluster.as_mut().expect("a cluster");
    let mut links = Vec::new();
    for role in ROLES {
        let postgres = Link::to(cluster.postgres.address()).await;
        let nats = Link::to(cluster.nats[0].address()).await;
        let url = PostgresServer::url_at(&postgres.address().to_string(), "postgres");
        let arguments = [
            format!("--event-store={url}"),
            format!("--database-url={url}"),
            format!("--nats-url=nats://{}", nats.address()),
        ];
        for node in cluster.of_role(role) {
            node.kill().await;
            node.set_arguments(&arguments);
            node.start_again().await;
        }
        links.push([postgres, nats]);
    }
    let storm = storm(&site).await;
    // Each link once for long, of two roles at a time.
    for (number, [postgres, _]) in links.iter().enumerate() {
        let [_, nats] = &links[(number + 1) % links.len()];
        storm.goes_on(MESSAGES).await;
        postgres.cut();
        nats.cut();
        tokio::time::sleep(SILENCE).await;
        postgres.heal();
        nats.heal();
    }
    for round in 0..ROUNDS {
        for link in links.iter().flatten() {
            storm.goes_on(1).await;
            link.cut();
            tokio::time::sleep(CUT).await;
            if round % 2 == 0 {
                link.heal();
            } else {
                link.heal_afresh();
            }
        }
    }
    storm.goes_on(MESSAGES).await;
    ends(&site, storm).await;
}
