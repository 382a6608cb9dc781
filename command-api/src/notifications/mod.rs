//! Commands on what a user wants to be told: rules, settings, the browsers that take pushes, and how far
//! the list of what concerned them is read.

pub(crate) mod read;
pub(crate) mod rule;
pub(crate) mod settings;
pub(crate) mod subscriptions;

use domain::StreamName;
use domain::notifications::Command;
use infra::failure::Failure;
use infra::keys::Secret;
use infra::problem::Problem;
use infra::push::{Addresses, TargetSeal};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::Asking;

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(rule::put))
        .routes(routes!(settings::put))
        .routes(routes!(read::put))
        .routes(routes!(subscriptions::post))
        .routes(routes!(subscriptions::delete))
}

/// How users are told of what they miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationRules {
    /// Where pushes may go.
    pub push_addresses: Addresses,
    /// The shortest absence after which a digest is mailed, in seconds.
    pub digest_seconds_min: u32,
}

impl Default for NotificationRules {
    /// Pushes to public addresses, digests after a quarter of an hour at the earliest.
    fn default() -> Self {
        Self {
            push_addresses: Addresses::PublicOnly,
            digest_seconds_min: 15 * 60,
        }
    }
}

/// The rules, and what seals where pushes go.
pub(crate) struct Telling {
    pub(crate) rules: NotificationRules,
    pub(crate) targets: TargetSeal,
}

impl Telling {
    pub(crate) fn new(rules: NotificationRules, secret: &Secret) -> Result<Self, Failure> {
        let targets = TargetSeal::new(secret)?;
        Ok(Self { rules, targets })
    }
}

/// Asks `command` of what the asker has set. `name` and `fields` are all that was asked.
async fn ask(
    api: &CommandApi,
    asking: Asking,
    command: Command,
    name: &str,
    fields: &(impl Serialize + Sync),
) -> Result<Answer, Problem> {
    let envelope = asking.envelope(&(name, fields))?;
    let stream = StreamName::notifications(asking.user);
    let done = api.notifications().execute(&stream, envelope, command);
    Ok(Answer::new(asking.user.0, done.await?))
}
