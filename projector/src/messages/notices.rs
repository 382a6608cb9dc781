//! The fold of what concerned somebody. History that was imported concerned them elsewhere.

use std::collections::BTreeSet;

use domain::conversation::{MemberRoleChanged, Mention, MessageSent, Reaction, Role};
use domain::{Actor, ConversationId, UserId};
use infra::read_models::messages::notices::{EventKey, MemberKey, Notice, NoticeKind};
use infra::read_models::messages::{Changes, MessageKey, Reaction as ReactionRow};

use crate::fact::Fact;

/// What a batch adds, and what of before concerns nobody any more.
#[derive(Default)]
pub(super) struct Fold {
    added: Vec<Notice>,
    taken_back: Vec<EventKey>,
    left: Vec<MemberKey>,
}

impl Fold {
    pub(super) fn add(&mut self, notices: impl IntoIterator<Item = Notice>) {
        self.added.extend(notices);
    }

    /// The reaction concerns nobody any more.
    pub(super) fn taken_back(&mut self, reaction: &ReactionRow) {
        let key = EventKey {
            conversation: reaction.conversation,
            message: reaction.message,
            seq: reaction.seq,
        };
        self.added
            .retain(|it| (it.conversation, it.seq) != (key.conversation, key.seq));
        self.taken_back.push(key);
    }

    /// Nothing about the message concerns anybody any more.
    pub(super) fn deleted(&mut self, key: MessageKey) {
        self.added
            .retain(|it| (it.conversation, it.message) != (key.conversation, key.message));
    }

    /// Nothing in the conversation concerns `user_id` any more.
    pub(super) fn left(&mut self, conversation: ConversationId, user_id: UserId) {
        self.added
            .retain(|it| (it.conversation, it.user_id) != (conversation, user_id));
        self.left.push(MemberKey {
            user_id,
            conversation,
        });
    }

    pub(super) fn into_changes(self, changes: &mut Changes) {
        changes.notices = self.added;
        changes.notices_taken_back = self.taken_back;
        changes.notices_left = self.left;
    }
}

/// Whom `sent` concerns: those whom it calls by name, and who wrote the message that it answers.
pub(super) fn of_message(
    fact: &Fact,
    conversation: ConversationId,
    sent: &MessageSent,
    answers: Option<UserId>,
) -> Vec<Notice> {
    if fact.is_imported {
        return Vec::new();
    }
    let called = sent.mentions.iter().filter_map(|mention| match mention {
        Mention::User(user) => Some(*user),
        Mention::Everyone | Mention::Here | Mention::Role(_) | Mention::SpaceRole(_) => None,
    });
    let called: BTreeSet<UserId> = called.collect();
    let notice = |user_id, kind| Notice {
        thread: sent.thread,
        ..notice(fact, conversation, (user_id, kind), sent.author)
    };
    let replied = answers.filter(|user| !called.contains(user));
    let replied = replied.map(|user| notice(user, NoticeKind::Reply));
    let called = called.iter().map(|user| notice(*user, NoticeKind::Mention));
    let concerned = called.chain(replied);
    concerned
        .filter(|notice| notice.user_id != sent.author)
        .collect()
}

/// Whom `reaction` concerns: who wrote the message.
pub(super) fn of_reaction(
    fact: &Fact,
    conversation: ConversationId,
    reaction: &Reaction,
    author: UserId,
) -> Option<Notice> {
    if fact.is_imported || author == reaction.member {
        return None;
    }
    let concerned = (author, NoticeKind::Reaction);
    Some(Notice {
        message: reaction.message,
        detail: Some(reaction.emoji.as_str().to_owned()),
        ..notice(fact, conversation, concerned, reaction.member)
    })
}

/// Whom `changed` concerns: whose role it is, unless they did it themselves.
pub(super) fn of_role(
    fact: &Fact,
    conversation: ConversationId,
    changed: &MemberRoleChanged,
) -> Option<Notice> {
    let by = fact.by.and_then(Actor::user)?;
    if fact.is_imported || by == changed.user {
        return None;
    }
    let role = match changed.role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    };
    let concerned = (changed.user, NoticeKind::RoleChanged);
    Some(Notice {
        detail: Some(role.to_owned()),
        ..notice(fact, conversation, concerned, by)
    })
}

fn notice(
    fact: &Fact,
    conversation: ConversationId,
    (user_id, kind): (UserId, NoticeKind),
    actor: UserId,
) -> Notice {
    Notice {
        user_id,
        position: fact.position,
        conversation,
        seq: fact.version,
        kind,
        message: fact.version,
        thread: None,
        actor,
        at: fact.at,
        detail: None,
    }
}
