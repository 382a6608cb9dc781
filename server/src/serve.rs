//! `verbatim serve`: every role in one process, from opening the data folder to the last goodbye.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::serve::ListenerExt as _;
use command_api::import::slack::SlackDoor;
use command_api::owner;
use gateway::{Gateway, Limits as GatewayLimits, Parts as GatewayParts};
use infra::auth::Guard;
use metrics_exporter_prometheus::PrometheusHandle;
use query_api::QueryApi;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::CliResult;
use crate::event_store_door::OpenDoor;
use crate::memberships::ReadModelMemberships;
use crate::node::Node;
use crate::settings::Settings;
use crate::{http, owner_code, telemetry};

/// How long requests that are under way may still take when the server stops.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(10);

/// How long bytes may wait for a client that takes none; then its connection is cut.
const CLIENT_STALLED_MAX: Duration = Duration::from_secs(30);

/// How often histograms are folded, so that they do not grow while nobody reads `/metrics`.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The body of the first command to try: an account.
const TRY: &str = r#"{"handle":"me","email":"me@example.org","display_name":"Me","password":"correct horse battery"}"#;

/// A node with its doors. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) node: Arc<Node>,
    pub(crate) query_api: QueryApi,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) slack: SlackDoor,
    pub(crate) metrics: PrometheusHandle,
}

impl Server {
    /// Puts doors on `node`.
    pub(crate) fn new(node: Arc<Node>, settings: &Settings) -> CliResult<Self> {
        let metrics = telemetry::start_metrics()?;
        let query_api = QueryApi {
            database: node.database.clone(),
            store: node.port(),
            guard: Arc::clone(&node.guard),
        };
        let parts = GatewayParts {
            store: node.port(),
            memberships: Arc::new(ReadModelMemberships::new(node.database.clone())),
            door: Arc::new(node.command_api.clone()),
            guard: Arc::clone(&node.guard),
            clock: node.clock.clone(),
            limits: gateway_limits(settings),
        };
        let gateway = Gateway::start(parts, &node.secret);
        let slack = SlackDoor::new(
            node.command_api.clone(),
            Arc::clone(&node.guard),
            node.folder.path().join("imports"),
            u64::from(settings.import_mib_max) * 1024 * 1024,
        );
        Ok(Self {
            node,
            query_api,
            gateway,
            slack,
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
    let node = Node::open(&settings).await?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with --listen",
            settings.listen
        )
    })?;
    let server = Server::new(Arc::new(node), &settings)?;
    let event_store_door = OpenDoor::open(&server.node, &settings).await?;
    let mut projecting = server.node.start_projecting();
    let asked = Asked::listen()?;
    announce(&server, &listener, event_store_door.as_ref()).await?;
    let listener = listener.tap_io(set_up);

    let stop_listening = CancellationToken::new();
    let serving = {
        let stopped = stop_listening.clone().cancelled_owned();
        let router = http::router(&server);
        let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move {
            axum::serve(listener, service)
                .with_graceful_shutdown(stopped)
                .await
        })
    };
    let upkeep = tokio::spawn(upkeep(server.metrics.clone()));
    let ended = tokio::select! {
        () = asked.first() => Ok(()),
        ended = projecting.ended() => Err(ended.err().map_or_else(
            || "the projector ended without being asked to".into(),
            Into::into,
        )),
    };

    tracing::info!("stopping: clients are told to come back");
    server.node.stop();
    if let Some(door) = event_store_door {
        door.close().await;
    }
    let stayed = server.gateway.drain().await;
    if stayed > 0 {
        tracing::warn!(
            connections = stayed,
            "connections did not end in time and are cut"
        );
    }
    stop_listening.cancel();
    if let Ok(ended) = tokio::time::timeout(REQUESTS_END_WITHIN, serving).await {
        ended??;
    } else {
        tracing::warn!("requests did not end in time and are cut");
    }
    upkeep.abort();
    if ended.is_ok() {
        projecting.stop().await?;
    }
    // The gateway stops following the log when nobody holds it any more.
    let node = Arc::clone(&server.node);
    drop(server);
    node.close().await;
    tracing::info!("stopped");
    ended
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

/// Sets up a client's connection: small frames go out at once, and one whose client takes nothing any
/// more ends.
fn set_up(connection: &mut TcpStream) {
    let set = connection
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&*connection).set_tcp_user_timeout(Some(CLIENT_STALLED_MAX)));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection could not be set up; it ended already");
    }
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut turns = tokio::time::interval(METRICS_UPKEEP_EVERY);
    loop {
        turns.tick().await;
        metrics.run_upkeep();
    }
}

/// Says on standard output where everything is and what to try first.
async fn announce(
    server: &Server,
    listener: &TcpListener,
    event_store_door: Option<&OpenDoor>,
) -> CliResult {
    let url = format!("http://{}", listener.local_addr()?);
    let folder = server.node.folder.path();
    let code_file = folder.join("owner-code");
    let claimed = owner::is_claimed(&*server.node.port()).await?;
    let code = (!claimed).then(|| server.node.owner_code.clone());
    keep_code_file(code_file.clone(), code.clone()).await?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "Verbatim {} is ready.\n", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  data folder  {}", folder.display())?;
    writeln!(out, "  API docs     {url}/docs")?;
    if let Some(door) = event_store_door {
        writeln!(out, "  event store  {}", door.url)?;
    }
    if let Some(code) = code {
        writeln!(
            out,
            "  owner code   {code}   (for POST /v1/owner; also in {})",
            code_file.display()
        )?;
    }
    writeln!(out, "  address      {url}\n")?;
    writeln!(out, "Try it (the README has a five-minute tour):\n")?;
    writeln!(
        out,
        "  curl -sS {url}/v1/users -H 'content-type: application/json' -d \\\n    '{TRY}'\n"
    )?;
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
