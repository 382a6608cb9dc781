//! A private PostgreSQL for the tests: its own folder, its own port on loopback, gone afterwards.
//! Uses the machine's PostgreSQL programs; installs Debian's package where they are missing and the
//! task runs as root.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, run, succeeds};

/// Environment variable that tells the tests where the server is.
pub(crate) const VARIABLE: &str = "VERBATIM_TEST_POSTGRES";

/// How long the server may take to answer after it was started.
const START_MAX: Duration = Duration::from_secs(30);

/// A running server. Stops when dropped.
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start() -> Outcome<Self> {
        let programs = programs()?;
        let folder = std::env::temp_dir().join(format!("verbatim-postgres-{}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&data)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let as_root = is_root();
        if as_root {
            run(Command::new("chown")
                .args(["-R", "postgres:postgres"])
                .arg(&folder))?;
        }
        let mut initdb = as_postgres(as_root, &programs.join("initdb"));
        initdb.args([
            "--auth=trust",
            "--username=verbatim",
            "--encoding=UTF8",
            "--no-sync",
        ]);
        initdb
            .args(["--locale=C.UTF-8", "-D"])
            .arg(&data)
            .stdout(Stdio::null());
        run(&mut initdb)?;

        let port = free_port()?;
        let mut postgres = as_postgres(as_root, &programs.join("postgres"));
        postgres.arg("-D").arg(&data).arg("-k").arg(&folder);
        postgres.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        postgres.args(["-c", "max_connections=200", "-c", "fsync=off"]);
        let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
        postgres
            .stdout(Stdio::null())
            .stderr(log)
            .stdin(Stdio::null());
        let process = postgres
            .spawn()
            .map_err(|error| format!("cannot start postgres: {error}"))?;
        let url = format!("postgres://verbatim@127.0.0.1:{port}/postgres");
        let mut server = Self {
            process,
            folder,
            url,
        };
        server.wait_until_ready(&programs, port)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, programs: &Path, port: u16) -> Outcome {
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            let mut ready = Command::new(programs.join("pg_isready"));
            if succeeds(ready.args(["-h", "127.0.0.1", "-p", &port.to_string()])) {
                return Ok(());
            }
            if self.process.try_wait().is_ok_and(|exit| exit.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut log = String::new();
        if let Ok(mut file) = fs::File::open(self.folder.join("log")) {
            // The log is an addition to the message; where it cannot be read the message stands.
            file.read_to_string(&mut log).unwrap_or_default();
        }
        Err(format!("PostgreSQL does not answer on port {port}\n{log}"))
    }

    /// Where it is; its user may create databases.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown, which also ends its helper processes.
        let pid = self.process.id().to_string();
        let asked = succeeds(Command::new("kill").args(["-INT", &pid]));
        let ended = asked && self.process.wait().is_ok();
        if !ended && let Err(error) = self.process.kill() {
            eprintln!("cannot stop PostgreSQL (process {pid}): {error}");
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// Runs a server until Enter is pressed, for work on single tests.
#[expect(clippy::print_stdout, reason = "the URL is the answer of this task")]
pub(crate) fn interactive() -> Outcome {
    let server = Server::start()?;
    println!("export {VARIABLE}={}", server.url());
    eprintln!("press Enter to stop it");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// The folder with `initdb` and `postgres`.
fn programs() -> Outcome<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    if may_install() {
        eprintln!("installing Debian's package postgresql for the tests");
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        run(Command::new("apt-get")
            .args([
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                "postgresql",
            ])
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
        if let Some(found) = installed() {
            return Ok(found);
        }
    }
    Err(
        "the tests need PostgreSQL's programs (initdb, postgres): install them with\n  \
         sudo apt-get install postgresql      (Debian, Ubuntu)\n  \
         brew install postgresql              (macOS)\n  \
         sudo dnf install postgresql-server   (Fedora)"
            .to_owned(),
    )
}

fn installed() -> Option<PathBuf> {
    let mut candidates = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        candidates.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    candidates.sort();
    candidates.reverse();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    candidates
        .into_iter()
        .find(|folder| folder.join("initdb").exists())
}

/// PostgreSQL refuses to run as root: there it runs as the user of Debian's package.
fn as_postgres(as_root: bool, program: &Path) -> Command {
    if !as_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command.current_dir("/");
    command
}

/// Whether this is Debian, or like it, and we are root.
pub(crate) fn may_install() -> bool {
    succeeds(Command::new("apt-get").arg("--version")) && is_root()
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn free_port() -> Outcome<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
