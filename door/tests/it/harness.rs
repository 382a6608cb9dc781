//! A door on a log, on a free port.

use std::sync::Arc;

use async_trait::async_trait;
use door::{Deletes, Door, KnownUser, Logins, Parts, ServiceToken, Tls};
use eventstore::Client;
use infra::auth::{Guard, Tokens};
use infra::clock::Clock;
use infra::event_store::EventStore;
use infra::failure::Failure;
use infra::keys::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What services know.
pub(crate) const SERVICE_TOKEN: &str = "the-secret-of-services-in-tests-0";

/// The password of everybody whose login is an id.
pub(crate) const PASSWORD: &str = "correct-horse";

/// The secret of the server.
pub(crate) const SECRET: [u8; 32] = [1; 32];

/// Lets in by [`PASSWORD`].
struct EverybodysPassword;

#[async_trait]
impl Logins for EverybodysPassword {
    async fn user(&self, login: &str, password: &str) -> Result<Option<KnownUser>, Failure> {
        let user = login.parse().ok().filter(|_| password == PASSWORD);
        Ok(user.map(|user| KnownUser {
            user,
            login_epoch: 0,
        }))
    }
}

/// A door that is open.
pub(crate) struct Opened {
    pub(crate) port: u16,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), Failure>>,
}

impl Opened {
    pub(crate) async fn on(store: Arc<dyn EventStore>, clock: Clock, deletes: Deletes) -> Self {
        Self::at(0, store, clock, deletes).await
    }

    /// The same on a port that is free.
    pub(crate) async fn at(
        port: u16,
        store: Arc<dyn EventStore>,
        clock: Clock,
        deletes: Deletes,
    ) -> Self {
        Self::with_tls(port, store, clock, deletes, None).await
    }

    /// The same with TLS.
    pub(crate) async fn with_tls(
        port: u16,
        store: Arc<dyn EventStore>,
        clock: Clock,
        deletes: Deletes,
        tls: Option<Tls>,
    ) -> Self {
        let tokens = Tokens::new(&Secret::new(SECRET)).unwrap();
        let parts = Parts {
            guard: Arc::new(Guard::new(tokens, &store, &clock)),
            store,
            logins: Arc::new(EverybodysPassword),
            service_token: ServiceToken::new(SERVICE_TOKEN),
            deletes,
            clock,
        };
        let stop = CancellationToken::new();
        let door = Door::new(parts, tls, stop.clone()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            port,
            stop,
            serving: tokio::spawn(door.serve(listener)),
        }
    }

    /// The connection string of a service.
    pub(crate) fn url(&self) -> String {
        self.url_of("service", SERVICE_TOKEN)
    }

    /// The connection string of somebody.
    pub(crate) fn url_of(&self, login: &str, password: &str) -> String {
        let port = self.port;
        format!("kurrentdb://{login}:{password}@127.0.0.1:{port}?tls=false&discoveryInterval=1")
    }

    /// The official client, as a service.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.url().parse().unwrap()).unwrap()
    }

    /// Closes it and waits until it is closed.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}
