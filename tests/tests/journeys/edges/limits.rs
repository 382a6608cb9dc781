//! Those who ask too much, and those who are not to suffer from them.

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tests::{Listener, Person, ServerProcess};

use super::text;
use crate::{PROGRAM, owned_server_with};

/// How often it is tried whether a limit has passed.
const TRY_EVERY: Duration = Duration::from_millis(50);

async fn get(server: &ServerProcess, path: &str) -> Response {
    let url = format!("{}{path}", server.url());
    reqwest::get(url).await.expect("an answer")
}

/// A login as `login` from `address`, as a proxy says it; gives the status.
async fn login(server: &ServerProcess, login: &str, password: &str, address: &str) -> u16 {
    let request = Client::new()
        .post(format!("{}/v1/sessions", server.url()))
        .header("x-forwarded-for", address)
        .json(&json!({ "login": login, "password": password }));
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_back_and_is_served_then() {
    let limit = ["--limit-reads-address", "1/2s,burst=3"];
    let server = ServerProcess::start_with(PROGRAM, &limit).await;
    let begun = Instant::now();
    let mut answer = get(&server, "/v1/users/me").await;
    assert_eq!(answer.status(), 401);
    let policy = "\"reads-address\";q=3;w=6";
    assert_eq!(text(answer.headers(), "ratelimit-policy"), policy);
    let left = "\"reads-address\";r=2;t=2";
    assert_eq!(text(answer.headers(), "ratelimit"), left);
    for _ in 0..100 {
        if answer.status() != 401 {
            break;
        }
        answer = get(&server, "/v1/users/me").await;
    }
    assert_eq!(answer.status(), 429);
    let wait: u64 = text(answer.headers(), "retry-after").parse().expect("s");
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(text(answer.headers(), "ratelimit-policy"), policy);
    let standing = text(answer.headers(), "ratelimit").to_owned();
    assert!(
        standing.starts_with("\"reads-address\";r=0;t="),
        "{standing}"
    );
    let problem: Value = answer.json().await.expect("a problem");
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(problem["retry_after_s"], wait);
    assert!(problem["trace_id"].is_string());

    // Those who look after the server go on, and nobody else waits for the bucket either.
    for path in ["/health/live", "/health/ready", "/openapi.json"] {
        let free = get(&server, path).await;
        assert_ne!(free.status(), 429, "{path}");
        assert_eq!(text(free.headers(), "ratelimit"), "", "{path}");
    }
    let metrics = get(&server, "/metrics").await.text().await.expect("text");
    assert!(metrics.contains("verbatim_http_limited_total{policy=\"reads-address\"}"));
    while get(&server, "/v1/users/me").await.status() == 429 {
        tokio::time::sleep(TRY_EVERY).await;
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "it was refused for a while"
    );
}

#[tokio::test]
async fn a_user_has_one_budget_over_http_and_all_sockets() {
    let limit = ["--limit-commands-user", "1/1h,burst=6"];
    let (server, olga) = owned_server_with(&limit).await;
    let bob = Person::register(&server.url(), "bob").await;
    let group = bob.starts_group("Lunch", &[&olga]).await;
    bob.says(&group, "one").await;
    let (mut phone, _) = Listener::live(&bob).await;
    let (mut laptop, _) = Listener::live(&bob).await;
    let message =
        |id: &str| json!({ "op": "send_message", "id": id, "conversation": group, "body": id });
    for number in 0..3 {
        let client = if number == 1 { &mut laptop } else { &mut phone };
        client.send(message(&format!("m{number}"))).await;
        client.wait_for("ack").await;
    }
    bob.says(&group, "six").await;
    laptop.send(message("m9")).await;
    let refused = loop {
        let frame = laptop.next().await;
        if frame["op"] == "error" {
            break frame;
        }
    };
    assert_eq!(refused["problem"]["code"], "rate_limited", "{refused}");
    assert_eq!(refused["id"], "m9");
    let path = format!("/v1/conversations/{group}/messages");
    let answer = bob.post(&path, json!({ "body": "seven" })).await;
    answer.problem(429, "rate_limited");
    bob.get("/v1/users/me").await.ok();
    olga.says(&group, "I may").await;
}

#[tokio::test]
async fn strangers_who_guess_do_not_lock_anybody_out() {
    let server = ServerProcess::start_with(
        PROGRAM,
        &[
            "--trusted-proxies=127.0.0.1",
            "--limit-login-name=3/1h",
            "--limit-login-strangers=5/1h",
        ],
    )
    .await;
    // She logs in from the loopback address, as no proxy says otherwise.
    let mut alice = Person::register(&server.url(), "alice").await;
    for name in ["alice", "nobody"] {
        let mut guesses = Vec::new();
        for place in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
            for _ in 0..4 {
                guesses.push(login(&server, name, "a wrong password", place).await);
            }
        }
        // Three at the first place, two more at the second, and no more anywhere.
        let expected = [401, 401, 401, 429, 401, 401, 429, 429, 429, 429, 429, 429];
        assert_eq!(guesses, expected, "{name}");
    }
    // The right one is not looked at either, so nobody learns that it was.
    let right = login(&server, "alice", "correct horse alice", "198.51.100.4").await;
    assert_eq!(right, 429);
    alice.log_in("alice").await;
}

