//! What the one who runs the server sees.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person, ServerProcess, run_on_folder};

use crate::site::Site;
use crate::{PROGRAM, owned_server};

#[tokio::test]
async fn health_metrics_status_and_documents_are_served() {
    let (server, olga) = owned_server().await;
    let conversation = olga.starts_group("Team", &[]).await;
    olga.says(&conversation, "hi").await;
    let (_listener, _) = Listener::live(&olga).await;
    assert_eq!(olga.get("/health/live").await.status, 200);
    assert_eq!(olga.get("/health/ready").await.status, 200);
    let metrics = olga.text("/metrics").await;
    assert!(
        metrics.contains("verbatim_http_requests_total"),
        "{metrics}"
    );
    let status = olga.get("/v1/status").await.ok();
    assert!(status["position"].as_u64() > Some(0), "{status}");
    assert_eq!(status["connections"], 1, "{status}");
    let projections = status["projections"].as_array().expect("a list");
    assert!(!projections.is_empty(), "{status}");
    for projection in projections {
        assert_eq!(projection["state"], "live", "{status}");
    }
    let api = olga.get("/openapi.json").await.ok();
    assert!(api["paths"]["/v1/conversations"].is_object());
    assert!(olga.text("/docs").await.contains("<html"));
    let bob = Person::register(&server.url(), "bob").await;
    bob.get("/v1/status").await.problem(403, "forbidden");
}

pub(crate) async fn a_read_model_is_rebuilt_on_demand_while_it_is_read(site: &Site) {
    let olga = &site.owner;
    let conversation = olga.starts_group("Team", &[]).await;
    for number in 0..50 {
        olga.says(&conversation, &format!("{number}")).await;
    }
    let progress = olga
        .ask(Method::POST, "/v1/read-models/nonsense/rebuild", None, &[])
        .await;
    progress.problem(404, "read_model_not_found");
    // Several times: in a cluster it meets the one that does it and the one that stands by.
    for _ in 0..3 {
        let done = olga
            .ask(Method::POST, "/v1/read-models/messages/rebuild", None, &[])
            .await;
        assert_eq!(done.status, 200, "{}", done.body);
    }
    let page = olga
        .get(&format!(
            "/v1/conversations/{conversation}/messages?limit=100"
        ))
        .await
        .ok();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(50));
}

#[tokio::test]
async fn a_stopping_server_tells_its_clients_to_come_back() {
    let (mut server, olga) = owned_server().await;
    let (mut listener, _) = Listener::live(&olga).await;
    let (stopped, reconnect) = tokio::join!(server.stop(), listener.wait_for("reconnect"));
    assert_eq!(stopped, ());
    assert!(reconnect["after_ms"].is_u64(), "{reconnect}");
    assert_eq!(listener.try_next().await, None);
}

#[tokio::test]
async fn a_data_folder_is_used_by_one_process() {
    let server = ServerProcess::start(PROGRAM).await;
    let second = tokio::process::Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(server.data_dir())
        .arg("status")
        .output()
        .await
        .expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains("in use") && said.contains("--server"),
        "{said}"
    );
}

#[tokio::test]
async fn a_log_is_opened_with_its_secret_only() {
    let mut server = ServerProcess::start(PROGRAM).await;
    Person::register(&server.url(), "bob").await;
    server.stop().await;
    let secret = server.data_dir().join("keys/secret");
    let kept = std::fs::read(&secret).expect("a secret");
    std::fs::remove_file(&secret).expect("it can be removed");
    let refused = tokio::process::Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(server.data_dir())
        .output()
        .await
        .expect("it runs");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("keys/secret: it is missing"), "{said}");

    let another: Vec<u8> = kept.iter().rev().copied().collect();
    std::fs::write(&secret, another).expect("it can be replaced");
    let refused = tokio::process::Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(server.data_dir())
        .output()
        .await
        .expect("it runs");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("not the one that the log was written with"),
        "{said}"
    );
    std::fs::write(&secret, kept).expect("it can be put back");
    server.start_again().await;
}

