//! What somebody may in a channel, looked up in its space before the channel decides. On another node
//! than the one that changed the space it counts after [`infra::states::States::AGE_MAX`].

use domain::conversation::Act;
use domain::space::Permissions;
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
        match act {
            Act::ChangeSettings(_)
            | Act::Send(_)
            | Act::Edit { .. }
            | Act::Delete { .. }
            | Act::React { .. }
            | Act::Pin { .. }
            | Act::Unpin { .. } => {}
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
            | Act::Unarchive => return Ok(Permissions::NONE),
        }
        let Some(Begun::Channel(space)) = self.begun(conversation).await? else {
            return Ok(Permissions::NONE);
        };
        let inherited = self.inherited_role(asker).await?;
        let state = self.space_recently(space).await?;
        let space = state.space.as_ref();
        Ok(space.map_or(Permissions::NONE, |space| {
            space.permissions(asker, Some(conversation), inherited)
        }))
    }
}
