//! Importing Slack history: a small export made here, and the real one where it is at hand.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Person, ServerProcess, run_on_folder};

use crate::{PROGRAM, owned_server};

/// Writes an export of `days` days with 20 messages each, in two channels.
fn export(folder: &Path, days: u32) {
    let users = json!([
        { "id": "U1", "name": "ann", "profile": { "real_name": "Ann", "email": "ann@example.org" } },
        { "id": "U2", "name": "ben", "profile": { "real_name": "Ben" } },
    ]);
    let channels = json!([
        { "id": "C1", "name": "general", "created": 1_500_000_000, "members": ["U1", "U2"] },
        { "id": "C2", "name": "random", "created": 1_500_000_000, "members": ["U2", "U1"] },
    ]);
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("users.json"), users.to_string()).expect("written");
    std::fs::write(folder.join("channels.json"), channels.to_string()).expect("written");
    for channel in ["general", "random"] {
        std::fs::create_dir_all(folder.join(channel)).expect("a folder");
        for day in 0..days {
            let first = 1_500_000_000 + u64::from(day) * 86_400;
            let messages: Vec<Value> = (0..20)
                .map(|n| {
                    let ts = format!("{}.000100", first + n);
                    let user = if n % 2 == 0 { "U1" } else { "U2" };
                    let text = format!("{channel} {day} {n}");
                    let mut message =
                        json!({ "type": "message", "user": user, "text": text, "ts": ts });
                    if n > 0 && n % 5 == 0 {
                        message["thread_ts"] = json!(format!("{first}.000100"));
                    }
                    message
                })
                .collect();
            let name = format!("2017-{:02}-{:02}.json", day / 28 + 1, day % 28 + 1);
            let text = serde_json::to_string_pretty(&messages).expect("JSON");
            std::fs::write(folder.join(channel).join(name), text).expect("written");
        }
    }
}

fn bodies(replayed: &str) -> Vec<String> {
    let events = replayed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events
        .map(|event| {
            event["data"]["body"]["value"]
                .as_str()
                .expect("a body")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_and_a_second_adds_nothing() {
    let scratch = tempfile::tempdir().expect("a folder");
    let slack = scratch.path().join("slack");
    export(&slack, 300);
    let data = scratch.path().join("data");
    let path = slack.to_str().expect("UTF-8");
    for wait_ms in [60, 120, 240] {
        let mut import = tokio::process::Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(&data)
            .args(["import", "slack", path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        import.kill().await.expect("it can be killed");
    }
    run_on_folder(PROGRAM, &data, &["import", "slack", path]).await;
    let first = run_on_folder(PROGRAM, &data, &["replay", "--type", "message-sent"]).await;
    let mut said = bodies(&first);
    assert_eq!(said.len(), 2 * 300 * 20);
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 2 * 300 * 20, "nothing is there twice");
    run_on_folder(PROGRAM, &data, &["import", "slack", path]).await;
    let second = run_on_folder(PROGRAM, &data, &["replay", "--type", "message-sent"]).await;
    assert_eq!(first, second, "a second import adds nothing");
}

#[tokio::test]
async fn an_export_is_imported_into_a_running_server() {
    let (server, olga) = owned_server().await;
    let scratch = tempfile::tempdir().expect("a folder");
    let slack = scratch.path().join("slack");
    export(&slack, 3);
    let output = tokio::process::Command::new(PROGRAM)
        .args([
            "--server",
            &server.url(),
            "--token",
            &olga.token,
            "import",
            "slack",
        ])
        .arg(&slack)
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let replayed = olga.text("/v1/audit/events?type=message-sent").await;
    assert_eq!(bodies(&replayed).len(), 2 * 3 * 20);
    let bob = Person::register(&server.url(), "bob").await;
    let refused = bob.post("/v1/import/slack", json!({})).await;
    refused.problem(403, "forbidden");
}

/// The real export, where the machine has it.
fn real_export() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    let folder = root.join("shared/data/slack-racket");
    folder.exists().then_some(folder)
}

/// Pages through a conversation from its beginning; gives seqs and bodies.
async fn pages(person: &Person, conversation: &str) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/conversations/{conversation}/messages?limit=100&after={after}");
        let page = person.get(&path).await.ok();
        let messages = page["messages"].as_array().expect("messages").clone();
        let Some(last) = messages.last() else {
            return all;
        };
        after = last["seq"].as_u64().expect("a seq");
        all.extend(messages.iter().map(|message| {
            let body = message["body"].as_str().expect("a body").to_owned();
            (message["seq"].as_u64().expect("a seq"), body)
        }));
    }
}

#[tokio::test]
async fn two_years_of_a_real_channel_are_all_there() {
    let Some(slack) = real_export() else {
        eprintln!("no real export beside the repository: the small one has to do");
        return;
    };
    let mut server = ServerProcess::start(PROGRAM).await;
    let olga = Person::register(&server.url(), "olga").await;
    server.stop().await;
    let folder = server.data_dir();
    let path = slack.to_str().expect("UTF-8");
    run_on_folder(
        PROGRAM,
        &folder,
        &["import", "slack", path, "--owner", "olga"],
    )
    .await;
    let replayed = run_on_folder(PROGRAM, &folder, &["replay", "--type", "message-sent"]).await;
    let said = bodies(&replayed);
    assert_eq!(said.len(), 22_172);
    assert_eq!(said.iter().filter(|body| body.is_empty()).count(), 1);
    run_on_folder(
        PROGRAM,
        &folder,
        &["import", "slack", path, "--owner", "olga"],
    )
    .await;
    let again = run_on_folder(PROGRAM, &folder, &["replay", "--type", "message-sent"]).await;
    assert_eq!(replayed, again, "a second import adds nothing");
    let users = run_on_folder(PROGRAM, &folder, &["replay", "--type", "user-registered"]).await;
    assert_eq!(users.lines().count(), 326 + 1);

    server.start_again().await;
    let last: Value = serde_json::from_str(replayed.lines().last().expect("events")).expect("JSON");
    let path = format!("/v1/conversations?min_position={}", last["position"]);
    let mine = olga.get(&path).await.ok();
    let conversation = mine["conversations"][0]["id"].as_str().expect("an id");
    let paged = pages(&olga, conversation).await;
    assert!(
        paged.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "in order"
    );
    assert_eq!(
        paged.into_iter().map(|(_, body)| body).collect::<Vec<_>>(),
        said
    );
}
