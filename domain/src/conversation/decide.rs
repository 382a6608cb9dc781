//! The rules of a conversation.

use std::collections::BTreeSet;

use crate::conversation::command::{Act, Command, ImportedFact, MessageFact, UserCommand};
use crate::conversation::event::{
    ArchiveChanged, ConversationEvent, HistoryVisibility, Kind, MemberAdded, MemberLeft,
    MemberRemoved, MemberRole, MemberRoleChanged, MessageDeleted, MessageEdited, MessageSent,
    Reaction, Renamed, Role, SettingsChanged, Started,
};
use crate::conversation::state::{Settings, State};
use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{Seq, UserId, Version};
use crate::personal::Personal;
use crate::values::{Emoji, MessageBody, Reason, Title};

/// Decides for streams `conversation-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Conversation;

/// Why a conversation says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or the asker is not in it: which of the two is not told.
    #[error("there is no such conversation, or you are not in it")]
    NotFound,
    /// The asker's role does not allow it.
    #[error("your role in this conversation does not allow this")]
    RoleTooLow,
    /// A direct conversation has no title, settings, roles or changes of members.
    #[error("this cannot be done in a direct conversation")]
    DirectConversation,
    /// It is archived.
    #[error("this conversation is archived; unarchive it first")]
    Archived,
    /// The user named is not in it.
    #[error("the user is not a member of this conversation")]
    NoSuchMember,
    /// The conversation is full.
    #[error("a conversation has at most {} members", Conversation::MEMBERS_MAX)]
    TooManyMembers,
    /// The owner would go while others stay.
    #[error("the owner cannot leave before making another member the owner")]
    OwnerMustStay,
    /// Only making another the owner takes the role away from its owner.
    #[error("a group has one owner; make another member the owner instead")]
    OwnerStays,
    /// A conversation with oneself.
    #[error("a direct conversation needs another user")]
    WithOneself,
    /// The message was deleted.
    #[error("the message was deleted")]
    MessageDeleted,
    /// Only its author may edit a message.
    #[error("only the author of a message may edit it")]
    NotTheAuthor,
    /// The command that starts a conversation found one of another kind under its id.
    #[error("this conversation was already started otherwise")]
    AlreadyStarted,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "conversation_not_found",
            Self::RoleTooLow => "role_too_low",
            Self::DirectConversation => "direct_conversation",
            Self::Archived => "conversation_archived",
            Self::NoSuchMember => "no_such_member",
            Self::TooManyMembers => "too_many_members",
            Self::OwnerMustStay => "owner_must_stay",
            Self::OwnerStays => "owner_stays",
            Self::WithOneself => "with_oneself",
            Self::MessageDeleted => "message_deleted",
            Self::NotTheAuthor => "not_the_author",
            Self::AlreadyStarted => "already_started",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound | Self::NoSuchMember => RefusalKind::NotFound,
            Self::RoleTooLow | Self::NotTheAuthor => RefusalKind::Forbidden,
            Self::DirectConversation
            | Self::Archived
            | Self::OwnerMustStay
            | Self::OwnerStays
            | Self::MessageDeleted
            | Self::AlreadyStarted => RefusalKind::Conflict,
            Self::TooManyMembers | Self::WithOneself => RefusalKind::Invalid,
        }
    }
}

impl Conversation {
    /// The most members a conversation may have.
    pub const MEMBERS_MAX: usize = 10_000;
}

type Decision = Result<Vec<ConversationEvent>, Refused>;

impl Decider for Conversation {
    type State = State;
    type Command = Command;
    type Event = ConversationEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "conversation";

    fn decide(state: &State, command: &Command) -> Decision {
        match command {
            Command::User(command) => decide_for_user(state, command),
            Command::Import(fact) => decide_imported(state, fact),
        }
    }

    fn evolve(state: State, version: Version, event: &ConversationEvent) -> State {
        state.evolve(version, event)
    }
}

fn decide_for_user(state: &State, UserCommand { by, act }: &UserCommand) -> Decision {
    let by = *by;
    match act {
        Act::StartDirect { with } => return start_direct(state, by, *with),
        Act::StartGroup {
            title,
            members,
            history_visibility,
        } => {
            return start_group(state, by, title, members, *history_visibility);
        }
        _ => {}
    }
    let (Some(settings), Some(role)) = (&state.settings, state.role(by)) else {
        return Err(Refused::NotFound);
    };
    let asker = Asker {
        by,
        role,
        settings,
        state,
    };
    match act {
        Act::StartDirect { .. } | Act::StartGroup { .. } => Err(Refused::AlreadyStarted),
        Act::Rename { title } => asker.rename(title),
        Act::ChangeSettings { history_visibility } => asker.change_settings(*history_visibility),
        Act::AddMember { user, role } => asker.add_member(*user, *role),
        Act::RemoveMember { user } => asker.remove_member(*user),
        Act::Leave => asker.leave(),
        Act::ChangeRole { user, role } => asker.change_role(*user, *role),
        Act::Send(draft) => asker.send(&draft.body, draft.reply_to),
        Act::Edit { message, body } => asker.edit(*message, body),
        Act::Delete { message, reason } => asker.delete(*message, reason.as_ref()),
        Act::React { message, emoji } => asker
            .reaction(message.seq, emoji)
            .map(|reaction| vec![ConversationEvent::ReactionAdded(reaction)]),
        Act::Unreact { message, emoji } => asker
            .reaction(message.seq, emoji)
            .map(|reaction| vec![ConversationEvent::ReactionRemoved(reaction)]),
        Act::Archive => asker.set_archived(true),
        Act::Unarchive => asker.set_archived(false),
    }
}

