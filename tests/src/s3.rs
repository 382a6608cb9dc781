//! A private server that speaks the protocol of S3: Versity's gateway over a folder. Also included by the
//! tests of `infra`, so it knows nothing but processes.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a server may take until it is ready.
const START_MAX: Duration = Duration::from_secs(30);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Its one bucket.
const BUCKET: &str = "files";

/// A running server with a bucket. Killed when dropped.
pub struct S3Server {
    _process: Child,
    folder: TempDir,
    port: u16,
}

impl S3Server {
    /// Starts a server on `port`.
    pub async fn start(port: u16) -> Self {
        let program = std::env::var("VERBATIM_TEST_S3_SERVER").expect("run `cargo xtask test`");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let process = Command::new(program)
            .args(["--access", "key", "--secret", "a secret of tests"])
            .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let ready = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        let ready = tokio::time::timeout(START_MAX, ready).await;
        ready.expect("the server is ready");
        Self {
            _process: process,
            folder,
            port,
        }
    }

    /// What `attachments_url` takes.
    pub fn url(&self) -> String {
        let port = self.port;
        format!(
            "s3://key:a%20secret%20of%20tests@{BUCKET}/verbatim?endpoint=http://127.0.0.1:{port}&region=us-east-1"
        )
    }

    /// Where its bucket is.
    pub fn bucket(&self) -> std::path::PathBuf {
        self.folder.path().join(BUCKET)
    }
}
