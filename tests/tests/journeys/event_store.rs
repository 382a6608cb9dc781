//! Programs in other languages read, follow and append to the log with KurrentDB's official clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Person, ServerProcess};
use tokio::process::Command;

use crate::owned_server_with;

/// The secret of services.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Ann's password. One of these clients takes no escapes in connection strings.
const PASSWORD: &str = "correct-horse-battery";

/// How long a client may take for everything.
const CLIENT_MAX: Duration = Duration::from_mins(2);

/// A server with a door, with TLS, because these clients send credentials over nothing else; and a
/// conversation in its log.
struct Doored {
    server: ServerProcess,
    olga: Person,
    conversation: String,
    certificate: PathBuf,
    _folder: tempfile::TempDir,
}

impl Doored {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let (certificate, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&certificate, cert.pem()).expect("it can be written");
        std::fs::write(&key, signing_key.serialize_pem()).expect("it can be written");
        let (server, olga) = owned_server_with(&[
            "--eventstore-listen",
            "127.0.0.1:0",
            "--eventstore-token",
            TOKEN,
            "--eventstore-tls-cert",
            certificate.to_str().expect("UTF-8"),
            "--eventstore-tls-key",
            key.to_str().expect("UTF-8"),
        ])
        .await;
        let ann = json!({
            "handle": "ann",
            "email": "ann@example.org",
            "password": PASSWORD,
            "display_name": "Ann",
        });
        let ann = olga.post("/v1/users", ann).await.ok();
        let ann = ann["id"].as_str().expect("an id");
        let role = format!("/v1/users/{ann}/system-roles/auditor");
        olga.ask(Method::PUT, &role, None, &[]).await.ok();
        let bob = Person::register(&server.url(), "bob").await;
        let conversation = olga.starts_group("Team", &[&bob]).await;
        for number in 0..10 {
            bob.says(&conversation, &format!("message {number}")).await;
        }
        Self {
            server,
            olga,
            conversation,
            certificate,
            _folder: folder,
        }
    }

    /// A connection string for somebody.
    fn url(&self, login: &str, password: &str) -> String {
        let url = self.server.event_store().expect("a door");
        url.replace("://127.0.0.1", &format!("://{login}:{password}@localhost"))
            + &format!("&tlsCaFile={}", self.certificate.display())
    }

    /// Runs a client's script, as a service and as an auditor, to its good end.
    async fn serves(&self, program: &Path, script: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let client = Command::new(program)
            .arg(folder.join(script))
            .arg(self.url("service", TOKEN))
            .arg(self.url("ann", PASSWORD))
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(CLIENT_MAX, client).await;
        let output = ended.expect("it ends in time").expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{script}: {}\n{said}",
            output.status
        );
    }

    /// Nothing that a client did harms what people do, and it is all in the log.
    async fn is_well(&self, event_type: &str) {
        self.olga.says(&self.conversation, "still here").await;
        let status = self.olga.get("/v1/status").await.ok();
        let position = status["position"].as_u64().expect("a position");
        let page = format!(
            "/v1/conversations/{}/messages?min_position={position}",
            self.conversation
        );
        let page = self.olga.get(&page).await.ok();
        assert!(page.to_string().contains("still here"), "{page}");
        let status = self.olga.get("/v1/status").await.ok();
        for projection in status["projections"].as_array().expect("projections") {
            assert_eq!(projection["parked"], 0, "{status}");
        }
        let log = self.olga.text("/v1/audit/events").await;
        let lines = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        let theirs = lines.iter().filter(|line| line["type"] == event_type);
        assert_eq!(theirs.count(), 6);
        let readings = lines.iter().filter(|line| {
            line["type"] == "log-replayed" && !line["data"]["selection"]["stream"].is_null()
        });
        assert!(
            readings.count() > 0,
            "the auditor's reading is on the record"
        );
    }
}

/// What `cargo xtask test` says about where a client is.
fn told(variable: &str) -> PathBuf {
    let hint = "run the tests with `cargo xtask test`, which installs the clients";
    std::env::var_os(variable).expect(hint).into()
}

#[tokio::test]
async fn the_python_client_reads_follows_appends_and_resumes() {
    let doored = Doored::start().await;
    doored
        .serves(&told("VERBATIM_TEST_PYTHON"), "python/door.py")
        .await;
    doored.is_well("noted").await;
}

#[tokio::test]
async fn the_node_client_reads_follows_appends_and_resumes() {
    let doored = Doored::start().await;
    // The script finds the packages by the same variable.
    told("VERBATIM_TEST_NODE_CLIENTS");
    doored.serves(Path::new("node"), "node/door.mjs").await;
    doored.is_well("jotted").await;
}

#[tokio::test]
async fn a_server_with_a_door_stops_well_and_starts_again() {
    let mut doored = Doored::start().await;
    doored.server.stop().await;
    doored.server.start_again().await;
    assert!(doored.server.event_store().is_some());
}
