//! What somebody may do in a space and in one of its channels, and why: one function answers both.
//!
//! The owner may everything, and so may who has a role with `administrator`. For everybody else what
//! their roles give is put together, the role of everyone included. In a channel its overrides follow,
//! each step over the one before: first that of everyone, then those of the other roles, of which what
//! one allows counts more than what another denies, then that of the member. Who does not see a channel
//! may nothing there.
//!
//! A role on the whole server is worth everything in the spaces that its holder is a member of, except
//! two things: it shows no channel, and it is not `administrator`, which would.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::conversation::Role;
use crate::ids::{ConversationId, SpaceRoleId, UserId};
use crate::space::state::{Channel, Override, Space};

/// Something that one may do. The order is that of lists.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See a channel and read it.
    ViewChannel,
    /// Write, and edit what one wrote.
    SendMessages,
    /// Add reactions.
    AddReactions,
    /// Attach files.
    AttachFiles,
    /// Call everyone, everyone who is there, or a role.
    MentionEveryone,
    /// Pin and unpin.
    PinMessages,
    /// Delete what others wrote, and write without waiting in slow mode.
    ManageMessages,
    /// Come into a voice channel.
    Connect,
    /// Be heard there.
    Speak,
    /// Make, change and remove channels and categories.
    ManageChannels,
    /// Invite people.
    CreateInvites,
    /// Put members out, who may come back.
    KickMembers,
    /// Put people out for good, and let them come back.
    BanMembers,
    /// Make, change, remove, give and take roles below one's own, and set overrides.
    ManageRoles,
    /// Rename the space, say how people join, archive it, and see and revoke all invites.
    ManageSpace,
    /// Everything, in every channel, whatever its overrides say.
    Administrator,
}

impl Permission {
    /// All there are.
    pub const ALL: [Self; 16] = [
        Self::ViewChannel,
        Self::SendMessages,
        Self::AddReactions,
        Self::AttachFiles,
        Self::MentionEveryone,
        Self::PinMessages,
        Self::ManageMessages,
        Self::Connect,
        Self::Speak,
        Self::ManageChannels,
        Self::CreateInvites,
        Self::KickMembers,
        Self::BanMembers,
        Self::ManageRoles,
        Self::ManageSpace,
        Self::Administrator,
    ];

    /// Its name, as it is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewChannel => "view_channel",
            Self::SendMessages => "send_messages",
            Self::AddReactions => "add_reactions",
            Self::AttachFiles => "attach_files",
            Self::MentionEveryone => "mention_everyone",
            Self::PinMessages => "pin_messages",
            Self::ManageMessages => "manage_messages",
            Self::Connect => "connect",
            Self::Speak => "speak",
            Self::ManageChannels => "manage_channels",
            Self::CreateInvites => "create_invites",
            Self::KickMembers => "kick_members",
            Self::BanMembers => "ban_members",
            Self::ManageRoles => "manage_roles",
            Self::ManageSpace => "manage_space",
            Self::Administrator => "administrator",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of permissions; stored and sent as a list of names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = Vec<Permission>)]
pub struct Permissions(u32);

impl Permissions {
    /// None.
    pub const NONE: Self = Self(0);

    /// All there are.
    pub const ALL: Self = Self::of(&Permission::ALL);

    /// Those that mean something in a channel, which overrides are about.
    pub const OF_CHANNELS: Self = Self::of(&[
        Permission::ViewChannel,
        Permission::SendMessages,
        Permission::AddReactions,
        Permission::AttachFiles,
        Permission::MentionEveryone,
        Permission::PinMessages,
        Permission::ManageMessages,
        Permission::Connect,
        Permission::Speak,
        Permission::ManageChannels,
    ]);

    /// What everyone may in a new space.
    pub const OF_EVERYONE: Self = Self::of(&[
        Permission::ViewChannel,
        Permission::SendMessages,
        Permission::AddReactions,
        Permission::AttachFiles,
        Permission::Connect,
        Permission::Speak,
        Permission::CreateInvites,
    ]);

    /// What a role on the whole server is worth.
    pub const INHERITED: Self = Self::ALL.without(Self::of(&[
        Permission::ViewChannel,
        Permission::Administrator,
    ]));

    /// What lets somebody see a channel.
    pub(super) const SHOWING: Self =
        Self::of(&[Permission::ViewChannel, Permission::Administrator]);