fn start_direct(state: &State, by: UserId, with: UserId) -> Decision {
    if by == with {
        return Err(Refused::WithOneself);
    }
    match &state.settings {
        Some(settings) if settings.kind == Kind::Direct && state.role(by).is_some() => Ok(vec![]),
        Some(_) => Err(Refused::AlreadyStarted),
        None => {
            let mut users = [by, with];
            users.sort_unstable();
            Ok(vec![ConversationEvent::Started(Started {
                kind: Kind::Direct,
                title: None,
                creator: Some(by),
                members: users
                    .map(|user| MemberRole {
                        user,
                        role: Role::Member,
                    })
                    .to_vec(),
                history_visibility: HistoryVisibility::Start,
            })])
        }
    }
}

fn start_group(
    state: &State,
    by: UserId,
    title: &Title,
    members: &[UserId],
    history_visibility: HistoryVisibility,
) -> Decision {
    if state.settings.is_some() {
        return Err(Refused::AlreadyStarted);
    }
    let others: BTreeSet<UserId> = members.iter().copied().filter(|user| *user != by).collect();
    if others.len() >= Conversation::MEMBERS_MAX {
        return Err(Refused::TooManyMembers);
    }
    let owner = MemberRole {
        user: by,
        role: Role::Owner,
    };
    let others = others.into_iter().map(|user| MemberRole {
        user,
        role: Role::Member,
    });
    Ok(vec![ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(Personal::new(by, title.clone())),
        creator: Some(by),
        members: std::iter::once(owner).chain(others).collect(),
        history_visibility,
    })])
}

/// A member who asks something of a conversation that exists.
struct Asker<'a> {
    by: UserId,
    role: Role,
    settings: &'a Settings,
    state: &'a State,
}