#[tokio::test]
async fn each_way_in_has_a_limit_of_its_own_and_each_network_too() {
    let server = ServerProcess::start_with(
        PROGRAM,
        &[
            "--trusted-proxies=127.0.0.0/8",
            "--limit-login-address=2/1h",
            "--limit-registration-address=1/1h",
        ],
    )
    .await;
    let mut statuses = Vec::new();
    for address in [
        "2001:db8:0:1::1",
        "2001:db8:0:1::2",
        "2001:db8:0:1:ffff::3",
        "2001:db8:0:2::1",
    ] {
        statuses.push(login(&server, address, "a wrong password", address).await);
    }
    assert_eq!(statuses, [401, 401, 429, 401]);
    Person::register(&server.url(), "alice").await;
    let body = json!({ "handle": "bob", "email": "bob@example.org",
        "password": "correct horse bob", "display_name": "Bob" });
    let register = Client::new()
        .post(format!("{}/v1/users", server.url()))
        .json(&body);
    let refused = register.send().await.expect("an answer");
    assert_eq!(refused.status(), 429);
    let policy = text(refused.headers(), "ratelimit-policy").to_owned();
    assert_eq!(policy, "\"registration-address\";q=1;w=3600");
}

/// Where olga's newest login came from, as it is on the record.
async fn recorded_address(
    server: &ServerProcess,
    olga: &Person,
    headers: &[(&str, &str)],
) -> String {
    let mut request = Client::new()
        .post(format!("{}/v1/sessions", server.url()))
        .json(&json!({ "login": "olga", "password": "correct horse olga" }));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let session: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let session = session["session"].as_str().expect("a session");
    let events = olga.replays("/v1/audit/events?type=session-opened").await;
    let opened = events
        .iter()
        .find(|event| event["stream"] == format!("session-{session}"))
        .expect("it is in the log");
    let address = &opened["data"]["address"]["value"];
    address.as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn what_somebody_says_about_their_address_is_believed_of_proxies_only() {
    let said = [("x-forwarded-for", "203.0.113.9, 198.51.100.7")];
    let (server, olga) = owned_server_with(&[]).await;
    assert_eq!(recorded_address(&server, &olga, &said).await, "127.0.0.1");
    let (server, olga) = owned_server_with(&["--trusted-proxies=127.0.0.1,10.0.0.0/8"]).await;
    assert_eq!(recorded_address(&server, &olga, &[]).await, "127.0.0.1");
    assert_eq!(
        recorded_address(&server, &olga, &said).await,
        "198.51.100.7"
    );
    let through_two = [("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.1.1.1")];
    assert_eq!(
        recorded_address(&server, &olga, &through_two).await,
        "198.51.100.7"
    );
    let standard = [("forwarded", "for=203.0.113.9, for=\"[2001:db8::1]:4711\"")];
    assert_eq!(
        recorded_address(&server, &olga, &standard).await,
        "2001:db8::1"
    );
}
