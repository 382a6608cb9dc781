//! The server: HTTP/2 on a socket, with or without TLS, until it is stopped.

use std::sync::Arc;

use infra::auth::Guard;
use infra::clock::Clock;
use infra::event_store::EventStore;
use infra::failure::Failure;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::access::{Deletes, Doorkeeper, Logins, ServiceToken};
use crate::features::Features;
use crate::limits::{
    CALLS_PER_CONNECTION_MAX, KEEPALIVE_EVERY, KEEPALIVE_WITHIN, MESSAGE_BYTES_MAX,
};
use crate::proto::shared::server_features::server_features_server::ServerFeaturesServer;
use crate::proto::streams::streams_server::StreamsServer;
use crate::service::StreamsService;
use crate::socket::connections;

/// What the door needs.
pub struct Parts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Knows people by their tokens, and what they may.
    pub guard: Arc<Guard>,
    /// Knows people by their passwords.
    pub logins: Arc<dyn Logins>,
    /// The secret of services; without one nobody appends.
    pub service_token: Option<ServiceToken>,
    /// Whether services may delete.
    pub deletes: Deletes,
    /// Tells the time.
    pub clock: Clock,
}

/// A certificate with its chain and its private key, both PEM. The official Python and Node clients
/// send credentials over TLS only.
#[derive(Clone)]
pub struct Tls {
    /// The certificate first, then those that lead to a known one.
    pub certificates: Vec<u8>,
    /// The private key of the first.
    pub key: Vec<u8>,
}

/// The door, before it is opened.
pub struct Door {
    server: Server,
    service: StreamsService,
    stop: CancellationToken,
}

impl Door {
    /// Puts a door on the log. It closes once `stop` is cancelled: subscriptions are ended with
    /// `Unavailable`, other calls finish.
    ///
    /// # Errors
    /// Certificate or key cannot be used.
    pub fn new(parts: Parts, tls: Option<Tls>, stop: CancellationToken) -> Result<Self, Failure> {
        let mut server = Server::builder()
            .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN));
        if let Some(tls) = tls {
            infra::tls::choose_provider();
            let identity = Identity::from_pem(tls.certificates, tls.key);
            server = server
                .tls_config(ServerTlsConfig::new().identity(identity))
                .map_err(|error| Failure::internal("use the door's certificate", error))?;
        }
        let doorkeeper = Doorkeeper::new(parts.guard, parts.logins, parts.service_token);
        let service = StreamsService::new(
            parts.store,
            doorkeeper,
            parts.deletes,
            parts.clock,
            stop.clone(),
        );
        Ok(Self {
            server,
            service,
            stop,
        })
    }

    /// Serves whoever comes to `listener`. Returns once it was stopped and all calls have ended.
    ///
    /// # Errors
    /// The socket fails.
    pub async fn serve(mut self, listener: TcpListener) -> Result<(), Failure> {
        let streams = StreamsServer::new(self.service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX);
        self.server
            .add_service(streams)
            .add_service(ServerFeaturesServer::new(Features))
            .serve_with_incoming_shutdown(connections(listener), self.stop.cancelled())
            .await
            .map_err(|error| Failure::internal("serve the event store's protocol", error))
    }
}
