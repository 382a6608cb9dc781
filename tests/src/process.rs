//! A server as a process: started, killed, started again on the same data folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::nats::free_port;

/// How long a server may take until it is ready.
const START_MAX: Duration = Duration::from_mins(1);

/// How long a server may take to end after it was asked to.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Limits that people keep and tests do not.
const LIMITS: [&str; 9] = [
    "VERBATIM_LIMIT_COMMANDS_ADDRESS",
    "VERBATIM_LIMIT_COMMANDS_USER",
    "VERBATIM_LIMIT_READS_ADDRESS",
    "VERBATIM_LIMIT_READS_USER",
    "VERBATIM_LIMIT_LOGIN_ADDRESS",
    "VERBATIM_LIMIT_LOGIN_NAME",
    "VERBATIM_LIMIT_LOGIN_STRANGERS",
    "VERBATIM_LIMIT_CODE_ADDRESS",
    "VERBATIM_LIMIT_REGISTRATION_ADDRESS",
];

/// Turns all limits on requests off. In the environment, so that a journey that wants one gives a flag,
/// which wins.
pub fn without_limits(server: &mut Command) -> &mut Command {
    server.envs(LIMITS.map(|limit| (limit, "0")))
}

/// A running server with a data folder of its own. Killed when dropped.
pub struct ServerProcess {
    /// Before the folder, so that it is gone when that is removed.
    process: Option<Child>,
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    event_store: Option<String>,
}

impl ServerProcess {
    /// Starts `program` on an empty data folder.
    pub async fn start(program: &str) -> Self {
        Self::start_with(program, &[]).await
    }

    /// Starts `program` with further arguments.
    pub async fn start_with(program: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self {
            program: program.into(),
            folder,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            process: None,
            port: free_port(),
            event_store: None,
        };
        server.start_again().await;
        server
    }

    /// Starts it again after it was stopped or killed, on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let mut process = without_limits(&mut Command::new(&self.program))
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--log", "warn"])
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        self.event_store = None;
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("the server says something") {
                if let Some(url) = line.trim().strip_prefix("event store") {
                    self.event_store = Some(url.trim().to_owned());
                }
                if line.trim().starts_with("address") {
                    return;
                }
            }
            panic!("the server ended before it was ready")
        };
        tokio::time::timeout(START_MAX, ready)
            .await
            .expect("the server is ready");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it serves its log over KurrentDB's protocol, if it was told to: without credentials.
    pub fn event_store(&self) -> Option<&str> {
        self.event_store.as_deref()
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its process, for looking at it from outside.
    pub fn process_id(&self) -> u32 {
        self.process
            .as_ref()
            .and_then(Child::id)
            .expect("it is running")
    }

    /// Ends it as a power cut would: SIGKILL, nothing is flushed by us.
    pub async fn kill(&mut self) {
        self.process
            .take()
            .expect("it is running")
            .kill()
            .await
            .expect("it can be killed");
    }

    /// Asks it to end (SIGTERM) and waits until it has; it must end well.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().expect("it is running");
        let id = process.id().expect("it is running").to_string();
        let asked = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .expect("kill runs");
        assert!(asked.success(), "it can be signalled");
        let ended = tokio::time::timeout(STOP_MAX, process.wait()).await;
        let status = ended.expect("it ends in time").expect("it ends");
        assert!(status.success(), "it ends well: {status}");
    }
}

/// Runs a command of the program on a data folder that no server holds; gives standard output.
pub async fn run_on_folder(program: &str, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg("--data-dir")
        .arg(folder)
        .args(["--log", "warn"])
        .args(arguments)
        .output()
        .await
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
