//! The read database is disposable: lost or damaged, it is all back by itself.

use serde_json::{Value, json};
use tests::Person;

use crate::owned_server;

/// What the routes answer once they have everything up to `position`.
async fn answers(person: &Person, conversation: &str, position: u64) -> Vec<Value> {
    let base = format!("/v1/conversations/{conversation}");
    let mut answers = Vec::new();
    for path in [
        "/v1/conversations".to_owned(),
        base.clone(),
        format!("{base}/messages"),
        format!("{base}/members"),
        format!("{base}/messages/2/receipts"),
        "/v1/users/me".to_owned(),
    ] {
        let path = format!("{path}?min_position={position}");
        answers.push(person.get(&path).await.ok());
    }
    answers
}

/// Says, edits, reacts, sees; gives the conversation and the last position.
async fn talk(olga: &Person, bob: &Person) -> (String, u64) {
    let conversation = olga.starts_group("Team", &[bob]).await;
    let base = format!("/v1/conversations/{conversation}");
    for number in 0..20 {
        olga.says(&conversation, &format!("message {number}")).await;
    }
    let put = reqwest::Method::PUT;
    let edit = json!({ "body": "edited" });
    olga.ask(
        reqwest::Method::PATCH,
        &format!("{base}/messages/3"),
        Some(edit),
        &[],
    )
    .await
    .ok();
    olga.ask(
        reqwest::Method::DELETE,
        &format!("{base}/messages/4"),
        None,
        &[],
    )
    .await
    .ok();
    bob.ask(
        put.clone(),
        &format!("{base}/messages/5/reactions/👍"),
        None,
        &[],
    )
    .await
    .ok();
    let seen = json!({ "seq": 10 });
    let seen = bob
        .ask(put, &format!("{base}/receipts/seen"), Some(seen), &[])
        .await
        .ok();
    (conversation, seen["position"].as_u64().expect("a position"))
}

#[tokio::test]
async fn a_removed_read_database_comes_back_the_same() {
    let (mut server, olga) = owned_server().await;
    let bob = Person::register(&server.url(), "bob").await;
    let (conversation, position) = talk(&olga, &bob).await;
    let before = (
        answers(&olga, &conversation, position).await,
        answers(&bob, &conversation, position).await,
    );

    server.stop().await;
    for name in ["read.db", "read.db-wal", "read.db-shm"] {
        let file = server.data_dir().join(name);
        if file.exists() {
            std::fs::remove_file(file).expect("it can be removed");
        }
    }
    server.start_again().await;
    let after = (
        answers(&olga, &conversation, position).await,
        answers(&bob, &conversation, position).await,
    );
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_damaged_read_database_is_noticed_and_rebuilt() {
    let (mut server, olga) = owned_server().await;
    let bob = Person::register(&server.url(), "bob").await;
    let (conversation, position) = talk(&olga, &bob).await;
    let before = answers(&olga, &conversation, position).await;

    server.stop().await;
    let file = server.data_dir().join("read.db");
    let mut bytes = std::fs::read(&file).expect("the read database");
    for byte in bytes.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, bytes).expect("it can be damaged");
    server.start_again().await;
    assert_eq!(answers(&olga, &conversation, position).await, before);
}
