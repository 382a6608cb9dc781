//! The gateway as a whole: what it is made of, its routes, its end.

use std::sync::Arc;

use domain::UserId;
use infra::auth::Guard;
use infra::bus::{LiveEvents, Signals};
use infra::clock::Clock;
use infra::commands::CommandDoor;
use infra::event_store::EventStore;
use infra::keys::Secret;
use infra::limits::Limiter;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::CursorKey;
use crate::frames::{ClientFrame, ServerFrame};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::memberships::Memberships;
use crate::shutdown::Connections;

/// What a gateway needs from the rest of the process.
pub struct Parts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// What is committed from now on.
    pub live: Box<dyn LiveEvents>,
    /// What passes between nodes.
    pub signals: Arc<dyn Signals>,
    /// Knows who may see what.
    pub memberships: Arc<dyn Memberships>,
    /// Takes commands.
    pub door: Arc<dyn CommandDoor>,
    /// Checks tokens.
    pub guard: Arc<Guard>,
    /// The time, for the expiry of logins.
    pub clock: Clock,
    /// The bounds.
    pub limits: Limits,
    /// Counts what each user sends over all their connections of the process.
    pub user_pace: Arc<Limiter<UserId>>,
}

/// Streams events to clients. One for each process.
pub struct Gateway {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) memberships: Arc<dyn Memberships>,
    pub(crate) door: Arc<dyn CommandDoor>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) user_pace: Arc<Limiter<UserId>>,
    pub(crate) cursors: CursorKey,
    pub(crate) hub: Arc<Hub>,
    pub(crate) connections: Arc<Connections>,
}

/// How a gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    /// Open connections, identified or not.
    pub connections: usize,
    /// Connections that are identified.
    pub sessions: usize,
    /// Up to where in the log connections are served.
    pub position: domain::Position,
}

impl Gateway {
    /// Starts following the log. To be called within a Tokio runtime; stops when dropped. Cursors
    /// are bound to `secret`.
    pub fn start(mut parts: Parts, secret: &Secret) -> Arc<Self> {
        parts.limits.batch_events_max = parts.limits.batch_events_max.max(1);
        Arc::new(Self {
            hub: Hub::start(
                parts.live,
                parts.signals,
                parts.limits.clone(),
                parts.clock.clone(),
            ),
            connections: Connections::new(parts.limits.connections_max),
            cursors: CursorKey::new(secret),
            store: parts.store,
            memberships: parts.memberships,
            door: parts.door,
            guard: parts.guard,
            clock: parts.clock,
            limits: parts.limits,
            user_pace: parts.user_pace,
        })
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        Status {
            connections: self.connections.count(),
            sessions: self.hub.connections(),
            position: self.hub.watermark(),
        }
    }

    /// Waits until it can serve nobody any more because of a defect; the process should end then.
    pub async fn failed(&self) {
        self.hub.ended().await;
    }

    /// Takes no more connections, tells those there are to come back elsewhere, and waits until
    /// they are gone, at most [`Limits::drain_within`]. Returns how many stayed.
    pub async fn drain(&self) -> usize {
        let stayed = self.connections.drain(self.limits.drain_within).await;
        self.hub.end_presence();
        stayed
    }
}

/// Frames that no route names, as they travel after the upgrade.
#[derive(OpenApi)]
#[openapi(components(schemas(ClientFrame, ServerFrame)))]
struct Frames;

/// The routes of the gateway: `GET /v1/stream` and `GET /v1/stream/sse`.
pub fn routes(gateway: Arc<Gateway>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Frames::openapi())
        .routes(routes!(crate::session::stream))
        .routes(routes!(crate::sse::stream_sse))
        .with_state(gateway)
}
