//! The rules of a conversation: which rule answers which command, and what the rules share. The
//! rules themselves are in the files of this folder, one for each concern.

use crate::conversation::command::{Act, Command, Contact, UserCommand};
use crate::conversation::event::{ConversationEvent, Kind, Role};
use crate::conversation::refused::Refused;
use crate::conversation::state::{Member, Settings, State};
use crate::conversation::{imported, start};
use crate::decider::Decider;
use crate::ids::{Seq, UserId, Version};

/// Decides for streams `conversation-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Conversation;

impl Conversation {
    /// The most members a conversation may have.
    pub const MEMBERS_MAX: usize = 10_000;
}

pub(super) type Decision = Result<Vec<ConversationEvent>, Refused>;

impl Decider for Conversation {
    type State = State;
    type Command = Command;
    type Event = ConversationEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "conversation";

    fn decide(state: &State, command: &Command) -> Decision {
        match command {
            Command::User(command) => decide_for_user(state, command),
            Command::Import(fact) => imported::decide(state, fact),
        }
    }

    fn evolve(state: State, version: Version, event: &ConversationEvent) -> State {
        state.evolve(version, event)
    }
}

fn decide_for_user(state: &State, command: &UserCommand) -> Decision {
    let asker = || Asker::of(command, state);
    let UserCommand { by, contact, .. } = command;
    match &command.act {
        Act::StartDirect { with } => start::direct(state, *by, *with, *contact),
        Act::StartGroup {
            title,
            members,
            history_visibility,
        } => start::group(state, *by, title, members, *history_visibility, *contact),
        Act::Rename { title } => asker()?.rename(title),
        Act::ChangeSettings { history_visibility } => asker()?.change_settings(*history_visibility),
        Act::AddMember { user, role } => asker()?.add_member(*user, *role),
        Act::RemoveMember { user } => asker()?.remove_member(*user),
        Act::Leave => asker()?.leave(),
        Act::ChangeRole { user, role } => asker()?.change_role(*user, *role),
        Act::Send(draft) => asker()?.send(draft),
        Act::Edit { message, body } => asker()?.edit(*message, body),
        Act::Delete { message, reason } => asker()?.delete(*message, reason.as_ref()),
        Act::React { message, emoji } => asker()?.react(message.seq, emoji),
        Act::Unreact { message, emoji } => asker()?.unreact(message.seq, emoji),
        Act::Archive => asker()?.set_archived(true),
        Act::Unarchive => asker()?.set_archived(false),
    }
}

/// A member who asks something of a conversation that exists.
pub(super) struct Asker<'a> {
    pub(super) by: UserId,
    /// The higher of their own and the inherited one.
    pub(super) role: Role,
    pub(super) contact: Contact,
    visible_from: Seq,
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
}

impl<'a> Asker<'a> {
    /// Who asks, as a member. Refused alike where there is no conversation and where they are not in it.
    fn of(command: &UserCommand, state: &'a State) -> Result<Self, Refused> {
        match (&state.settings, state.members.get(&command.by)) {
            (Some(settings), Some(Member { role, visible_from })) => Ok(Self {
                by: command.by,
                role: match settings.kind {
                    Kind::Group => command.inherited.map_or(*role, |least| least.max(*role)),
                    Kind::Direct => *role,
                },
                contact: command.contact,
                visible_from: *visible_from,
                settings,
                state,
            }),
            (None, _) | (_, None) => Err(Refused::NotFound),
        }
    }

    pub(super) fn in_group(&self) -> Result<(), Refused> {
        match self.settings.kind {
            Kind::Group => Ok(()),
            Kind::Direct => Err(Refused::DirectConversation),
        }
    }

    /// Who blocks the other of a direct conversation, or is blocked, says nothing there. In groups
    /// everybody speaks to all, and clients hide what their user does not want to read.
    pub(super) fn speaks(&self) -> Result<(), Refused> {
        match (self.settings.kind, self.contact) {
            (Kind::Direct, Contact::Blocked) => Err(Refused::Blocked),
            (Kind::Direct, Contact::Free) | (Kind::Group, Contact::Free | Contact::Blocked) => {
                Ok(())
            }
        }
    }

    pub(super) fn at_least(&self, role: Role) -> Result<(), Refused> {
        if self.role >= role {
            Ok(())
        } else {
            Err(Refused::RoleTooLow)
        }
    }

    pub(super) fn open(&self) -> Result<(), Refused> {
        if self.settings.archived {
            Err(Refused::Archived)
        } else {
            Ok(())
        }
    }

    /// A message that the asker may see.
    pub(super) fn visible(&self, message: Seq) -> Result<(), Refused> {
        if message < self.visible_from {
            Err(Refused::MessageNotFound)
        } else {
            Ok(())
        }
    }

    pub(super) fn not_deleted(&self, message: Seq) -> Result<(), Refused> {
        if self.state.deleted.contains(&message) {
            Err(Refused::MessageDeleted)
        } else {
            Ok(())
        }
    }

    /// What only those who run a group that is open may change.
    pub(super) fn runs_open_group(&self) -> Result<(), Refused> {
        self.in_group()?;
        self.at_least(Role::Admin)?;
        self.open()
    }
}
