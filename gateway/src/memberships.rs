//! Who may see what: the one question that the gateway asks somebody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::conversation::{ConversationEvent, HistoryVisibility};
use domain::{ConversationId, Event, Position, UserId, Version};
use infra::event_store::{EventStore, RecordedEvent};
use infra::failure::Failure;
use parking_lot::Mutex;

/// The time that somebody was in a conversation, in versions of the conversation's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The event that took them in: `conversation-started` or `member-added`.
    pub joined: Version,
    /// The first event they may read: `joined`, or 1 where newcomers see everything.
    pub visible_from: Version,
    /// The event that put them out, the last they may see; `None` while they are in.
    pub left: Option<Version>,
}

/// Memberships as they were at one position of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipsAt {
    /// Exactly everything up to here counts.
    pub position: Position,
    /// In no particular order; those of one conversation do not overlap.
    pub memberships: Vec<Membership>,
}

/// Why memberships are not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MembershipsError {
    /// What is asked is behind the log and did not come up in time.
    #[error("memberships are behind the log")]
    Behind,
    /// It could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Knows memberships. An answer includes everything up to `at_least` at least; an implementation
/// waits for that no longer than [`MEMBERSHIPS_WITHIN`]. The position that it gives with its answer
/// has to be exact: rows and position are of one snapshot.
#[async_trait]
pub trait Memberships: Send + Sync + 'static {
    /// Memberships of `user` that last, or ended after `ended_after`; others may be among them.
    async fn of_user(
        &self,
        user: UserId,
        ended_after: Position,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError>;

    /// All memberships of `user` in `conversation`.
    async fn of_member(
        &self,
        user: UserId,
        conversation: ConversationId,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError>;
}

/// How long an answer may wait until it includes enough.
pub const MEMBERSHIPS_WITHIN: Duration = Duration::from_secs(5);

/// Events read at once.
const PAGE: usize = 2_000;

/// Memberships folded from the log in memory: for tests, and where there is no read database. It
/// grows with the number of memberships there ever were.
pub struct LogMemberships {
    store: Arc<dyn EventStore>,
    fold: Mutex<Fold>,
}

#[derive(Default)]
struct Fold {
    position: Position,
    of_user: HashMap<UserId, Vec<Membership>>,
    visibility: HashMap<ConversationId, HistoryVisibility>,
}

impl LogMemberships {
    /// Folds `store`, as far as needed when asked.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            fold: Mutex::default(),
        }
    }

    async fn read_on(&self, at_least: Position) -> Result<(), MembershipsError> {
        let mut head = self.store.head();
        let reached = head.wait_for(|head| *head >= at_least);
        tokio::time::timeout(MEMBERSHIPS_WITHIN, reached)
            .await
            .map_err(|_| MembershipsError::Behind)?
            .map_err(|error| Failure::unavailable("follow the log", error))?;
        loop {
            let after = self.fold.lock().position;
            let page = self.store.read_all(after, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.fold.lock().take(&page)?;
        }
    }

    fn answer(&self, user: UserId, wanted: impl Fn(&Membership) -> bool) -> MembershipsAt {
        let fold = self.fold.lock();
        let memberships = fold.of_user.get(&user).map_or(&[][..], Vec::as_slice);
        MembershipsAt {
            position: fold.position,
            memberships: memberships.iter().filter(|m| wanted(m)).copied().collect(),
        }
    }
}

impl Fold {
    fn take(&mut self, page: &[Arc<RecordedEvent>]) -> Result<(), Failure> {
        for recorded in page {
            // Another asker may have read the same page.
            if recorded.position <= self.position {
                continue;
            }
            self.position = recorded.position;
            if recorded.stream.category() != "conversation" {
                continue;
            }
            let unreadable = |error| Failure::internal("fold memberships", error);
            let Some(conversation) = recorded.stream.conversation_id() else {
                continue;
            };
            if let Event::Conversation(event) = recorded.event().map_err(unreadable)? {
                self.evolve(conversation, recorded.version, &event);
            }
        }
        Ok(())
    }

    fn evolve(&mut self, id: ConversationId, version: Version, event: &ConversationEvent) {
        match event {
            ConversationEvent::Started(started) => {
                self.visibility.insert(id, started.history_visibility);
                for member in &started.members {
                    self.join(id, member.user, version);
                }
            }
            ConversationEvent::SettingsChanged(changed) => {
                self.visibility.insert(id, changed.history_visibility);
            }
            ConversationEvent::MemberAdded(added) => self.join(id, added.user, version),
            ConversationEvent::MemberRemoved(removed) => self.leave(id, removed.user, version),
            ConversationEvent::MemberLeft(left) => self.leave(id, left.user, version),
            ConversationEvent::Renamed(_)
            | ConversationEvent::MemberRoleChanged(_)
            | ConversationEvent::MessageSent(_)
            | ConversationEvent::MessageEdited(_)
            | ConversationEvent::MessageDeleted(_)
            | ConversationEvent::ReactionAdded(_)
            | ConversationEvent::ReactionRemoved(_)
            | ConversationEvent::MessagePinned(_)
            | ConversationEvent::MessageUnpinned(_)
            | ConversationEvent::ThreadFollowed(_)
            | ConversationEvent::ThreadUnfollowed(_)
            | ConversationEvent::Archived(_)
            | ConversationEvent::Unarchived(_)
            | ConversationEvent::SpaceFollowed(_) => {}
        }
    }

    fn join(&mut self, conversation: ConversationId, user: UserId, joined: Version) {
        let visible_from = match self.visibility.get(&conversation) {
            Some(HistoryVisibility::Start) => Version(1),
            Some(HistoryVisibility::Joined) | None => joined,
        };
        let memberships = self.of_user.entry(user).or_default();
        let is_in = |m: &Membership| m.conversation == conversation && m.left.is_none();
        // Who is in already does not join again.
        if !memberships.iter().any(is_in) {
            memberships.push(Membership {
                conversation,
                joined,
                visible_from,
                left: None,
            });
        }
    }

    fn leave(&mut self, conversation: ConversationId, user: UserId, left: Version) {
        let memberships = self.of_user.entry(user).or_default().iter_mut();
        for membership in memberships.filter(|m| m.conversation == conversation) {
            membership.left.get_or_insert(left);
        }
    }
}

#[async_trait]
impl Memberships for LogMemberships {
    async fn of_user(
        &self,
        user: UserId,
        _ended_after: Position,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        self.read_on(at_least).await?;
        Ok(self.answer(user, |_| true))
    }

    async fn of_member(
        &self,
        user: UserId,
        conversation: ConversationId,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        self.read_on(at_least).await?;
        Ok(self.answer(user, |membership| membership.conversation == conversation))
    }
}
