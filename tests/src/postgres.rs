//! A private PostgreSQL that keeps its promises (fsync is on): started, stopped, killed. Also included
//! by the tests of `infra`, so it knows nothing but processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::nats::free_port;

/// Where PostgreSQL's programs are; `cargo xtask test` sets it.
const PROGRAMS: &str = "VERBATIM_TEST_POSTGRES_PROGRAMS";

/// How long a server may take until it is ready, also where it recovers from a crash.
const START_MAX: Duration = Duration::from_mins(1);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A running server with a folder of its own. Killed when dropped.
pub struct PostgresServer {
    process: Option<Child>,
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl PostgresServer {
    /// Makes a database folder and starts a server on a free port.
    pub async fn start() -> Self {
        let programs = std::env::var(PROGRAMS).expect("run the tests with `cargo xtask test`");
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root().await {
            succeed(Command::new("chown").arg("postgres").arg(folder.path())).await;
        }
        let mut server = Self {
            process: None,
            programs: programs.into(),
            folder,
            port: free_port(),
        };
        let mut initdb = server.command("initdb").await;
        initdb
            .args(["--auth=trust", "--username=verbatim", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(server.data());
        succeed(&mut initdb).await;
        server.start_again().await;
        server
    }

    /// Starts it again on the same port, and again if it ends: right after a crash it refuses to start
    /// while the last of its processes is dying.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let said = self.folder.path().join("said");
        let started = async {
            loop {
                let mut process = self.spawn(&said).await;
                tokio::select! {
                    _ = process.wait() => tokio::time::sleep(TRY_EVERY).await,
                    () = self.answers() => break process,
                }
            }
        };
        let started = tokio::time::timeout(START_MAX, started).await;
        self.process = Some(started.unwrap_or_else(|_| {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            panic!("postgres is not ready; it said:\n{said}")
        }));
    }

    async fn spawn(&self, said: &Path) -> Child {
        let mut postgres = self.command("postgres").await;
        let port = self.port.to_string();
        postgres.arg("-D").arg(self.data());
        postgres.arg("-k").arg(self.folder.path());
        postgres.args(["-h", "127.0.0.1", "-p", &port, "-c", "max_connections=300"]);
        let mut options = std::fs::OpenOptions::new();
        let said = options.create(true).append(true).open(said);
        postgres.stderr(said.expect("a file for what it says"));
        postgres.spawn().expect("postgres starts")
    }

    async fn answers(&self) {
        let mut ready = self.command("pg_isready").await;
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        while !ready.status().await.is_ok_and(|status| status.success()) {
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Its database `postgres`.
    pub fn url(&self) -> String {
        Self::url_at(&self.address(), "postgres")
    }

    /// A database of a server that is reached at `address`.
    pub fn url_at(address: &str, database: &str) -> String {
        format!("postgres://verbatim@{address}/{database}")
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes another database.
    pub async fn make_database(&self, name: &str) {
        let mut createdb = self.command("createdb").await;
        let port = self.port.to_string();
        createdb.args(["-h", "127.0.0.1", "-U", "verbatim", "-p", &port, name]);
        succeed(&mut createdb).await;
    }

    /// Ends it as its operator would, cutting every connection.
    pub async fn stop(&mut self) {
        self.end("-INT").await;
    }

    /// Ends it at once; everything else is left to its next start.
    pub async fn abort(&mut self) {
        self.end("-QUIT").await;
    }

    async fn end(&mut self, signal: &str) {
        let mut process = self.process.take().expect("it is running");
        let id = process.id().expect("it is running").to_string();
        succeed(Command::new("kill").args([signal, &id])).await;
        process.wait().await.expect("it ends");
    }

    /// SIGKILL to all its processes: what was not synced to disk is lost to it.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        let id = process.id().expect("it is running").to_string();
        // It must not start others in place of the children that die first.
        succeed(Command::new("kill").args(["-STOP", &id])).await;
        let children = Command::new("pkill").args(["-KILL", "-P", &id]).status();
        children.await.expect("pkill runs");
        process.kill().await.expect("it can be killed");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL, which refuses to run as root.
    async fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root().await {
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--clear-groups",
                    "--",
                ])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .current_dir(Path::new("/"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await;
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

async fn succeed(command: &mut Command) {
    let status = command.status().await.expect("it runs");
    assert!(status.success(), "{command:?}: {status}");
}
