//! The rules of a conversation: which rule answers which command, and what the rules share. The
//! rules themselves are in the files of this folder, one for each concern.

use chrono::{DateTime, Utc};

use crate::conversation::command::{Act, Allowed, Command, Contact, UserCommand};
use crate::conversation::event::{ConversationEvent, Kind, Role};
use crate::conversation::refused::Refused;
use crate::conversation::state::{Settings, State};
use crate::conversation::{channel, imported, start};
use crate::decider::Decider;
use crate::ids::{Seq, UserId, Version};

/// Decides for streams `conversation-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Conversation;

impl Conversation {
    /// The most members a conversation may have.
    pub const MEMBERS_MAX: usize = 10_000;

    /// The longest wait between two messages of a member in slow mode, in seconds.
    pub const SLOW_MODE_S_MAX: u32 = 6 * 60 * 60;

    /// The most messages that are pinned in a conversation at a time.
    pub const PINS_MAX: usize = 50;

    /// The most files that come with a message.
    pub const ATTACHMENTS_MAX: usize = 10;
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
            Command::Follow(now) => channel::follow(state, now),
        }
    }

    fn evolve(state: State, version: Version, event: &ConversationEvent) -> State {
        state.evolve(version, event)
    }
}

fn decide_for_user(state: &State, command: &UserCommand) -> Decision {
    let UserCommand {
        by,
        contact,
        inherited,
        allowed,
        ..
    } = command;
    let asker = || {
        let asker = Asker::of(*by, *contact, *inherited, state)?;
        let allowed = allowed.clone();
        Ok(Asker { allowed, ..asker })
    };
    match &command.act {
        Act::StartDirect { with } => start::direct(state, *by, *with, *contact),
        Act::StartGroup {
            title,
            members,
            history_visibility,
        } => start::group(state, *by, title, members, *history_visibility, *contact),
        Act::Rename { title } => asker()?.rename(title),
        Act::ChangeSettings(change) => asker()?.change_settings(*change),
        Act::AddMember { user, role } => asker()?.add_member(*user, *role),
        Act::RemoveMember { user } => asker()?.remove_member(*user),
        Act::Leave => asker()?.leave(),
        Act::ChangeRole { user, role } => asker()?.change_role(*user, *role),
        Act::Send(draft) => asker()?.send(draft),
        Act::Edit {
            message,
            content,
            attachments,
        } => asker()?.edit(*message, content, attachments.as_deref()),
        Act::Delete { message, reason } => asker()?.delete(*message, reason.as_ref()),
        Act::React { message, emoji } => asker()?.react(message.seq, emoji),
        Act::Unreact { message, emoji } => asker()?.unreact(message.seq, emoji),
        Act::Pin { message } => asker()?.pin(message.seq),
        Act::Unpin { message } => asker()?.unpin(message.seq),
        Act::FollowThread { root } => asker()?.follow(*root),
        Act::UnfollowThread { root } => asker()?.unfollow(*root),
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
    /// What they may in a channel.
    pub(super) allowed: Allowed,
    visible_from: Seq,
    pub(super) last_sent_at: Option<DateTime<Utc>>,
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
}

impl<'a> Asker<'a> {
    /// Who asks, as a member. Refused alike where there is no conversation and where they are not in it.
    pub(super) fn of(
        by: UserId,
        contact: Contact,
        inherited: Option<Role>,
        state: &'a State,
    ) -> Result<Self, Refused> {
        match (&state.settings, state.members.get(&by)) {
            (Some(settings), Some(member)) => Ok(Self {
                by,
                role: match settings.kind {
                    Kind::Group => inherited.map_or(member.role, |least| least.max(member.role)),
                    Kind::Direct | Kind::Channel => member.role,
                },
                contact,
                allowed: Allowed::default(),
                visible_from: member.visible_from,
                last_sent_at: member.last_sent_at,
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
            Kind::Channel => Err(Refused::RunBySpace),
        }
    }

    /// Who blocks the other of a direct conversation, or is blocked, says nothing there. In groups
    /// everybody speaks to all, and clients hide what their user does not want to read.
    pub(super) fn speaks(&self) -> Result<(), Refused> {
        match (self.settings.kind, self.contact) {
            (Kind::Direct, Contact::Blocked) => Err(Refused::Blocked),
            (Kind::Direct, Contact::Free)
            | (Kind::Group | Kind::Channel, Contact::Free | Contact::Blocked) => Ok(()),
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
