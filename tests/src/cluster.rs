//! A cluster: PostgreSQL, NATS, two processes of each role, and nginx before them with the file that
//! `deploy/` has for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::nats::{NatsServer, free_port};
use crate::postgres::PostgresServer;

/// How long a process may take until it is ready.
const START_MAX: Duration = Duration::from_mins(1);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(25);

/// The roles of a cluster.
pub const ROLES: [&str; 4] = ["command-api", "projector", "query-api", "gateway"];

/// Processes of each role.
const EACH: usize = 2;

/// A running cluster. Killed when dropped.
pub struct Cluster {
    /// What keeps events and read models.
    pub postgres: PostgresServer,
    /// What passes them on.
    pub nats: NatsServer,
    /// Two of each role, in the order of [`ROLES`].
    pub nodes: Vec<ClusterNode>,
    front: Child,
    front_port: u16,
    folder: TempDir,
}

/// One process of a cluster, always on the same port.
pub struct ClusterNode {
    /// What it does.
    pub role: &'static str,
    process: Option<Child>,
    program: PathBuf,
    config: PathBuf,
    port: u16,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    pub async fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (postgres, nats) =
            tokio::join!(PostgresServer::start(free_port()), NatsServer::start());
        let config = folder.path().join("cluster.toml");
        let secret = folder.path().join("secret");
        let settings = format!(
            "event_store = '{0}'\ndatabase_url = '{0}'\nnats_url = '{1}'\nsecret_file = '{2}'\n\
             log = 'warn'\nlog_format = 'text'\ndrain_seconds = 2\n",
            postgres.url(),
            nats.url(),
            secret.display()
        );
        std::fs::write(&config, settings).expect("the configuration can be written");
        let secret = secret.display().to_string();
        once(program, &config, &["new-secret", &secret]).await;
        once(program, &config, &["migrate"]).await;

        let mut nodes = Vec::new();
        for role in ROLES {
            for _ in 0..EACH {
                let mut node = ClusterNode {
                    role,
                    process: None,
                    program: program.into(),
                    config: config.clone(),
                    port: free_port(),
                };
                node.spawn();
                nodes.push(node);
            }
        }
        for node in &nodes {
            node.ready().await;
        }
        let front_port = free_port();
        let front = start_front(folder.path(), front_port, &nodes).await;
        Self {
            postgres,
            nats,
            nodes,
            front,
            front_port,
            folder,
        }
    }

    /// The one address that clients use.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.front_port)
    }

    /// The processes of `role`.
    pub fn of_role(&mut self, role: &str) -> impl Iterator<Item = &mut ClusterNode> {
        self.nodes.iter_mut().filter(move |node| node.role == role)
    }

    /// The code with which the first owner claims the server.
    pub async fn owner_code(&self, program: &str) -> String {
        let config = self.folder.path().join("cluster.toml");
        once(program, &config, &["owner-code"])
            .await
            .trim()
            .to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its workers end with it only where it is asked to end.
        if let Some(id) = self.front.id() {
            let asked = std::process::Command::new("kill")
                .args(["-QUIT", &id.to_string()])
                .status();
            drop(asked);
        }
    }
}

impl ClusterNode {
    /// Where it listens itself, behind nginx.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.kill().await.expect("it can be killed");
    }

    /// Starts it again and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    fn spawn(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let process = Command::new(&self.program)
            .arg("--config")
            .arg(&self.config)
            .args(["serve", "--role", self.role])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        self.process = Some(process);
    }

    async fn ready(&self) {
        let ready = format!("{}/health/ready", self.url());
        let answers = async {
            while !reqwest::get(&ready)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        tokio::time::timeout(START_MAX, answers)
            .await
            .unwrap_or_else(|_| panic!("the {} is not ready", self.role));
    }
}

/// Runs a command of the program to its end; gives what it prints.
async fn once(program: &str, config: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .await
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// nginx with the project's own file, and around it what differs from one installation to the next.
async fn start_front(folder: &Path, port: u16, nodes: &[ClusterNode]) -> Child {
    let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    let upstreams: String = ROLES
        .iter()
        .map(|role| {
            let servers: String = nodes
                .iter()
                .filter(|node| node.role == *role)
                .map(|node| format!("server 127.0.0.1:{} max_fails=0; ", node.port))
                .collect();
            format!(
                "upstream verbatim_{} {{ {servers} }}\n",
                role.replace('-', "_")
            )
        })
        .collect();
    let place = folder.display();
    let conf = format!(
        "daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n \
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n \
         {upstreams} include {};\n}}\n",
        deployed.display()
    );
    std::fs::write(folder.join("nginx.conf"), conf).expect("it can be written");
    let listen = format!("listen 127.0.0.1:{port};\n");
    std::fs::write(folder.join("listen.conf"), listen).expect("it can be written");
    let front = Command::new("nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-p")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts; `cargo xtask test` installs it");
    let answers = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(TRY_EVERY).await;
        }
    };
    tokio::time::timeout(START_MAX, answers)
        .await
        .expect("nginx is ready");
    front
}