#[test]
fn a_secret_is_made_beside_other_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let open_to_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open_to_all).expect("a mode");
    let made = std::process::Command::new(PROGRAM)
        .args(["new-secret", "secret"])
        .current_dir(folder.path())
        .status()
        .expect("the program runs");
    assert!(made.success());
    let secret = std::fs::read(folder.path().join("secret")).expect("a secret");
    assert_eq!(secret.len(), 32);
    let folder = std::fs::metadata(folder.path()).expect("the folder");
    assert_eq!(folder.permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn the_operator_works_on_a_folder_that_no_server_holds() {
    let (mut server, olga) = owned_server().await;
    let conversation = olga.starts_group("Team", &[]).await;
    olga.says(&conversation, "for the record").await;
    server.stop().await;
    let folder = server.data_dir();
    let replayed = run_on_folder(PROGRAM, &folder, &["replay", "--type", "message-sent"]).await;
    let lines: Vec<Value> = replayed
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 1, "{replayed}");
    assert_eq!(lines[0]["data"]["body"]["value"], "for the record");
    let record = run_on_folder(PROGRAM, &folder, &["replay", "--type", "log-replayed"]).await;
    assert!(
        record
            .lines()
            .any(|line| line.contains(r#""actor":"operator""#)),
        "{record}"
    );
    let status = run_on_folder(PROGRAM, &folder, &["status"]).await;
    assert!(status.contains("messages"), "{status}");
    run_on_folder(PROGRAM, &folder, &["rebuild", "messages"]).await;
    run_on_folder(PROGRAM, &folder, &["role", "grant", "admin", "olga"]).await;
    let checked = run_on_folder(PROGRAM, &folder, &["config", "check"]).await;
    assert!(checked.contains("session_hours = 720"), "{checked}");
}

#[tokio::test]
async fn the_command_line_works_on_a_running_server() {
    let (server, olga) = owned_server().await;
    let bob = Person::register(&server.url(), "bob").await;
    let on_server = async |arguments: &[&str]| {
        let output = tokio::process::Command::new(PROGRAM)
            .args(["--server", &server.url(), "--token", &olga.token])
            .args(arguments)
            .output()
            .await
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    on_server(&["role", "grant", "auditor", "bob"]).await;
    bob.get("/v1/audit/events").await;
    let audit = bob.text("/v1/audit/events?type=system-role-granted").await;
    assert_eq!(
        audit.lines().count(),
        3,
        "owner, auditor and bob's: {audit}"
    );
    let status = on_server(&["status"]).await;
    assert!(status.contains("conversations"), "{status}");
    let replayed = on_server(&["replay", "--type", "user-registered"]).await;
    assert_eq!(replayed.lines().count(), 2, "{replayed}");
    let token = on_server(&["service", "add", "Board", "--scope", "analyst"]).await;
    let mut board = bob.clone();
    token.trim().clone_into(&mut board.token);
    board.get("/v1/status").await.ok();
    // The list is read from a read model, which is there a moment later.
    let listed = async {
        loop {
            let listed = on_server(&["service", "list"]).await;
            if listed.contains("Board") {
                return listed;
            }
        }
    };
    let listed = tokio::time::timeout(Duration::from_secs(10), listed).await;
    let listed = listed.expect("it is listed");
    assert!(listed.contains("analyst"), "{listed}");
    let id = listed.split(' ').next().expect("an id");
    let token = on_server(&["service", "rotate", id]).await;
    token.trim().clone_into(&mut board.token);
    board.get("/v1/status").await.ok();
    on_server(&["service", "revoke", id]).await;
    board.get("/v1/status").await.problem(401, "token_invalid");
    on_server(&["rebuild", "users"]).await;
    let me = bob.get("/v1/users/me").await.ok();
    assert_eq!(me["system_roles"], json!(["auditor"]));
}