impl Asker<'_> {
    fn in_group(&self) -> Result<(), Refused> {
        match self.settings.kind {
            Kind::Group => Ok(()),
            Kind::Direct => Err(Refused::DirectConversation),
        }
    }

    fn at_least(&self, role: Role) -> Result<(), Refused> {
        if self.role >= role {
            Ok(())
        } else {
            Err(Refused::RoleTooLow)
        }
    }

    fn open(&self) -> Result<(), Refused> {
        if self.settings.archived {
            Err(Refused::Archived)
        } else {
            Ok(())
        }
    }

    fn not_deleted(&self, message: Seq) -> Result<(), Refused> {
        if self.state.deleted.contains(&message) {
            Err(Refused::MessageDeleted)
        } else {
            Ok(())
        }
    }

    /// What only those who run a group that is open may change.
    fn runs_open_group(&self) -> Result<(), Refused> {
        self.in_group()?;
        self.at_least(Role::Admin)?;
        self.open()
    }

    fn rename(&self, title: &Title) -> Decision {
        self.runs_open_group()?;
        if self.settings.title.as_ref() == Some(title) {
            return Ok(vec![]);
        }
        let title = Personal::new(self.by, title.clone());
        Ok(vec![ConversationEvent::Renamed(Renamed { title })])
    }

    fn change_settings(&self, history_visibility: HistoryVisibility) -> Decision {
        self.runs_open_group()?;
        if self.settings.history_visibility == history_visibility {
            return Ok(vec![]);
        }
        Ok(vec![ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility,
        })])
    }

    fn add_member(&self, user: UserId, role: Role) -> Decision {
        self.runs_open_group()?;
        if role == Role::Owner {
            return Err(Refused::OwnerStays);
        }
        if role == Role::Admin {
            self.at_least(Role::Owner)?;
        }
        if self.state.role(user).is_some() {
            return Ok(vec![]);
        }
        if self.state.members.len() >= Conversation::MEMBERS_MAX {
            return Err(Refused::TooManyMembers);
        }
        Ok(vec![ConversationEvent::MemberAdded(MemberAdded {
            user,
            role,
        })])
    }

    fn remove_member(&self, user: UserId) -> Decision {
        if user == self.by {
            return self.leave();
        }
        self.runs_open_group()?;
        match self.state.role(user) {
            None => Ok(vec![]),
            Some(role) if role >= self.role => Err(Refused::RoleTooLow),
            Some(_) => {
                let removed = MemberRemoved { user, by: self.by };
                Ok(vec![ConversationEvent::MemberRemoved(removed)])
            }
        }
    }

    fn leave(&self) -> Decision {
        self.in_group()?;
        if self.role == Role::Owner && self.state.members.len() > 1 {
            return Err(Refused::OwnerMustStay);
        }
        Ok(vec![ConversationEvent::MemberLeft(MemberLeft {
            user: self.by,
        })])
    }

    fn change_role(&self, user: UserId, role: Role) -> Decision {
        self.in_group()?;
        self.at_least(Role::Owner)?;
        self.open()?;
        let before = self.state.role(user).ok_or(Refused::NoSuchMember)?;
        if before == role {
            return Ok(vec![]);
        }
        let change =
            |user, role| ConversationEvent::MemberRoleChanged(MemberRoleChanged { user, role });
        match (before, role) {
            (Role::Owner, _) => Err(Refused::OwnerStays),
            (_, Role::Owner) => Ok(vec![change(user, role), change(self.by, Role::Admin)]),
            (_, Role::Admin | Role::Member) => Ok(vec![change(user, role)]),
        }
    }

    fn send(&self, body: &MessageBody, reply_to: Option<Seq>) -> Decision {
        self.open()?;
        let body = Personal::new(self.by, body.clone());
        Ok(vec![ConversationEvent::MessageSent(MessageSent {
            author: self.by,
            body,
            reply_to,
        })])
    }

    fn edit(&self, message: MessageFact, body: &MessageBody) -> Decision {
        self.open()?;
        if message.author != self.by {
            return Err(Refused::NotTheAuthor);
        }
        self.not_deleted(message.seq)?;
        let body = Personal::new(self.by, body.clone());
        let edited = MessageEdited {
            message: message.seq,
            body,
        };
        Ok(vec![ConversationEvent::MessageEdited(edited)])
    }

    fn delete(&self, message: MessageFact, reason: Option<&Reason>) -> Decision {
        self.open()?;
        if message.author != self.by {
            self.in_group().map_err(|_| Refused::NotTheAuthor)?;
            self.at_least(Role::Admin)?;
        }
        if self.state.deleted.contains(&message.seq) {
            return Ok(vec![]);
        }
        Ok(vec![ConversationEvent::MessageDeleted(MessageDeleted {
            message: message.seq,
            by: self.by,
            reason: reason.map(|reason| Personal::new(self.by, reason.clone())),
        })])
    }

    fn reaction(&self, message: Seq, emoji: &Emoji) -> Result<Reaction, Refused> {
        self.open()?;
        self.not_deleted(message)?;
        Ok(Reaction {
            message,
            member: self.by,
            emoji: emoji.clone(),
        })
    }

    fn set_archived(&self, archived: bool) -> Decision {
        self.in_group()?;
        self.at_least(Role::Admin)?;
        let changed = ArchiveChanged { by: self.by };
        match (self.settings.archived, archived) {
            (false, true) => Ok(vec![ConversationEvent::Archived(changed)]),
            (true, false) => Ok(vec![ConversationEvent::Unarchived(changed)]),
            (true, true) | (false, false) => Ok(vec![]),
        }
    }
}

fn decide_imported(state: &State, fact: &ImportedFact) -> Decision {
    if let ImportedFact::Started {
        title,
        titled_by,
        members,
    } = fact
    {
        return start_imported(state, title, *titled_by, members);
    }
    if state.settings.is_none() {
        return Err(Refused::NotFound);
    }
    Ok(vec![match fact {
        ImportedFact::Started { .. } => return Err(Refused::AlreadyStarted),
        ImportedFact::Message {
            author,
            body,
            reply_to,
        } => {
            let body = Personal::new(*author, body.clone());
            ConversationEvent::MessageSent(MessageSent {
                author: *author,
                body,
                reply_to: *reply_to,
            })
        }
        ImportedFact::Edited { message, body } => {
            let body = Personal::new(message.author, body.clone());
            ConversationEvent::MessageEdited(MessageEdited {
                message: message.seq,
                body,
            })
        }
        ImportedFact::Reaction {
            message,
            member,
            emoji,
        } => ConversationEvent::ReactionAdded(Reaction {
            message: *message,
            member: *member,
            emoji: emoji.clone(),
        }),
    }])
}

fn start_imported(state: &State, title: &Title, titled_by: UserId, members: &[UserId]) -> Decision {
    if state.settings.is_some() {
        return Ok(vec![]);
    }
    let mut seen = BTreeSet::new();
    let members: Vec<_> = members
        .iter()
        .filter(|user| seen.insert(**user))
        .enumerate()
        .map(|(index, user)| MemberRole {
            user: *user,
            role: if index == 0 {
                Role::Owner
            } else {
                Role::Member
            },
        })
        .collect();
    if members.len() > Conversation::MEMBERS_MAX {
        return Err(Refused::TooManyMembers);
    }
    Ok(vec![ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(Personal::new(titled_by, title.clone())),
        creator: None,
        members,
        history_visibility: HistoryVisibility::Start,
    })])
}
