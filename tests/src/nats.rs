//! A private nats-server with JetStream: started, stopped, killed, wiped. Also included by the tests of
//! `infra`, so it knows nothing but processes.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    monitor_port: u16,
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
            monitor_port: free_port(),
            arguments: arguments.to_vec(),
        };
        server.start_again().await;
        server
    }

    /// Starts three servers that know each other.
    pub async fn start_three() -> Vec<Self> {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let known: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let mut servers = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let arguments = [
                format!("--server_name=n{number}"),
                "--cluster_name=test".to_owned(),
                format!("--cluster=nats://127.0.0.1:{route}"),
                format!("--routes={}", known.join(",")),
            ];
            servers.push(Self::start_with(free_port(), &arguments).await);
        }
        servers
    }

    /// Starts it again on the same port, with what is left of its storage.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let process = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--http_port", &self.monitor_port.to_string()])
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
        format!("nats://{}", self.address())
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
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

    /// Which of the servers started together leads the JetStream stream `name`, if this one knows.
    pub async fn leader_of(&self, name: &str) -> Option<usize> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.monitor_port))
            .await
            .ok()?;
        let ask = b"GET /jsz?accounts=true&streams=true HTTP/1.0\r\n\r\n";
        connection.write_all(ask).await.ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let said: serde_json::Value = serde_json::from_str(body).ok()?;
        let accounts = said["account_details"].as_array()?.iter();
        let mut streams = accounts.filter_map(|account| account["stream_detail"].as_array());
        let stream = streams.find_map(|all| all.iter().find(|stream| stream["name"] == name))?;
        let leader = stream["cluster"]["leader"].as_str()?;
        leader.strip_prefix('n')?.parse().ok()
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }
}

/// A free port that this process gives once. The system gives none of these to whoever connects (Linux: those
/// from 32768), so that a server which is killed finds its own free when it is started again.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time are to begin apart.
    let begin = std::process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)))
        .filter_map(|number| u16::try_from(number % u32::from(COUNT)).ok())
        .map(|offset| FIRST + offset)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
