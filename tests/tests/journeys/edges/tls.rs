//! TLS of the server's own, and certificates that change while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tests::{ServerProcess, exchange, run_on_folder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;

use crate::PROGRAM;

/// How long the server may take until it uses other certificates; it looks every ten seconds.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// Files with a certificate and its key, and the server that uses them.
struct Encrypted {
    server: ServerProcess,
    folder: tempfile::TempDir,
}

/// What a client got over TLS.
struct Got {
    said: String,
    certificate: CertificateDer<'static>,
    version: Option<ProtocolVersion>,
    protocol: Option<Vec<u8>>,
}

/// A fresh certificate and its key, in PEM.
fn fresh() -> (String, String) {
    let names = ["localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("a pair");
    (cert.pem(), signing_key.serialize_pem())
}

impl Encrypted {
    async fn start() -> (Self, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (certificate, key) = fresh();
        let (at, key_at) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&at, &certificate).expect("it can be written");
        std::fs::write(&key_at, key).expect("it can be written");
        let arguments = [
            format!("--tls-cert={}", at.display()),
            format!("--tls-key={}", key_at.display()),
        ];
        let arguments = [arguments[0].as_str(), arguments[1].as_str()];
        let server = ServerProcess::start_with(PROGRAM, &arguments).await;
        (Self { server, folder }, certificate)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self) -> String {
        self.server.url().replace("http://", "")
    }

    /// Replaces a file as careful operators do: at once.
    fn replace(&self, name: &str, content: &str) {
        std::fs::write(self.file("new"), content).expect("it can be written");
        std::fs::rename(self.file("new"), self.file(name)).expect("it can be replaced");
    }

    async fn hang_up(&self) {
        let id = self.server.process_id().to_string();
        let asked = Command::new("kill").args(["-HUP", &id]).status().await;
        assert!(asked.expect("kill runs").success());
    }

    /// Asks for `path`, trusting `certificate` alone.
    async fn get(&self, path: &str, certificate: &str) -> std::io::Result<Got> {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        roots.add(trusted).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = TcpStream::connect(self.place()).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut connection = connector.connect(name, connection).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut said = Vec::new();
        connection.read_to_end(&mut said).await?;
        let (_, session) = connection.get_ref();
        let certificates = session.peer_certificates().expect("a certificate");
        Ok(Got {
            said: String::from_utf8_lossy(&said).into_owned(),
            certificate: certificates[0].clone().into_owned(),
            version: session.protocol_version(),
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        })
    }

    /// Waits until a metric has a line that begins so.
    async fn until_metric(&self, line: &str, certificate: &str) {
        let counted = async {
            loop {
                let got = self.get("/metrics", certificate).await.expect("metrics");
                if got.said.contains(line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let counted = tokio::time::timeout(CHANGE_MAX, counted).await;
        counted.unwrap_or_else(|_| panic!("no metric says {line}"));
    }
}

#[tokio::test]
async fn clients_speak_tls_to_the_server_itself() {
    let (encrypted, certificate) = Encrypted::start().await;
    // Somebody who begins and never goes on keeps nobody else waiting.
    let silent = TcpStream::connect(encrypted.place())
        .await
        .expect("a connection");
    let got = encrypted
        .get("/health/live", &certificate)
        .await
        .expect("TLS");
    assert!(got.said.starts_with("HTTP/1.1 200"), "{}", got.said);
    let tls_only = "strict-transport-security: max-age=31536000";
    assert!(got.said.to_lowercase().contains(tls_only), "{}", got.said);
    assert_eq!(got.version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(got.protocol.as_deref(), Some(b"http/1.1".as_slice()));
    drop(silent);
    // Who speaks none is not answered in the clear.
    let plain = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let said = exchange(&encrypted.server.url(), plain.as_bytes()).await;
    assert!(!said.contains("HTTP"), "{said}");
    let (other, _) = fresh();
    assert!(encrypted.get("/health/live", &other).await.is_err());
}

/// `verbatim status` on `server`, with further arguments; gives what it prints, or what it says went wrong.
async fn status(server: &str, token: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(PROGRAM)
        .args(["--server", server, "--token", token])
        .args(arguments)
        .args(["status", "--json"])
        .output()
        .await
        .expect("the program runs");
    let said = if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(output.stderr)
    };
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    said.map(text).map_err(text)
}

#[tokio::test]
async fn the_command_line_speaks_tls_to_who_it_trusts() {
    let (mut encrypted, _) = Encrypted::start().await;
    encrypted.server.stop().await;
    let folder = encrypted.server.data_dir();
    let add = ["service", "add", "Board", "--scope", "analyst"];
    let token = run_on_folder(PROGRAM, &folder, &add).await;
    let token = token.trim();
    encrypted.server.start_again().await;
    let place = encrypted.place().replace("127.0.0.1", "localhost");
    let server = format!("https://{place}");
    let (own, other) = (encrypted.file("cert.pem"), encrypted.file("other.pem"));
    std::fs::write(&other, fresh().0).expect("it can be written");
    let (own, other) = (own.to_string_lossy(), other.to_string_lossy());

    let told = status(&server, token, &["--ca", &own]).await;
    let told: serde_json::Value = serde_json::from_str(&told.expect("a status")).expect("JSON");
    assert!(told["position"].is_u64(), "{told}");
    // Nobody on this machine knows who signed it, and another certificate is another server's.
    for trusted in [&[][..], &["--ca", &other]] {
        let refused = status(&server, token, trusted).await.expect_err("no trust");
        assert!(refused.contains("cannot reach"), "{refused}");
        assert!(refused.contains("certificate"), "{refused}");
    }
    let key = encrypted.file("key.pem");
    for (ca, why) in [
        (key.to_string_lossy(), "has no certificate in PEM"),
        ("missing.pem".into(), "cannot read missing.pem"),
    ] {
        let refused = status(&server, token, &["--ca", &ca]).await;
        let refused = refused.expect_err("no certificate");
        assert!(refused.contains(why), "{refused}");
    }
    let plain = format!("http://{place}");
    let refused = status(&plain, token, &["--ca", &own]).await;
    let refused = refused.expect_err("no TLS");
    assert!(refused.contains("https only"), "{refused}");
}

#[tokio::test]
async fn new_certificates_are_used_at_once_and_broken_ones_never() {
    let (encrypted, first) = Encrypted::start().await;
    let before = encrypted.get("/health/live", &first).await.expect("TLS");

    encrypted.replace("cert.pem", "no certificate at all");
    encrypted.hang_up().await;
    let refused = "verbatim_tls_reloads_total{outcome=\"refused\"} 1";
    encrypted.until_metric(refused, &first).await;
    // A certificate whose key has not come yet is no better.
    let (second, key) = fresh();
    encrypted.replace("cert.pem", &second);
    encrypted.hang_up().await;
    let refused = "verbatim_tls_reloads_total{outcome=\"refused\"} 2";
    encrypted.until_metric(refused, &first).await;
    let still = encrypted.get("/health/live", &first).await.expect("TLS");
    assert_eq!(still.certificate, before.certificate);

    encrypted.replace("key.pem", &key);
    encrypted.hang_up().await;
    let changed = async {
        loop {
            if let Ok(got) = encrypted.get("/health/live", &second).await {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let changed = tokio::time::timeout(CHANGE_MAX, changed).await;
    let after = changed.expect("the new certificate is used");
    assert_ne!(after.certificate, before.certificate);
}

#[tokio::test]
async fn changed_files_are_noticed_without_being_told() {
    let (encrypted, first) = Encrypted::start().await;
    encrypted.get("/health/live", &first).await.expect("TLS");
    let (second, key) = fresh();
    encrypted.replace("key.pem", &key);
    encrypted.replace("cert.pem", &second);
    let used = "verbatim_tls_reloads_total{outcome=\"used\"}";
    let changed = async {
        while encrypted.get("/health/live", &second).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let changed = tokio::time::timeout(CHANGE_MAX, changed).await;
    changed.expect("the new certificate is used");
    encrypted.until_metric(used, &second).await;
}

#[tokio::test]
async fn a_server_does_not_start_without_the_certificates_it_was_given() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--listen", "127.0.0.1:0"])
        .args(["--tls-cert=missing.pem", "--tls-key=missing.pem"])
        .output()
        .await
        .expect("the program runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("missing.pem"), "{said}");
}
