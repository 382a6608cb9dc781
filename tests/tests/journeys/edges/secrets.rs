//! What is secret is in no line that the server writes, however much it is told to write.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tests::{Inbox, Listener, Person, free_port, without_limits};
use tokio::process::Command;

use crate::PROGRAM;

/// How long the server may take until it is ready.
const START_MAX: Duration = Duration::from_mins(1);

#[tokio::test]
async fn nothing_secret_is_ever_written_down() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let url = format!("http://127.0.0.1:{}", free_port());
    let service_token = "a-service-token-of-at-least-32-characters";
    let mut server = without_limits(&mut Command::new(PROGRAM))
        .arg("--data-dir")
        .arg(&data)
        .args(["--listen", url.trim_start_matches("http://")])
        .args(["--eventstore-listen", "127.0.0.1:0", "--log", "trace"])
        .env("VERBATIM_EVENTSTORE_TOKEN", service_token)
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&err).expect("a file"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the server starts");
    let ready = async {
        while reqwest::get(format!("{url}/health/ready")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_MAX, ready)
        .await
        .expect("the server is ready");

    let mut alice = Person::register(&url, "alice").await;
    let code = std::fs::read_to_string(data.join("owner-code")).expect("a code");
    let code = code.trim().to_owned();
    let wrong_code = json!({ "code": "0000-0000-0000-0000" });
    assert!(
        !alice
            .post("/v1/owner", wrong_code)
            .await
            .status
            .is_success()
    );
    alice.post("/v1/owner", json!({ "code": code })).await.ok();
    secrets_are_refused(&alice, &url).await;
    let service = json!({ "name": "Board", "scopes": ["analyst"] });
    let service = alice.post("/v1/services", service).await.ok();
    let first_refresh = alice.refresh_token.clone();
    alice.refresh().await;
    let cookies = cookies_of_a_login(&url).await;
    assert_eq!(cookies.len(), 3, "access, refresh and CSRF");
    let inbox = Inbox::at(&data.join("mail"));
    let mailed = inbox
        .wait_for("alice@example.org", "Verify your address for Verbatim")
        .await
        .code();
    alice
        .post("/v1/users/me/verify-email", json!({ "code": mailed }))
        .await
        .ok();
    let (mut listener, _) = Listener::live(&alice).await;
    let group = alice.starts_group("Lunch", &[]).await;
    alice.says(&group, "Noodles?").await;
    listener.wait_for_event("message-sent").await;
    alice
        .ask(reqwest::Method::DELETE, "/v1/sessions/current", None, &[])
        .await
        .ok();
    alice
        .get("/v1/users/me")
        .await
        .problem(401, "session_ended");
    server.kill().await.expect("it can be killed");

    let read = |path| String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
    let secret = in_hex(&std::fs::read(data.join("keys/secret")).expect("a secret"));
    let signature = alice.token.rsplit('.').next().expect("a signature");
    let mut hidden: Vec<&str> = cookies.iter().map(String::as_str).collect();
    hidden.extend([
        service["token"].as_str().expect("a token"),
        &first_refresh,
        &alice.refresh_token,
        &mailed,
        "correct horse alice",
        "a password that is",
        "Noodles?",
        &alice.token,
        signature,
        service_token,
        &secret,
    ]);
    are_not_written_down(&hidden, &code, &read(&out), &read(&err));
}

/// Sends secrets that are refused, and where they do not belong.
async fn secrets_are_refused(alice: &Person, url: &str) {
    let wrong = json!({ "login": "alice", "password": "a password that is wrong" });
    alice
        .post("/v1/sessions", wrong)
        .await
        .problem(401, "wrong_login");
    // Bodies and addresses that cannot be taken are not told either.
    let broken = "{\"login\":\"alice\",\"password\":\"a password that is cut";
    let request = Client::new()
        .post(format!("{url}/v1/sessions"))
        .header("content-type", "application/json")
        .body(broken);
    let answer: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(answer["code"], "malformed_body");
    let misplaced = json!({ "login": ["a password that is misplaced"], "password": "x" });
    alice
        .post("/v1/sessions", misplaced)
        .await
        .problem(422, "invalid_body");
    let path = format!("/v1/users/me?token={}", alice.token);
    alice.get(&path).await.problem(400, "token_in_url");
}

/// What a login of alice's puts into cookies.
async fn cookies_of_a_login(url: &str) -> Vec<String> {
    let login = json!({
        "login": "alice", "password": "correct horse alice", "cookies": true,
    });
    let login = Client::new()
        .post(format!("{url}/v1/sessions"))
        .json(&login);
    let answer = login.send().await.expect("an answer");
    let cookies = answer.headers().get_all("set-cookie").iter();
    cookies
        .filter_map(|cookie| Some(cookie.to_str().ok()?.split_once('=')?.1))
        .filter_map(|value| Some(value.split_once(';')?.0.to_owned()))
        .collect()
}

fn in_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

/// Checks that nothing of `hidden` is in what the server said and logged, and the owner code once only.
fn are_not_written_down(hidden: &[&str], code: &str, said: &str, logged: &str) {
    assert!(logged.lines().count() > 100, "it wrote a lot: {logged}");
    assert_eq!(
        said.matches(code).count(),
        1,
        "the code is announced once: {said}"
    );
    for hidden in hidden {
        for written in [(*hidden).to_owned(), in_hex(hidden.as_bytes())] {
            let mut lines = logged.lines().chain(said.lines());
            let line = lines.find(|line| line.contains(&written));
            assert_eq!(line, None, "{hidden} is written down");
        }
    }
    let told = logged.lines().find(|line| line.contains(code));
    assert_eq!(told, None, "the owner code is written down");
}
