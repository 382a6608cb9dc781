//! What somebody may in a channel, looked up in its space before the channel decides, and which of the
//! roles that they call there are. What was taken from them on another node counts here after
//! [`infra::states::States::AGE_MAX`]; what was given counts at once, as a no is never taken from what was
//! read a while ago. Only that one need not wait in slow mode any more is no reason to read the space anew:
//! most members of a slow channel may not.

use std::collections::BTreeSet;

use domain::conversation::{Act, Allowed, Mention};
use domain::space::{Permission, Permissions, State};
use domain::{ConversationId, SpaceRoleId, UserId};
use infra::failure::Failure;

use crate::CommandApi;
use crate::begun::Begun;

impl CommandApi {
    /// What `asker` may in `conversation`, and which of the roles that they call there are, if it is a
    /// channel and `act` is one that this matters for.
    pub(crate) async fn allowed(
        &self,
        asker: UserId,
        conversation: ConversationId,
        act: &Act,
    ) -> Result<Allowed, Failure> {
        let Some(needed) = needed(asker, act) else {
            return Ok(Allowed::default());
        };
        let Some(Begun::Channel(space)) = self.begun(conversation).await? else {
            return Ok(Allowed::default());
        };
        let inherited = self.inherited_role(asker).await?;
        let called = called(act);
        let held = |state: &State| {
            let Some(space) = &state.space else {
                return Allowed::default();
            };
            let mut callable_roles = called.clone();
            callable_roles.retain(|role| space.may_be_called(*role));
            Allowed {
                permissions: space.permissions(asker, Some(conversation), inherited),
                callable_roles,
            }
        };
        let state = self.space_recently(space).await?;
        let lately = held(&state);
        if lately.permissions.has_all(needed) && lately.callable_roles == called {
            return Ok(lately);
        }
        let state = self.space_now(space).await?;
        Ok(held(&state))
    }
}

/// The roles of a space that `act` calls.
fn called(act: &Act) -> BTreeSet<SpaceRoleId> {
    let Act::Send(draft) = act else {
        return BTreeSet::new();
    };
    let role = |mention: &Mention| match mention {
        Mention::SpaceRole(role) => Some(*role),
        Mention::User(_) | Mention::Everyone | Mention::Here | Mention::Role(_) => None,
    };
    draft.mentions.iter().filter_map(role).collect()
}

/// Without what `asker` is refused `act`; `None` where permissions do not matter.
fn needed(asker: UserId, act: &Act) -> Option<Permissions> {
    let one = |permission| Some(Permissions::of(&[permission]));
    match act {
        Act::Send(draft) => {
            let calls_many = |it: &Mention| match it {
                Mention::Everyone | Mention::Here | Mention::SpaceRole(_) => true,
                Mention::User(_) | Mention::Role(_) => false,
            };
            let mut needed = vec![Permission::SendMessages];
            if draft.mentions.iter().any(calls_many) {
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
