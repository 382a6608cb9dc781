//! `verbatim serve`: the roles of one process, from opening the data folder to the last goodbye.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use command_api::import::slack::SlackDoor;
use command_api::owner;
use futures::future::select_all;
use gateway::{Gateway, Limits as GatewayLimits, Parts as GatewayParts};
use infra::auth::Guard;
use infra::blobs::BlobLinks;
use metrics_exporter_prometheus::PrometheusHandle;
use query_api::QueryApi;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::CliResult;
use crate::event_store_door::OpenDoor;
use crate::http::Front;
use crate::leading::{Work, WorkError};
use crate::listener::Listener;
use crate::memberships::ReadModelMemberships;
use crate::node::Node;
use crate::role::Role;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::tls::Certificates;
use crate::{http, owner_code, telemetry};

/// How long requests that are under way may still take when the server stops.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(10);

/// How often histograms are folded, so that they do not grow while nobody reads `/metrics`.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The body of the first command to try: an account.
const TRY: &str = r#"{"handle":"me","email":"me@example.org","display_name":"Me","password":"correct horse battery"}"#;

/// A node with its doors. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) node: Arc<Node>,
    pub(crate) query_api: QueryApi,
    /// Where the process has one.
    pub(crate) gateway: Option<Arc<Gateway>>,
    pub(crate) slack: SlackDoor,
    pub(crate) front: Arc<Front>,
    pub(crate) metrics: PrometheusHandle,
}

impl Server {
    /// Puts the doors of its role on `node`.
    pub(crate) async fn new(node: Arc<Node>, settings: &Settings) -> CliResult<Self> {
        let metrics = telemetry::start_metrics()?;
        let front = Arc::new(Front::new(&settings.edge));
        let query_api = QueryApi {
            database: node.engines.database.clone(),
            store: node.store(),
            guard: Arc::clone(&node.guard),
            push_key: Arc::clone(&node.push_key),
            clock: node.clock.clone(),
            blobs: node.engines.blobs.clone(),
            links: BlobLinks::new(&node.engines.secret),
        };
        let gateway = if node.role.does(Role::Gateway) {
            let database = node.engines.database.clone();
            let parts = GatewayParts {
                store: node.store(),
                live: node.engines.live().await?,
                signals: node.engines.signals().await?,
                memberships: Arc::new(ReadModelMemberships::new(database)),
                door: Arc::new(node.command_api.clone()),
                guard: Arc::clone(&node.guard),
                clock: node.clock.clone(),
                limits: gateway_limits(settings),
                user_pace: front.limiters.commands_of_users(),
            };
            Some(Gateway::start(parts, &node.engines.secret))
        } else {
            None
        };
        let slack = SlackDoor::new(
            node.command_api.clone(),
            Arc::clone(&node.guard),
            node.engines.imports(),
            u64::from(settings.import_mib_max) * 1024 * 1024,
        );
        Ok(Self {
            node,
            query_api,
            gateway,
            slack,
            front,
            metrics,
        })
    }
}

fn gateway_limits(settings: &Settings) -> GatewayLimits {
    GatewayLimits {
        sessions_per_user_max: settings.connections_per_user_max,
        frames_per_second_max: settings.commands_per_second_max,
        heartbeat_every: Duration::from_millis(settings.heartbeat_ms.into()),
        drain_within: Duration::from_secs(settings.drain_seconds.into()),
        ..GatewayLimits::default()
    }
}

impl FromRef<Server> for Arc<Guard> {
    fn from_ref(server: &Server) -> Self {
        Self::clone(&server.node.guard)
    }
}

/// Serves until the process is asked to end (SIGINT or SIGTERM).
pub(crate) async fn serve(settings: Settings) -> CliResult {
    let certificates = Certificates::open(&settings.edge).await?;
    let node = Node::open(&settings).await?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with --listen",
            settings.listen
        )
    })?;
    let server = Server::new(Arc::new(node), &settings).await?;
    let event_store_door = OpenDoor::open(&server.node, &settings).await?;
    let mut working = Working::start(&server.node)?;
    let asked = Asked::listen()?;
    let url = url_of(&listener, certificates.as_deref())?;
    announce(&server, &url, event_store_door.as_ref()).await?;

    let stop_listening = CancellationToken::new();
    let edge = &settings.edge;
    let serving = Listener {
        router: http::router(&server)?,
        slots: Slots::new(
            edge.connections_max,
            edge.connections_per_address_max,
            Arc::clone(&server.front.proxies),
        ),
        certificates: certificates.clone(),
        head_max: Duration::from_secs(edge.head_seconds_max.into()),
    };
    let serving = tokio::spawn(serving.serve(listener, stop_listening.clone()));
    let upkeep = tokio::spawn(upkeep(server.metrics.clone(), certificates));
    let ended = tokio::select! {
        () = asked.first() => Ok(()),
        error = working.ended() => Err(error.into()),
        () = failed(server.gateway.as_deref()) => {
            Err("the gateway stopped following the log; the panic before this says why".into())
        }
    };

    tracing::info!("stopping: clients are told to come back");
    server.node.stop();
    if let Some(door) = event_store_door {
        door.close().await;
    }
    let stayed = match &server.gateway {
        Some(gateway) => gateway.drain().await,
        None => 0,
    };
    if stayed > 0 {
        tracing::warn!(
            connections = stayed,
            "connections did not end in time and are cut"
        );
    }
    stop_listening.cancel();
    if let Ok(ended) = tokio::time::timeout(REQUESTS_END_WITHIN, serving).await {
        ended?;
    } else {
        tracing::warn!("requests did not end in time and are cut");
    }
    upkeep.abort();
    if ended.is_ok() {
        working.stop().await?;
    }
    // The gateway stops following the log when nobody holds it any more.
    let node = Arc::clone(&server.node);
    drop(server);
    node.close().await;
    tracing::info!("stopped");
    ended
}

