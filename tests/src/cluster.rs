//! A cluster: PostgreSQL, NATS, two processes of each role, and nginx before them with the file that
//! `deploy/` has for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::nats::{NatsServer, free_port};
use crate::postgres::PostgresServer;
use crate::process::{ServerProcess, without_limits};

/// How long a process may take until it is ready.
const START_MAX: Duration = Duration::from_mins(1);

/// How often it is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(25);

/// The roles of a cluster.
pub const ROLES: [&str; 4] = ["command-api", "projector", "query-api", "gateway"];

/// What services say at the door.
const SERVICE_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Processes of each role.
const EACH: usize = 2;

/// A running cluster. Killed when dropped.
pub struct Cluster {
    /// What keeps events and read models.
    pub postgres: PostgresServer,
    /// What passes them on: one server, or three that know each other.
    pub nats: Vec<NatsServer>,
    /// Two of each role, in the order of [`ROLES`].
    pub nodes: Vec<ClusterNode>,
    /// The other server, where the event store is its.
    event_store: Option<ServerProcess>,
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
    arguments: Vec<String>,
}

/// How a cluster is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Three NATS servers instead of one.
    pub three_nats: bool,
    /// The event store is that of another server, reached over KurrentDB's protocol, instead of
    /// PostgreSQL.
    pub event_store_door: bool,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    pub async fn start(program: &str, plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let nats = async {
            if plan.three_nats {
                NatsServer::start_three().await
            } else {
                vec![NatsServer::start().await]
            }
        };
        let (postgres, nats) = tokio::join!(PostgresServer::start(), nats);
        let config = folder.path().join("cluster.toml");
        let secret = folder.path().join("secret");
        let urls: Vec<String> = nats.iter().map(NatsServer::url).collect();
        let event_store = if plan.event_store_door {
            Some(start_event_store(program).await)
        } else {
            None
        };
        let log = event_store.as_ref().map_or_else(|| postgres.url(), log_of);
        let settings = format!(
            "event_store = '{log}'\ndatabase_url = '{}'\nnats_url = '{}'\nnats_replicas = {}\n\
             secret_file = '{}'\nlog = 'error'\nlog_format = 'text'\ndrain_seconds = 2\n\
             trusted_proxies = ['127.0.0.1']\nattachments_url = '{}'\n",
            postgres.url(),
            urls.join(","),
            nats.len(),
            secret.display(),
            folder.path().join("attachments").display()
        );
        std::fs::write(&config, settings).expect("the configuration can be written");
        let secret = secret.display().to_string();
        once(program, &config, &["new-secret", &secret]).await;
        once(program, &config, &["migrate"]).await;

        let mut nodes = Vec::new();
        for role in ROLES {
            for _ in 0..EACH {
                nodes.push(ClusterNode::new(program, &config, role, &[]));
            }
        }
        for node in &mut nodes {
            node.spawn();
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
            event_store,
            front,
            front_port,
            folder,
        }
    }

    /// Kills the server whose event store it is, and starts it again.
    pub async fn restart_event_store(&mut self) {
        let server = self.event_store.as_mut().expect("there is one");
        server.kill().await;
        server.start_again().await;
    }

    /// A further process of `role`, which is not running yet and which nginx does not know.
    pub fn extra(&self, program: &str, role: &'static str, arguments: &[String]) -> ClusterNode {
        let config = self.folder.path().join("cluster.toml");
        ClusterNode::new(program, &config, role, arguments)
    }

    /// The one address that clients use.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.front_port)
    }

    /// The processes of `role`.
    pub fn of_role(&mut self, role: &str) -> impl Iterator<Item = &mut ClusterNode> {
        self.nodes.iter_mut().filter(move |node| node.role == role)
    }

    /// Which of the NATS servers leads the JetStream stream `name`.
    pub async fn nats_leader(&self, name: &str) -> usize {
        let found = async {
            loop {
                for server in &self.nats {
                    if let Some(leader) = server.leader_of(name).await {
                        return leader;
                    }
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        tokio::time::timeout(START_MAX, found)
            .await
            .expect("the stream has a leader")
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

    fn new(program: &str, config: &Path, role: &'static str, arguments: &[String]) -> Self {
        Self {
            role,
            process: None,
            program: program.into(),
            config: config.to_owned(),
            port: free_port(),
            arguments: arguments.to_vec(),
        }
    }

    /// From its next start it is given these arguments, too.
    pub fn set_arguments(&mut self, arguments: &[String]) {
        self.arguments = arguments.to_vec();
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

    fn spawn(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let process = without_limits(&mut Command::new(&self.program))
            .arg("--config")
            .arg(&self.config)
            .args(["serve", "--role", self.role])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.arguments)
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

/// A server with a door for services, always on the same port.
async fn start_event_store(program: &str) -> ServerProcess {
    let door = format!("--eventstore-listen=127.0.0.1:{}", free_port());
    let token = format!("--eventstore-token={SERVICE_TOKEN}");
    ServerProcess::start_with(program, &[&door, &token]).await
}

/// How a service names the log of a server.
fn log_of(server: &ServerProcess) -> String {
    let door = server.event_store().expect("a door");
    door.replace("://", &format!("://service:{SERVICE_TOKEN}@"))
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
    let mut upstreams = String::new();
    for role in ROLES {
        let name = role.replace('-', "_");
        write!(upstreams, "upstream verbatim_{name} {{").expect("a string");
        for node in nodes.iter().filter(|node| node.role == role) {
            write!(upstreams, " server 127.0.0.1:{} max_fails=0;", node.port).expect("a string");
        }
        upstreams.push_str(" }\n");
    }
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
