//! The rules of a space: which rule answers which command, and what the rules share. The rules
//! themselves are in the files of this folder, one for each concern.

use crate::conversation::Role;
use crate::decider::Decider;
use crate::ids::{ConversationId, SpaceId, UserId, Version};
use crate::personal::Personal;
use crate::space::command::{Act, Command};
use crate::space::event::{
    Created, Joining, JoiningChanged, SpaceArchiveChanged, SpaceEvent, SpaceRenamed,
};
use crate::space::members;
use crate::space::permissions::{Permission, Permissions, Standing};
use crate::space::refused::Refused;
use crate::space::state::{Channel, Space, State};
use crate::values::Title;

/// Decides for streams `space-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct SpaceRules;

impl SpaceRules {
    /// The most members.
    pub const MEMBERS_MAX: usize = 10_000;

    /// The most channels, of all categories together.
    pub const CHANNELS_MAX: usize = 500;

    /// The most categories.
    pub const CATEGORIES_MAX: usize = 100;

    /// The most roles, that of everyone included.
    pub const ROLES_MAX: usize = 100;

    /// The most overrides of a channel.
    pub const OVERRIDES_MAX: usize = 100;

    /// The most members times channels: as many come and go by one change of who sees what, at the
    /// worst.
    pub const SEATS_MAX: usize = 500_000;

    /// The most invites that are open at a time.
    pub const INVITES_MAX: usize = 100;

    /// Of those, how many may be open when somebody without `manage_space` makes one: so that nobody
    /// keeps those who run the space from inviting.
    pub const INVITES_OF_MEMBERS_MAX: usize = 80;

    /// How many of one's own may be open, without `manage_space`.
    pub const INVITES_OF_ONE_MAX: usize = 10;

    /// The most people who are banned at a time.
    pub const BANS_MAX: usize = 10_000;

    /// The highest rank of a role.
    pub const RANK_MAX: u16 = 1_000;
}

pub(super) type Decision = Result<Vec<SpaceEvent>, Refused>;

impl Decider for SpaceRules {
    type State = State;
    type Command = Command;
    type Event = SpaceEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "space";

    fn decide(state: &State, command: &Command) -> Decision {
        let Command { by, act, inherited } = command;
        let asker = || Asker::of(*by, *inherited, state);
        match act {
            Act::Create {
                space,
                name,
                joining,
            } => create(state, *by, *space, name, *joining),
            Act::Rename { name } => asker()?.rename(name),
            Act::SetJoining { joining } => asker()?.set_joining(*joining),
            Act::Archive => asker()?.set_archived(true),
            Act::Unarchive => asker()?.set_archived(false),
            Act::CreateChannel { .. }
            | Act::RenameChannel { .. }
            | Act::MoveChannel { .. }
            | Act::RemoveChannel { .. }
            | Act::CreateCategory { .. }
            | Act::ChangeCategory { .. }
            | Act::RemoveCategory { .. } => asker()?.arrange(act),
            Act::SetOverride {
                channel,
                target,
                set,
                were,
            } => asker()?.set_override(*channel, *target, *set, *were),
            Act::DefineRole {
                role,
                name,
                permissions,
                rank,
            } => asker()?.define_role(*role, name, *permissions, *rank),
            Act::ChangeRole {
                role,
                name,
                permissions,
                permissions_were,
                rank,
            } => {
                let permissions = (*permissions, *permissions_were);
                asker()?.change_role(*role, name.as_ref(), permissions, *rank)
            }
            Act::RemoveRole { role } => asker()?.remove_role(*role),
            Act::AssignRole { user, role } => asker()?.assign_role(*user, *role),
            Act::WithdrawRole { user, role } => asker()?.withdraw_role(*user, *role),
            Act::CreateInvite {
                invite,
                hash,
                at,
                expires_at,
                uses_max,
            } => asker()?.create_invite(*invite, hash, *at, *expires_at, *uses_max),
            Act::RevokeInvite { invite } => asker()?.revoke_invite(*invite),
            Act::Join => members::join(state, *by),
            Act::UseInvite { hash, at } => members::use_invite(state, *by, hash, *at),
            Act::Leave => asker()?.leave(),
            Act::Kick { user } => asker()?.kick(*user),
            Act::Ban { user, reason } => asker()?.ban(*user, reason.as_ref()),
            Act::Unban { user } => asker()?.unban(*user),
            Act::Transfer { to } => asker()?.transfer(*to),
        }
    }

