//! What a conversation is: which two are in a direct one, which space a channel is of. Both stand in its
//! first event and never change, so that they are read once.

use std::num::NonZeroUsize;

use domain::conversation::{ConversationEvent, Kind, Started};
use domain::{ConversationId, Event, SpaceId, StreamName, UserId, Version};
use infra::failure::Failure;
use lru::LruCache;
use parking_lot::Mutex;

use crate::CommandApi;

/// Conversations of which it is remembered what they are. The longest unused is forgotten and read again
/// when needed.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// What a conversation is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Direct([UserId; 2]),
    Group,
    Channel(SpaceId),
}

impl Begun {
    fn of(started: &Started) -> Self {
        match (started.kind, started.channel, started.members.as_slice()) {
            (Kind::Direct, _, [one, other]) => Self::Direct([one.user, other.user]),
            (Kind::Channel, Some(channel), _) => Self::Channel(channel.space),
            (Kind::Direct | Kind::Group | Kind::Channel, _, _) => Self::Group,
        }
    }
}

/// What conversations are.
pub(crate) struct Beginnings(Mutex<LruCache<ConversationId, Begun>>);

impl Default for Beginnings {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }
}

impl CommandApi {
    /// What `conversation` is; `None` of one that nobody has started.
    pub(crate) async fn begun(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<Begun>, Failure> {
        if let Some(begun) = self.beginnings().0.lock().get(&conversation) {
            return Ok(Some(*begun));
        }
        let stream = StreamName::conversation(conversation);
        let Some((event, _)) = self.event_at(&stream, Version(1)).await? else {
            return Ok(None);
        };
        let begun = match event {
            Event::Conversation(ConversationEvent::Started(started)) => Begun::of(&started),
            _ => Begun::Group,
        };
        self.beginnings().0.lock().put(conversation, begun);
        Ok(Some(begun))
    }
}
