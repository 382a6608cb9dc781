//! Services of others follow the events with nothing but a NATS client and the documents.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::site::Site;

#[tokio::test]
async fn a_python_script_follows_the_events_over_nats() {
    let site = Site::cluster().await;
    let bob = site.person("bob").await;
    let conversation = site.owner.starts_group("Lunch", &[&bob]).await;
    for number in 0..5 {
        site.owner.says(&conversation, &format!("{number}")).await;
    }
    let all = log(&site, 0).await;
    assert_eq!(follow(&site, 0, all.len()).await, all);
    // Resumes, and hears what is said meanwhile; before it the replay, which is an event too.
    let after = all.last().and_then(|event| event["position"].as_u64());
    let after = after.expect("a position");
    let (heard, _) = tokio::join!(follow(&site, after, 2), bob.says(&conversation, "Noodles?"));
    assert_eq!(heard[0]["type"], "log-replayed");
    assert_eq!(heard[1]["type"], "message-sent");
    assert_eq!(heard[1]["data"]["body"]["value"], "Noodles?");
    assert_eq!(heard[1]["stream"], format!("conversation-{conversation}"));
}

/// What the script of the documents prints: `count` events after a position.
async fn follow(site: &Site, after: u64, count: usize) -> Vec<Value> {
    let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python/nats_follow.py");
    let nats = site.cluster.as_ref().expect("a cluster").nats[0].url();
    let output = Command::new(python)
        .args([script, &nats])
        .args(["--after", &after.to_string(), "--count", &count.to_string()])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python runs");
    assert!(output.status.success(), "{}", output.status);
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The same of the log, by an auditor's replay, but for the events that replaying makes.
async fn log(site: &Site, after: u64) -> Vec<Value> {
    let replayed = site
        .owner
        .text(&format!("/v1/audit/events?after={after}"))
        .await;
    let events = replayed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events
        .map(|event| {
            serde_json::json!({
                "position": event["position"],
                "stream": event["stream"],
                "version": event["version"],
                "type": event["type"],
                "data": event["data"],
            })
        })
        .collect()
}
