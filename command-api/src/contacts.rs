//! Whether somebody may have to do with those whom an act is about: what their blocks say, looked up
//! before the conversation decides. A block that is made at the very moment may come too late for a
//! message, and on another node counts after [`infra::states::States::AGE_MAX`].

use domain::conversation::{Act, Contact};
use domain::{ConversationId, UserId};
use infra::failure::Failure;

use crate::CommandApi;
use crate::begun::Begun;

impl CommandApi {
    /// Whether `asker` may have to do with those whom `act` in `conversation` is about.
    pub(crate) async fn contact(
        &self,
        asker: UserId,
        conversation: ConversationId,
        act: &Act,
    ) -> Result<Contact, Failure> {
        let is_blocked = match act {
            Act::StartDirect { with } => self.between(asker, *with).await?,
            Act::StartGroup { members, .. } => self.any_blocks(members, asker).await?,
            Act::AddMember { user, .. } => self.blocks(*user, asker).await?,
            Act::Send(_) | Act::Edit { .. } | Act::React { .. } | Act::Pin { .. } => {
                match self.begun(conversation).await? {
                    Some(Begun::Direct([one, other])) => self.between(one, other).await?,
                    Some(Begun::Group | Begun::Channel(_)) | None => false,
                }
            }
            Act::Rename { .. }
            | Act::ChangeSettings(_)
            | Act::RemoveMember { .. }
            | Act::Leave
            | Act::ChangeRole { .. }
            | Act::Delete { .. }
            | Act::Unreact { .. }
            | Act::Unpin { .. }
            | Act::FollowThread { .. }
            | Act::UnfollowThread { .. }
            | Act::Archive
            | Act::Unarchive => false,
        };
        Ok(if is_blocked {
            Contact::Blocked
        } else {
            Contact::Free
        })
    }

    async fn between(&self, one: UserId, other: UserId) -> Result<bool, Failure> {
        Ok(self.blocks(one, other).await? || self.blocks(other, one).await?)
    }

    async fn any_blocks(&self, users: &[UserId], user: UserId) -> Result<bool, Failure> {
        for other in users {
            if self.blocks(*other, user).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
