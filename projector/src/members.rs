//! The fold behind `infra::read_models::members`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::conversation::{ConversationEvent, HistoryVisibility, Role};
use domain::{ConversationId, Seq, UserId, Version};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::members::{self, Membership, Visibility};

use crate::Projection;
use crate::conversations::conversation_event;
use crate::fact::{Fact, Parking, Unfit};

/// Folds memberships.
pub(crate) struct Members;

#[async_trait]
impl Projection for Members {
    fn model(&self) -> &'static Model {
        &members::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let (people, conversations) = touched(facts);
        let mut fold = Fold::default();
        for row in members::load_open(transaction, generation, people).await? {
            fold.open.insert((row.conversation, row.member), row);
        }
        for row in members::load_visibility(transaction, generation, conversations).await? {
            fold.visibility
                .insert(row.conversation, row.history_visibility);
        }
        parking.fold(facts, |fact| fold.fold(fact));
        let memberships: Vec<Membership> = fold.changed.into_values().collect();
        let visibility: Vec<Visibility> = fold
            .visibility_changed
            .into_iter()
            .filter_map(|conversation| {
                let history_visibility = *fold.visibility.get(&conversation)?;
                Some(Visibility {
                    conversation,
                    history_visibility,
                })
            })
            .collect();
        members::store(transaction, generation, &memberships, &visibility).await
    }
}

/// Whose memberships the facts change, and of which conversations the visibility must be known.
fn touched(facts: &[Fact]) -> (BTreeSet<(ConversationId, UserId)>, BTreeSet<ConversationId>) {
    let mut people = BTreeSet::new();
    let mut conversations = BTreeSet::new();
    for fact in facts {
        let Ok((id, event)) = conversation_event(fact) else {
            continue;
        };
        let user = match event {
            ConversationEvent::MemberAdded(added) => {
                conversations.insert(id);
                added.user
            }
            ConversationEvent::MemberRemoved(removed) => removed.user,
            ConversationEvent::MemberLeft(left) => left.user,
            ConversationEvent::MemberRoleChanged(changed) => changed.user,
            // Before the start there is nobody.
            ConversationEvent::Started(_) => {
                conversations.insert(id);
                continue;
            }
            ConversationEvent::Renamed(_)
            | ConversationEvent::SettingsChanged(_)
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
            | ConversationEvent::SpaceFollowed(_) => continue,
        };
        people.insert((id, user));
    }
    (people, conversations)
}

#[derive(Default)]
struct Fold {
    open: BTreeMap<(ConversationId, UserId), Membership>,
    changed: BTreeMap<(ConversationId, UserId, Seq), Membership>,
    visibility: BTreeMap<ConversationId, HistoryVisibility>,
    visibility_changed: BTreeSet<ConversationId>,
}

impl Fold {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let (id, event) = conversation_event(fact)?;
        match event {
            // It starts once; a second start changes nothing.
            ConversationEvent::Started(_) if self.visibility.contains_key(&id) => {}
            ConversationEvent::Started(started) => {
                self.set_visibility(id, started.history_visibility);
                for member in &started.members {
                    self.join(fact, id, member.user, member.role, fact.version);
                }
            }
            ConversationEvent::SettingsChanged(changed) => {
                self.set_visibility(id, changed.history_visibility);
            }
            ConversationEvent::MemberAdded(added) => {
                let visible_from = match self.visibility.get(&id) {
                    Some(HistoryVisibility::Joined) => fact.version,
                    Some(HistoryVisibility::Start) => Version(1),
                    None => return Err(Unfit::new("the conversation was not started")),
                };
                self.join(fact, id, added.user, added.role, visible_from);
            }
            ConversationEvent::MemberRemoved(removed) => {
                self.leave(fact, id, removed.user, Some(removed.by));
            }
            ConversationEvent::MemberLeft(left) => self.leave(fact, id, left.user, None),
            ConversationEvent::MemberRoleChanged(changed) => {
                self.set_role(id, changed.user, changed.role);
            }
            ConversationEvent::Renamed(_)
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
        Ok(())
    }

    fn set_visibility(&mut self, id: ConversationId, history_visibility: HistoryVisibility) {
        self.visibility.insert(id, history_visibility);
        self.visibility_changed.insert(id);
    }

    fn join(
        &mut self,
        fact: &Fact,
        conversation: ConversationId,
        member: UserId,
        role: Role,
        visible_from: Seq,
    ) {
        if self.open.contains_key(&(conversation, member)) {
            // They are in already: at most their role is another.
            self.set_role(conversation, member, role);
            return;
        }
        let membership = Membership {
            conversation,
            member,
            joined_seq: fact.version,
            joined_position: fact.position,
            joined_at: fact.at,
            visible_from,
            role,
            left_seq: None,
            left_position: None,
            left_at: None,
            removed_by: None,
        };
        self.open.insert((conversation, member), membership.clone());
        self.changed(membership);
    }

    fn leave(
        &mut self,
        fact: &Fact,
        conversation: ConversationId,
        member: UserId,
        removed_by: Option<UserId>,
    ) {
        let Some(mut membership) = self.open.remove(&(conversation, member)) else {
            return;
        };
        membership.left_seq = Some(fact.version);
        membership.left_position = Some(fact.position);
        membership.left_at = Some(fact.at);
        membership.removed_by = removed_by;
        self.changed(membership);
    }

    fn set_role(&mut self, conversation: ConversationId, member: UserId, role: Role) {
        if let Some(membership) = self.open.get_mut(&(conversation, member))
            && membership.role != role
        {
            membership.role = role;
            let membership = membership.clone();
            self.changed(membership);
        }
    }

    fn changed(&mut self, membership: Membership) {
        let key = (
            membership.conversation,
            membership.member,
            membership.joined_seq,
        );
        self.changed.insert(key, membership);
    }
}
