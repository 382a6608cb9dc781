//! The log, served over KurrentDB's protocol, where the settings ask for it.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use command_api::CommandApi;
use door::{Deletes, Door, KnownUser, Logins, Parts, ServiceToken, Tls};
use infra::failure::Failure;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::CliResult;
use crate::node::Node;
use crate::settings::Settings;

/// How long calls that are under way may still take when the server stops.
const CALLS_END_WITHIN: Duration = Duration::from_secs(5);

/// The door while it is open.
pub(crate) struct OpenDoor {
    /// How clients name it, but for the credentials.
    pub(crate) url: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), Failure>>,
}

/// Passwords are the command side's to check.
struct CommandSide(CommandApi);

#[async_trait]
impl Logins for CommandSide {
    async fn user(&self, login: &str, password: &str) -> Result<Option<KnownUser>, Failure> {
        const WHAT: &str = "check a password";
        // The door knows no addresses: for a login name, all who come through it are in one place.
        let checked = self.0.check_login(login, password.to_owned(), None).await;
        let known = checked.map_err(|problem| match problem.status {
            429 | 503 => Failure::unavailable(WHAT, problem.title),
            _ => Failure::internal(WHAT, problem.title),
        })?;
        Ok(known.map(|known| KnownUser {
            user: known.user,
            login_epoch: known.login_epoch,
        }))
    }
}

impl OpenDoor {
    /// Opens the door to `node`, if `settings` want one.
    pub(crate) async fn open(node: &Node, settings: &Settings) -> CliResult<Option<Self>> {
        let Some(address) = settings.eventstore_listen else {
            return Ok(None);
        };
        let tls = match (&settings.eventstore_tls_cert, &settings.eventstore_tls_key) {
            (Some(certificates), Some(key)) => Some(Tls {
                certificates: read(certificates).await?,
                key: read(key).await?,
            }),
            _ => None,
        };
        let with_tls = tls.is_some();
        let parts = Parts {
            store: node.store(),
            guard: node.guard.clone(),
            logins: std::sync::Arc::new(CommandSide(node.command_api.clone())),
            service_token: settings
                .eventstore_token
                .as_deref()
                .and_then(ServiceToken::new),
            deletes: if settings.eventstore_allow_delete {
                Deletes::Allowed
            } else {
                Deletes::Refused
            },
            clock: node.clock.clone(),
        };
        let stop = CancellationToken::new();
        let door = Door::new(parts, tls, stop.clone())?;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!(
                "cannot listen on {address}: {error}; choose another address with \
                 --eventstore-listen"
            )
        })?;
        let address = listener.local_addr()?;
        Ok(Some(Self {
            url: format!("kurrentdb://{address}?tls={with_tls}"),
            stop,
            serving: tokio::spawn(door.serve(listener)),
        }))
    }

    /// Closes the door: who follows the log is told to come back, other calls may end.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(CALLS_END_WITHIN, &mut self.serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failure))) => tracing::error!(%failure, "the event store's door failed"),
            Ok(Err(error)) => tracing::error!(%error, "the event store's door failed"),
            Err(_) => {
                tracing::warn!("calls of the event store's door did not end in time and are cut");
                self.serving.abort();
            }
        }
    }
}

async fn read(path: &Path) -> CliResult<Vec<u8>> {
    let read = tokio::fs::read(path).await;
    Ok(read.map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}
