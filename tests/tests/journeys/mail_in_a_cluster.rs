//! Of several projectors one mails, and whoever takes over mails nothing twice.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{Cluster, ClusterNode, MailServer, Person, Plan};

use crate::PROGRAM;
use crate::mail::{LOG_IN, VERIFY, ask_for_code, log_in_by_code, recorded, verifies_address};
use crate::site::owner_of;

/// How long it may take until somebody leads.
const LEADS_WITHIN: Duration = Duration::from_mins(1);

/// How often it is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a projector says that mails.
const LEADS: &str = "verbatim_leads{work=\"mailing\"} 1";

async fn leads(node: &ClusterNode) -> bool {
    let Ok(answer) = reqwest::get(format!("{}/metrics", node.url())).await else {
        return false;
    };
    let metrics = answer.text().await.unwrap_or_default();
    metrics.lines().any(|line| line == LEADS)
}

/// The projector that mails.
async fn mailing(cluster: &mut Cluster) -> &mut ClusterNode {
    let found = async {
        loop {
            for (place, node) in cluster.nodes.iter().enumerate() {
                if node.role == "projector" && leads(node).await {
                    return place;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let found = tokio::time::timeout(LEADS_WITHIN, found).await;
    &mut cluster.nodes[found.expect("one of them mails")]
}

#[tokio::test]
async fn a_code_is_mailed_once_whichever_projector_is_killed() {
    let mail_server = MailServer::start().await;
    let inbox = mail_server.inbox();
    let mut cluster = Cluster::start(PROGRAM, Plan::default()).await;
    let arguments = [
        "--smtp-url",
        &mail_server.url(),
        "--mail-from",
        "noreply@tea.example",
    ];
    let arguments = arguments.map(ToOwned::to_owned);
    for projector in cluster.of_role("projector") {
        projector.kill().await;
        projector.set_arguments(&arguments);
        projector.start_again().await;
    }
    let url = cluster.url();
    let olga = owner_of(&url, &cluster.owner_code(PROGRAM).await).await;
    inbox.wait_for("olga@example.org", VERIFY).await;
    recorded(&olga, "mail-sent", 1).await;

    // The one that leads is killed in the middle of a mail; the other sends it.
    let address = "bob@example.org";
    mail_server.hold_senders();
    let bob = Person::register(&url, "bob").await;
    mail_server.holds_a_sender().await;
    mailing(&mut cluster).await.kill().await;
    mail_server.release_senders();
    verifies_address(&bob, &inbox).await;
    recorded(&olga, "mail-sent", 2).await;

    // The one that leads is killed after a mail; whoever comes next finds it settled.
    for projector in cluster.of_role("projector") {
        if !leads(projector).await {
            projector.start_again().await;
        }
    }
    let challenge = ask_for_code(&bob, "log_in", address).await;
    let code = inbox.wait_for(address, LOG_IN).await.code();
    recorded(&olga, "mail-sent", 3).await;
    mailing(&mut cluster).await.kill().await;
    log_in_by_code(&bob, address, &challenge, &code).await.ok();
    // Mails are looked for in the order of the log: this one comes after all that might come again.
    Person::register(&url, "carol").await;
    inbox.wait_for("carol@example.org", VERIFY).await;
    let sent = recorded(&olga, "mail-sent", 4).await;

    assert_eq!(inbox.mails("olga@example.org").len(), 1);
    let of_bob = inbox.mails(address);
    let ids: BTreeSet<&str> = of_bob
        .iter()
        .map(|mail| mail.header("Message-ID"))
        .collect();
    assert_eq!((of_bob.len(), ids.len()), (2, 2));
    for event in &sent[1..3] {
        let id = event["data"]["message_id"].as_str().expect("an id");
        assert!(ids.contains(format!("<{id}>").as_str()), "{id} in {ids:?}");
    }
}
