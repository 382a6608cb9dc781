//! What somebody may in a channel, looked up in its space before the channel decides. What was taken from
//! them on another node counts here after [`infra::states::States::AGE_MAX`]; what was given counts at
//! once, as a no is never taken from what was read a while ago. Only that one need not wait in slow mode
//! any more is no reason to read the space anew: most members of a slow channel may not.

use domain::conversation::{Act, Mention};
use domain::space::{Permission, Permissions, State};
use domain::{ConversationId, UserId};
use infra::failure::Failure;

use crate::CommandApi;
use crate::begun::Begun;

impl CommandApi {
    /// What `asker` may in `conversation`, if it is a channel and `act` is one that this matters for.
    pub(crate) async fn allowed(
        &self,
        asker: UserId,
        conversation: ConversationId,
        act: &Act,
    ) -> Result<Permissions, Failure> {
        let Some(needed) = needed(asker, act) else {
            return Ok(Permissions::NONE);
        };
        let Some(Begun::Channel(space)) = self.begun(conversation).await? else {
            return Ok(Permissions::NONE);
        };
        let inherited = self.inherited_role(asker).await?;
        let held = |state: &State| {
            let space = state.space.as_ref();
            space.map_or(Permissions::NONE, |space| {
                space.permissions(asker, Some(conversation), inherited)
            })
        };
        let state = self.space_recently(space).await?;
        let lately = held(&state);
        if lately.has_all(needed) {
            return Ok(lately);
        }
        let state = self.space_now(space).await?;
        Ok(held(&state))
    }
}

/// Without what `asker` is refused `act`; `None` where permissions do not matter.
fn needed(asker: UserId, act: &Act) -> Option<Permissions> {
    let one = |permission| Some(Permissions::of(&[permission]));
    match act {
        Act::Send(draft) => {
            let calls_all = |it: &Mention| matches!(it, Mention::Everyone | Mention::Here);
            let mut needed = vec![Permission::SendMessages];
            if draft.mentions.iter().any(calls_all) {
                needed.push(Permission::MentionEveryone);
            }
            if !draft.attachments.is_empty() {
                needed.push(Permission::AttachFiles);
            }
            Some(Permissions::of(&needed))
        }
        Act::Edit {
            attachments: Some(files),
            ..
        } if !files.is_empty() => Some(Permissions::of(&[
            Permission::SendMessages,
            Permission::AttachFiles,
        ])),
        Act::Edit { .. } => one(Permission::SendMessages),
        Act::Delete { message, .. } if message.author == asker => None,
        Act::Delete { .. } => one(Permission::ManageMessages),
        Act::React { .. } => one(Permission::AddReactions),
        Act::Pin { .. } | Act::Unpin { .. } => one(Permission::PinMessages),
        Act::ChangeSettings(_) => one(Permission::ManageChannels),
        Act::StartDirect { .. }
        | Act::StartGroup { .. }
        | Act::Rename { .. }
        | Act::AddMember { .. }
        | Act::RemoveMember { .. }
        | Act::Leave
        | Act::ChangeRole { .. }
        | Act::Unreact { .. }
        | Act::FollowThread { .. }
        | Act::UnfollowThread { .. }
        | Act::Archive
        | Act::Unarchive => None,
    }
}
