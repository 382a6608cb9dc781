//! Whether somebody may have to do with those whom an act is about: what their blocks say, looked up
//! before the conversation decides. A block that is made at the very moment may come too late for a
//! message, and on another node counts after [`infra::states::States::AGE_MAX`].

use std::num::NonZeroUsize;

use domain::conversation::{Act, Contact, ConversationEvent, Kind};
use domain::{ConversationId, Event, StreamName, UserId, Version};
use infra::failure::Failure;
use lru::LruCache;
use parking_lot::Mutex;

use crate::CommandApi;

/// Conversations of which it is remembered who the two are, or that they are groups. The longest
/// unused is forgotten and read again when needed.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// The two users of direct conversations, which never change; `None` of a group.
pub(crate) struct Directs(Mutex<LruCache<ConversationId, Option<[UserId; 2]>>>);

impl Default for Directs {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }
}

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
                match self.pair(conversation).await? {
                    Some([one, other]) => self.between(one, other).await?,
                    None => false,
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

    /// The two of a direct conversation; `None` of a group, and of one that nobody has started. Both
    /// stand in its first event, so that no more is read of it.
    async fn pair(&self, conversation: ConversationId) -> Result<Option<[UserId; 2]>, Failure> {
        if let Some(pair) = self.directs().0.lock().get(&conversation) {
            return Ok(*pair);
        }
        let stream = StreamName::conversation(conversation);
        let Some((event, _)) = self.event_at(&stream, Version(1)).await? else {
            return Ok(None);
        };
        let pair = if let Event::Conversation(ConversationEvent::Started(started)) = event
            && started.kind == Kind::Direct
            && let [one, other] = started.members.as_slice()
        {
            Some([one.user, other.user])
        } else {
            None
        };
        self.directs().0.lock().put(conversation, pair);
        Ok(pair)
    }
}