    /// Exactly these.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= permissions[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether `permission` is among them.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of `others` are among them.
    pub const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and `others`.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These, but none of `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are among both.
    #[must_use]
    pub const fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are among one of the two only.
    #[must_use]
    pub const fn differing(self, others: Self) -> Self {
        Self(self.0 ^ others.0)
    }

    /// One by one, in the order of lists.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .into_iter()
            .filter(move |permission| self.has(*permission))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let bits = permissions.into_iter().map(Permission::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Permission>::deserialize(deserializer).map(Self::from_iter)
    }
}

/// How high somebody stands in a space. Nobody acts upon who stands as high as they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The highest rank of their roles; 0 without any.
    Member(u16),
    /// They run the server: above all ranks.
    Server,
    /// The owner, or who owns the server.
    Owner,
}

/// What decided whether somebody has a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Because {
    /// They are not in the space.
    NotAMember,
    /// No role of theirs gives it.
    NotGiven,
    /// They own the space.
    Owner,
    /// A role gives it; that of everyone has the id of the space.
    Role {
        /// Which.
        role: SpaceRoleId,
    },
    /// A role has `administrator`.
    Administrator {
        /// Which.
        role: SpaceRoleId,
    },
    /// The channel's override of a role allows or denies it.
    RoleOverride {
        /// Of which role.
        role: SpaceRoleId,
    },
    /// The channel's override of the member allows or denies it.
    MemberOverride,
    /// Their role on the whole server.
    ServerRole {
        /// What that is worth.
        role: Role,
    },
    /// They do not see the channel, and so may nothing there.
    ChannelNotSeen,
}

/// A permission, whether somebody has it, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explained {
    /// Which.
    pub permission: Permission,
    /// Whether they have it.
    pub allowed: bool,
    /// Why.
    pub because: Because,
}

impl Space {
    /// What `user` may do in the space, or in one of its channels; nothing in a channel that there is
    /// not. `inherited` is what their role on the whole server is worth; see [`Role::inherited_by`].
    pub fn permissions(
        &self,
        user: UserId,
        channel: Option<ConversationId>,
        inherited: Option<Role>,
    ) -> Permissions {
        match channel {
            None => self.weigh(user, None, inherited, &mut |_, _| {}),
            Some(channel) => self.channels.get(&channel).map_or(Permissions::NONE, |it| {
                self.weigh(user, Some(it), inherited, &mut |_, _| {})
            }),
        }
    }

    /// The same with what decided each: of the space all, of a channel those that mean something there.
    /// `None` of a channel that there is not.
    pub fn explain(
        &self,
        user: UserId,
        channel: Option<ConversationId>,
        inherited: Option<Role>,
    ) -> Option<Vec<Explained>> {
        let channel = match channel {
            None => None,
            Some(channel) => Some(self.channels.get(&channel)?),
        };
        let mut reasons = [Because::NotGiven; Permission::ALL.len()];
        let mut note = |decided: Permissions, because| {
            for permission in decided.iter() {
                reasons[permission as usize] = because;
            }
        };
        let held = self.weigh(user, channel, inherited, &mut note);
        let scope = channel.map_or(Permissions::ALL, |_| Permissions::OF_CHANNELS);
        let explained = scope.iter().map(|permission| Explained {
            permission,
            allowed: held.has(permission),
            because: reasons[permission as usize],
        });
        Some(explained.collect())
    }

    /// Whether `user` sees `channel`. A role on the whole server does not matter.
    pub(super) fn sees(&self, user: UserId, channel: &Channel) -> bool {
        self.weigh(user, Some(channel), None, &mut |_, _| {})
            .has(Permission::ViewChannel)
    }

    /// How high `user` stands; who is not in stands lowest.
    pub fn standing(&self, user: UserId, inherited: Option<Role>) -> Standing {
        if self.owner == user {
            return Standing::Owner;
        }
        match inherited {
            Some(Role::Owner) => Standing::Owner,
            Some(Role::Admin) => Standing::Server,
            Some(Role::Member) | None => {
                let ranks = self.roles_of(user).map(|(_, role)| role.rank);
                Standing::Member(ranks.max().unwrap_or(0))
            }
        }
    }

    /// The one place where it is decided. `note` is told what decides which permissions; of several the
    /// last.
    fn weigh(
        &self,
        user: UserId,
        channel: Option<&Channel>,
        inherited: Option<Role>,
        note: &mut impl FnMut(Permissions, Because),
    ) -> Permissions {
        let scope = channel.map_or(Permissions::ALL, |_| Permissions::OF_CHANNELS);
        if !self.members.contains_key(&user) {
            note(scope, Because::NotAMember);
            return Permissions::NONE;
        }
        if self.owner == user {
            note(scope, Because::Owner);
            return scope;
        }
        let mut held = Permissions::NONE;
        for (id, role) in self.roles_of(user) {
            held = held.with(role.permissions);
            note(role.permissions, Because::Role { role: id });
            if role.permissions.has(Permission::Administrator) {
                note(scope, Because::Administrator { role: id });
                return scope;
            }
        }
        if let Some(channel) = channel {
            held = self.overridden(user, channel, held, note).both(scope);
        }
        if let Some(role) = inherited {
            let worth = Permissions::INHERITED.both(scope);
            note(worth.without(held), Because::ServerRole { role });
            held = held.with(worth);
        }
        if channel.is_some() && !held.has(Permission::ViewChannel) {
            let rest = scope.without(Permissions::of(&[Permission::ViewChannel]));
            note(rest, Because::ChannelNotSeen);
            return Permissions::NONE;
        }
        held
    }

    fn overridden(
        &self,
        user: UserId,
        channel: &Channel,
        held: Permissions,
        note: &mut impl FnMut(Permissions, Because),
    ) -> Permissions {
        let everyone = SpaceRoleId::everyone(self.id);
        let of_role = |id: SpaceRoleId| channel.overrides.roles.get(&id);
        let mut apply = |held: Permissions, it: &Override, because| {
            note(it.deny, because);
            note(it.allow, because);
            held.without(it.deny).with(it.allow)
        };
        let mut held = held;
        if let Some(it) = of_role(everyone) {
            held = apply(held, it, Because::RoleOverride { role: everyone });
        }
        let others = || {
            let roles = self.roles_of(user).filter(|(id, _)| *id != everyone);
            roles.filter_map(|(id, _)| Some((id, of_role(id)?)))
        };
        for (role, it) in others() {
            let denies = Override {
                allow: Permissions::NONE,
                deny: it.deny,
            };
            held = apply(held, &denies, Because::RoleOverride { role });
        }
        for (role, it) in others() {
            let allows = Override {
                allow: it.allow,
                deny: Permissions::NONE,
            };
            held = apply(held, &allows, Because::RoleOverride { role });
        }
        match channel.overrides.members.get(&user) {
            None => held,
            Some(it) => apply(held, it, Because::MemberOverride),
        }
    }
}
