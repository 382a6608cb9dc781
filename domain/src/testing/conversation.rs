//! Words for tests about conversations.

use super::Given;
use crate::conversation::{
    Act, Allowed, ArchiveChanged, Command, Contact, Conversation, ConversationEvent,
    HistoryVisibility, Kind, MemberRole, MessageSent, Role, Started, UserCommand,
};
use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{Emoji, MessageBody, Title};

pub(crate) fn given(history: impl IntoIterator<Item = ConversationEvent>) -> Given<Conversation> {
    Given::history(history)
}

/// The same, asked of somebody who blocks the asker.
pub(crate) fn blocked(command: Command) -> Command {
    match command {
        Command::User(asked) => Command::User(Box::new(UserCommand {
            contact: Contact::Blocked,
            ..*asked
        })),
        Command::Import(_) | Command::Follow(_) => panic!("a user asks"),
    }
}

/// Something asked by `by`, who has at least `role` in groups that they are in.
pub(crate) fn inheriting(by: UserId, act: Act, role: Role) -> Command {
    Command::User(Box::new(UserCommand {
        by,
        act,
        contact: Contact::Free,
        inherited: Some(role),
        allowed: Allowed::default(),
    }))
}

pub(crate) fn title(text: &str) -> Title {
    Title::parse(text).expect("a good title")
}

pub(crate) fn body(text: &str) -> MessageBody {
    MessageBody::parse(text).expect("a good body")
}

pub(crate) fn emoji(text: &str) -> Emoji {
    Emoji::parse(text).expect("a good reaction")
}

pub(crate) fn members(members: &[(UserId, Role)]) -> Vec<MemberRole> {
    members
        .iter()
        .map(|&(user, role)| MemberRole { user, role })
        .collect()
}

/// A group called Tea, of which newcomers see nothing from before they joined.
pub(crate) fn group_of(owner: UserId, others: &[UserId]) -> ConversationEvent {
    let mut all = vec![(owner, Role::Owner)];
    all.extend(others.iter().map(|user| (*user, Role::Member)));
    ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(Personal::new(owner, title("Tea"))),
        creator: Some(owner),
        members: members(&all),
        history_visibility: HistoryVisibility::Joined,
        channel: None,
    })
}

pub(crate) fn direct_of(one: UserId, other: UserId) -> ConversationEvent {
    ConversationEvent::Started(Started {
        kind: Kind::Direct,
        title: None,
        creator: Some(one),
        members: members(&[(one, Role::Member), (other, Role::Member)]),
        history_visibility: HistoryVisibility::Start,
        channel: None,
    })
}

pub(crate) fn sent(author: UserId, text: &str) -> ConversationEvent {
    ConversationEvent::MessageSent(MessageSent::plain(author, body(text)))
}

pub(crate) fn archived(by: UserId) -> ConversationEvent {
    ConversationEvent::Archived(ArchiveChanged { by })
}
