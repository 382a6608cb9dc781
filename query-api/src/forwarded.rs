//! Where forwarded messages come from, as far as the asker sees the message that was forwarded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::conversation::Origin;
use domain::{ConversationId, Seq, UserId};
use infra::database::AsJson;
use infra::problem::Problem;
use infra::read_models::Snapshot;
use infra::read_models::members::{self, Membership};
use infra::read_models::messages::Message;
use serde::Serialize;
use utoipa::ToSchema;

/// That a message was forwarded; empty for those who do not see the other.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Forwarded {
    /// Of which conversation the other is.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<ConversationId>,
    /// Which message it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Seq>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<UserId>,
}

/// The asker's memberships of the conversations from which some messages come.
pub(crate) struct Origins(BTreeMap<ConversationId, Vec<Membership>>);

/// Looks up what `asker` sees of where `messages` come from.
pub(crate) async fn origins(
    snapshot: &mut Snapshot,
    asker: UserId,
    messages: &[Message],
) -> Result<Origins, Problem> {
    let mut memberships = BTreeMap::new();
    for origin in messages.iter().filter_map(origin) {
        if let Entry::Vacant(unknown) = memberships.entry(origin.conversation) {
            unknown.insert(members::within(snapshot, origin.conversation, asker).await?);
        }
    }
    Ok(Origins(memberships))
}

impl Origins {
    /// Where `message` comes from; `None` if it was not forwarded.
    pub(crate) fn of(&self, message: &Message) -> Option<Forwarded> {
        let origin = origin(message)?;
        let memberships = self.0.get(&origin.conversation);
        let sees = |membership: &Membership| membership.sees(origin.message);
        if memberships.is_some_and(|all| all.iter().any(sees)) {
            Some(Forwarded {
                conversation: Some(origin.conversation),
                message: Some(origin.message),
                author: Some(origin.author),
            })
        } else {
            Some(Forwarded::default())
        }
    }
}

fn origin(message: &Message) -> Option<Origin> {
    message.origin.as_ref().map(|AsJson(origin)| *origin)
}
