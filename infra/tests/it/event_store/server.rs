//! A PostgreSQL of the test's own that syncs, and can be killed and started again. The programs are
//! those that `cargo xtask test` found.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// How long a server may take to start, with all that it recovers.
const START_MAX: Duration = Duration::from_mins(1);

/// How a server ends without a word to anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It stops at once and leaves everything to the next start.
    Immediate,
    /// The kernel takes the first process away; the others notice.
    Killed,
}

pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", "postgres:postgres"]).arg(folder.path());
            assert!(chown.status().unwrap().success());
        }
        let mut initdb = as_postgres("initdb");
        initdb.args(["--auth=trust", "--username=verbatim", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "-D"]).arg(&data);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let process = run(folder.path(), port);
        let mut server = Self {
            folder,
            port,
            process,
        };
        assert!(server.answers().await, "{}", server.log());
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://verbatim@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it; returns when the process is gone.
    pub(crate) fn end(&mut self, end: End) {
        match end {
            End::Immediate => {
                let pid = self.process.id().to_string();
                let asked = Command::new("kill").args(["-QUIT", &pid]).status();
                assert!(asked.unwrap().success());
            }
            End::Killed => self.process.kill().unwrap(),
        }
        self.process.wait().unwrap();
    }

    /// Starts it again on what is there; returns when it answers.
    pub(crate) async fn restart(&mut self) {
        let begun = Instant::now();
        loop {
            self.process = run(self.folder.path(), self.port);
            // Refused for as long as processes of the one before have its memory.
            if self.answers().await {
                return;
            }
            assert!(begun.elapsed() < START_MAX, "{}", self.log());
        }
    }

    /// Waits until it answers, or has ended instead.
    async fn answers(&mut self) -> bool {
        let begun = Instant::now();
        // Each look costs the server a process, which it needs for its recovery.
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while self.process.try_wait().unwrap().is_none() {
            looks.tick().await;
            let (url, length) = (self.url(), Duration::from_secs(1));
            let connected = tokio::time::timeout(length, PgConnection::connect(&url)).await;
            if matches!(connected, Ok(Ok(_))) {
                return true;
            }
            assert!(begun.elapsed() < START_MAX, "{}", self.log());
        }
        false
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(folder: &Path, port: u16) -> Child {
    let mut postgres = as_postgres("postgres");
    postgres.arg("-D").arg(folder.join("data"));
    postgres.arg("-k").arg(folder);
    postgres.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    postgres.args(["-c", "fsync=on"]);
    let mut log = File::options();
    let log = log.create(true).append(true).open(folder.join("log"));
    postgres.stdin(Stdio::null()).stdout(Stdio::null());
    postgres.stderr(log.unwrap()).spawn().unwrap()
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &str) -> Command {
    let programs = std::env::var("VERBATIM_TEST_POSTGRES_PROGRAMS")
        .expect("run the tests with `cargo xtask test`");
    let program = PathBuf::from(programs).join(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg("--").arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}
