//! The HTTP routes that read: what a user may see of the read models, and for auditors the log
//! itself. Nothing here changes anything, except that what auditors do is put on the record.

mod access;
mod answers;
mod attachments;
mod audit;
mod blobs;
mod conversations;
mod edits;
mod export;
mod factors;
mod forwarded;
mod members;
mod messages;
mod min_position;
mod notifications;
mod pins;
mod receipts;
mod replay;
mod search;
mod self_service;
mod services;
mod sessions;
mod spaces;
mod threads;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use infra::auth::Guard;
use infra::blobs::{BlobLinks, Blobs};
use infra::clock::Clock;
use infra::database::Database;
use infra::event_store::EventStore;
use infra::problem::Problem;
use infra::read_models::{Model, Snapshot, WAIT_MAX, hurry_to};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::min_position::MinPosition;

pub use replay::{Lines, SelectionInvalid, replay, selection};

/// What the routes need.
#[derive(Clone)]
pub struct QueryApi {
    /// The read models.
    pub database: Database,
    /// The log, for auditors.
    pub store: Arc<dyn EventStore>,
    /// Knows who asks.
    pub guard: Arc<Guard>,
    /// The key with which browsers subscribe to pushes, as they take it.
    pub push_key: Arc<str>,
    /// The time, for the expiry of sessions.
    pub clock: Clock,
    /// The bytes of attachments, where this process reaches them.
    pub blobs: Option<Blobs>,
    /// Signs their addresses.
    pub links: BlobLinks,
}

impl FromRef<QueryApi> for Arc<Guard> {
    fn from_ref(state: &QueryApi) -> Self {
        Self::clone(&state.guard)
    }
}

/// All routes, under `/v1`, with their descriptions. They name the security scheme `bearer`, which
/// whoever serves the whole description declares.
pub fn routes(state: QueryApi) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::one))
        .routes(routes!(messages::page))
        .routes(routes!(messages::one))
        .routes(routes!(attachments::one))
        .routes(routes!(blobs::get))
        .routes(routes!(edits::list))
        .routes(routes!(pins::list))
        .routes(routes!(threads::of_conversation))
        .routes(routes!(threads::followed))
        .routes(routes!(receipts::of_message))
        .routes(routes!(search::search))
        .routes(routes!(members::list))
        .routes(routes!(users::me))
        .routes(routes!(users::one))
        .routes(routes!(users::list))
        .routes(routes!(self_service::preferences))
        .routes(routes!(self_service::blocks))
        .routes(routes!(factors::factors))
        .routes(routes!(export::export))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::settings))
        .routes(routes!(notifications::subscriptions))
        .routes(routes!(notifications::push_key))
        .routes(routes!(services::list))
        .routes(routes!(sessions::list))
        .routes(routes!(spaces::list))
        .routes(routes!(spaces::one))
        .routes(routes!(spaces::members))
        .routes(routes!(spaces::bans))
        .routes(routes!(spaces::invites))
        .routes(routes!(spaces::permissions))
        .routes(routes!(audit::conversation_events))
        .routes(routes!(audit::events))
        .with_state(state)
}

impl QueryApi {
    /// A snapshot of `models` that has everything up to `min_position`; waits for it, for at most
    /// [`WAIT_MAX`].
    async fn snapshot(
        &self,
        models: &[&Model],
        min_position: Option<MinPosition>,
    ) -> Result<Snapshot, Problem> {
        if let Some(MinPosition(position)) = min_position {
            let longest: Duration = WAIT_MAX;
            hurry_to(&self.database, models, position, longest).await?;
        }
        Ok(Snapshot::of(&self.database, models).await?)
    }
}
