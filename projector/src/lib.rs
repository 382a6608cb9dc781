//! From the log to the read models: one projection for each, which folds events into rows and
//! commits the rows together with how far it is. What the rows look like is in
//! `infra::read_models`; nothing here answers a query. Beside them the relay, which publishes the log,
//! mailing, which sends what events ask for, and
//! collecting, which erases the attachments that nothing has any more.
//!
//! A projection owns its tables: it applies every event once, in order, whatever interrupts it. A
//! new version of one is filled beside the old and takes its place when it has caught up.

mod attachments;
mod collecting;
mod conversations;
mod fact;
mod generation;
mod mail;
mod members;
mod messages;
mod projector;
mod receipts;
mod relay;
mod search;
mod services;
mod sessions;
mod users;

pub use collecting::Collecting;
pub use mail::Mailing;
pub use projector::{ProjectionStatus, Projector, ProjectorError, Rebuild, UnknownProjection};
pub use relay::{Relay, RelayWindow};

use async_trait::async_trait;
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;

use crate::fact::{Fact, Parking};

/// How events become the rows of one read model.
#[async_trait]
trait Projection: Send + Sync + 'static {
    /// Of which model.
    fn model(&self) -> &'static Model;

    /// Folds `facts`, which are in the order of the log, and writes what changed. The result does
    /// not depend on where one batch ends and the next begins. A fact that does not fit is parked
    /// with the rest of its stream.
    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError>;
}

/// Every projection.
static PROJECTIONS: [&dyn Projection; 9] = [
    &attachments::Attachments,
    &conversations::Conversations,
    &members::Members,
    &messages::Messages,
    &receipts::Receipts,
    &search::Search,
    &services::Services,
    &sessions::Sessions,
    &users::Users,
];
