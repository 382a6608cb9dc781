//! A private nats-server with JetStream: started, stopped, killed, wiped. Also included by the tests of
//! `infra`, so it knows nothing but processes.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a server may take until it is ready.
const START_MAX: Duration = Duration::from_secs(30);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// A running server with a storage folder of its own. Killed when dropped.
pub struct NatsServer {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl NatsServer {
    /// Starts a server on a free port.
    pub async fn start() -> Self {
        Self::start_with(free_port(), &[]).await
    }

    /// Starts a server on `port` with further arguments.
    pub async fn start_with(port: u16, arguments: &[String]) -> Self {
        let mut server = Self {
            process: None,
            folder: tempfile::tempdir().expect("a temporary folder"),
            port,
            arguments: arguments.to_vec(),
        };
        server.start_again().await;
        server
    }

    /// Starts it again on the same port, with what is left of its storage.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let process = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--jetstream")
            .arg("--store_dir")
            .arg(self.storage())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server starts; `cargo xtask test` installs it");
        self.process = Some(process);
        let answers = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        tokio::time::timeout(START_MAX, answers)
            .await
            .expect("nats-server is ready");
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.kill().await.expect("it can be killed");
    }

    /// Removes all that it stored. It must not be running.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "it is running");
        if self.storage().exists() {
            std::fs::remove_dir_all(self.storage()).expect("its storage can be removed");
        }
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