    fn evolve(state: State, version: Version, event: &SpaceEvent) -> State {
        state.evolve(version, event)
    }
}

/// A space's id is derived from the command that creates it, so whoever finds theirs there has asked
/// before, however long ago.
fn create(state: &State, by: UserId, space: SpaceId, name: &Title, joining: Joining) -> Decision {
    match &state.space {
        Some(there) if there.members.contains_key(&by) => Ok(vec![]),
        Some(_) => Err(Refused::AlreadyMade),
        None => Ok(vec![SpaceEvent::Created(Created {
            space,
            name: Personal::new(by, name.clone()),
            owner: by,
            joining,
            everyone: Permissions::OF_EVERYONE,
        })]),
    }
}

/// A member who asks something of a space that exists.
pub(super) struct Asker<'a> {
    pub(super) by: UserId,
    pub(super) standing: Standing,
    /// What they may in the space.
    pub(super) held: Permissions,
    inherited: Option<Role>,
    pub(super) space: &'a Space,
}

impl<'a> Asker<'a> {
    /// Who asks, as a member. Refused alike where there is no space and where they are not in it.
    fn of(by: UserId, inherited: Option<Role>, state: &'a State) -> Result<Self, Refused> {
        let space = state.space.as_ref().ok_or(Refused::NotFound)?;
        if !space.members.contains_key(&by) {
            return Err(Refused::NotFound);
        }
        Ok(Self {
            by,
            standing: space.standing(by, inherited),
            held: space.permissions(by, None, inherited),
            inherited,
            space,
        })
    }

    pub(super) fn needs(&self, permission: Permission) -> Result<(), Refused> {
        if self.held.has(permission) {
            Ok(())
        } else {
            Err(Refused::PermissionMissing(permission))
        }
    }

    /// What they may in `channel`.
    pub(super) fn held_in(&self, channel: ConversationId) -> Permissions {
        let Self { by, inherited, .. } = *self;
        self.space.permissions(by, Some(channel), inherited)
    }

    /// A channel that they see.
    pub(super) fn channel(&self, channel: ConversationId) -> Result<&'a Channel, Refused> {
        let seen = self.held_in(channel).has(Permission::ViewChannel);
        let found = self.space.channels.get(&channel).filter(|_| seen);
        found.ok_or(Refused::ChannelNotFound)
    }

    pub(super) fn open(&self) -> Result<(), Refused> {
        if self.space.archived {
            Err(Refused::Archived)
        } else {
            Ok(())
        }
    }

    /// Whether they stand above `standing`. Two owners, of the space and of the server, stand alike.
    pub(super) fn above(&self, standing: Standing) -> Result<(), Refused> {
        if self.standing > standing {
            Ok(())
        } else {
            Err(Refused::RankTooLow)
        }
    }

    /// Whether they stand above `user`, whose role on the whole server does not protect them.
    pub(super) fn above_member(&self, user: UserId) -> Result<(), Refused> {
        self.above(self.space.standing(user, None))
    }

    fn rename(&self, name: &Title) -> Decision {
        self.needs(Permission::ManageSpace)?;
        self.open()?;
        if self.space.name == *name {
            return Ok(vec![]);
        }
        let name = Personal::new(self.by, name.clone());
        Ok(vec![SpaceEvent::Renamed(SpaceRenamed { name })])
    }

    fn set_joining(&self, joining: Joining) -> Decision {
        self.needs(Permission::ManageSpace)?;
        self.open()?;
        if self.space.joining == joining {
            return Ok(vec![]);
        }
        let by = self.by;
        Ok(vec![SpaceEvent::JoiningChanged(JoiningChanged {
            joining,
            by,
        })])
    }

    fn set_archived(&self, archived: bool) -> Decision {
        self.needs(Permission::ManageSpace)?;
        let changed = SpaceArchiveChanged { by: self.by };
        match (self.space.archived, archived) {
            (false, true) => Ok(vec![SpaceEvent::Archived(changed)]),
            (true, false) => Ok(vec![SpaceEvent::Unarchived(changed)]),
            (true, true) | (false, false) => Ok(vec![]),
        }
    }
}