/// What the process does in the background.
struct Working(Vec<Work>);

impl Working {
    /// Starts what is of the process's role.
    fn start(node: &Node) -> CliResult<Self> {
        let mut all = Vec::new();
        if node.role.does(Role::Projector) {
            all.push(node.start_projecting());
            all.extend(node.start_relaying());
            all.push(node.start_mailing());
            all.extend(node.start_collecting());
            all.push(node.start_pushing()?);
            all.push(node.start_following());
        }
        Ok(Self(all))
    }

    /// Waits until one of them ends by itself, which it does only when it must not go on.
    async fn ended(&mut self) -> WorkError {
        loop {
            if self.0.is_empty() {
                return std::future::pending().await;
            }
            let (ended, which, _) =
                select_all(self.0.iter_mut().map(|it| Box::pin(it.ended()))).await;
            self.0.remove(which);
            if let Err(error) = ended {
                return error;
            }
        }
    }

    /// Finishes what was begun and ends them.
    async fn stop(self) -> Result<(), WorkError> {
        for work in self.0 {
            work.stop().await?;
        }
        Ok(())
    }
}

/// Waits until the gateway can serve nobody any more; for ever where there is none.
async fn failed(gateway: Option<&Gateway>) {
    match gateway {
        Some(gateway) => gateway.failed().await,
        None => std::future::pending().await,
    }
}

/// The signals that ask the process to end.
struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    /// From now on the signals come here instead of ending the process.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the first signal. The second ends the process at once.
    async fn first(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            // Everything acknowledged is on disk, whenever this is.
            std::process::exit(130);
        });
    }
}

/// Folds metrics, and reads certificates again where there are any.
async fn upkeep(metrics: PrometheusHandle, certificates: Option<Arc<Certificates>>) {
    let fold = async {
        let mut turns = tokio::time::interval(METRICS_UPKEEP_EVERY);
        loop {
            turns.tick().await;
            metrics.run_upkeep();
        }
    };
    let keep_fresh = async {
        if let Some(certificates) = certificates {
            certificates.keep_fresh().await;
        }
    };
    tokio::join!(fold, keep_fresh);
}

/// How clients on this machine name the server.
fn url_of(listener: &TcpListener, certificates: Option<&Certificates>) -> std::io::Result<String> {
    let scheme = if certificates.is_some() {
        "https"
    } else {
        "http"
    };
    Ok(format!("{scheme}://{}", listener.local_addr()?))
}

/// Says on standard output where everything is and what to try first.
async fn announce(server: &Server, url: &str, event_store_door: Option<&OpenDoor>) -> CliResult {
    let role = server.node.role;
    let folder = server.node.engines.folder();
    let code_file = folder.map(|folder| folder.join("owner-code"));
    let code = if role.does(Role::CommandApi) {
        let claimed = owner::is_claimed(&*server.node.store()).await?;
        (!claimed).then(|| server.node.owner_code.clone())
    } else {
        None
    };
    if let Some(file) = &code_file {
        keep_code_file(file.clone(), code.clone()).await?;
    }

    let mut out = std::io::stdout().lock();
    writeln!(out, "Verbatim {} is ready.\n", env!("CARGO_PKG_VERSION"))?;
    if role != Role::All {
        writeln!(out, "  role         {}", role.as_str())?;
    }
    if let Some(folder) = folder {
        writeln!(out, "  data folder  {}", folder.display())?;
    }
    writeln!(out, "  API docs     {url}/docs")?;
    if let Some(door) = event_store_door {
        writeln!(out, "  event store  {}", door.url)?;
    }
    // Without an owner nobody has tried anything yet.
    let is_new = code.is_some();
    if let Some(code) = code {
        let also =
            code_file.map_or_else(String::new, |file| format!("; also in {}", file.display()));
        writeln!(out, "  owner code   {code}   (for POST /v1/owner{also})")?;
    }
    writeln!(out, "  address      {url}\n")?;
    if role == Role::All && is_new {
        writeln!(out, "Try it (the README has a five-minute tour):\n")?;
        writeln!(
            out,
            "  curl -sS {url}/v1/users -H 'content-type: application/json' -d \\\n    '{TRY}'\n"
        )?;
    }
    out.flush()?;
    Ok(())
}

async fn keep_code_file(file: PathBuf, code: Option<String>) -> CliResult {
    tokio::task::spawn_blocking(move || match code {
        Some(code) => owner_code::write(&file, &code),
        None => owner_code::remove(&file),
    })
    .await??;
    Ok(())
}
