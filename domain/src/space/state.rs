//! What the rules need to know of a space. Bounded by the most members, roles, channels, overrides,
//! bans and open invites that there may be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{CategoryId, ConversationId, InviteId, SpaceId, SpaceRoleId, UserId, Version};
use crate::space::event::{ChannelCreated, ChannelKind, Created, Joining, SpaceEvent};
use crate::space::permissions::Permissions;
use crate::values::Title;

/// The state of a space's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// Version of the stream; 0 while nobody has created it.
    pub version: Version,
    /// Set once created.
    pub space: Option<Space>,
}

/// A space that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Space {
    /// Which.
    pub id: SpaceId,
    /// What it is called.
    pub name: Title,
    /// Whose it is; a member.
    pub owner: UserId,
    /// How people come in.
    pub joining: Joining,
    /// Whether it is closed for now, with all its channels.
    pub archived: bool,
    /// Who is in it.
    pub members: BTreeMap<UserId, Member>,
    /// Its roles, that of everyone included.
    pub roles: BTreeMap<SpaceRoleId, SpaceRole>,
    /// What channels are put together under.
    pub categories: BTreeMap<CategoryId, Category>,
    /// Its channels.
    pub channels: BTreeMap<ConversationId, Channel>,
    /// Who may not come in.
    pub banned: BTreeSet<UserId>,
    /// Invites that were good when one was made last.
    pub invites: BTreeMap<InviteId, Invite>,
}

/// Somebody who is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The roles they were given, without that of everyone.
    pub roles: BTreeSet<SpaceRoleId>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceRole {
    /// What it is called.
    pub name: Title,
    /// What it gives.
    pub permissions: Permissions,
    /// How high it stands; 0 for that of everyone.
    pub rank: u16,
}

/// What channels are put together under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    /// What it is called.
    pub name: Title,
    /// Where it stands among the others.
    pub position: u16,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Text or voice.
    pub kind: ChannelKind,
    /// What it is called.
    pub name: Title,
    /// Who named it.
    pub named_by: UserId,
    /// Under what it stands.
    pub category: Option<CategoryId>,
    /// Where it stands there.
    pub position: u16,
    /// What is otherwise in it than in the space.
    pub overrides: Overrides,
    /// When what it is as a conversation changed last: who sees it, its name, whether it is closed.
    pub touched: Touch,
}

/// The overrides of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overrides {
    /// Of roles, that of everyone included.
    pub roles: BTreeMap<SpaceRoleId, Override>,
    /// Of members, and of who was one.
    pub members: BTreeMap<UserId, Override>,
}

/// What is allowed and denied in a channel, whatever is so in the space. Nothing is both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// What is allowed.
    pub allow: Permissions,
    /// What is denied.
    pub deny: Permissions,
}

/// The event of the space that changed a channel last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Touch {
    /// Which.
    pub version: Version,
    /// Who made it.
    pub by: UserId,
}

/// An invite that may still be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// Of its code.
    pub hash: String,
    /// Who made it.
    pub by: UserId,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// How many may still come in by it.
    pub uses_left: Option<u32>,
}

impl Override {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl Overrides {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.roles.len() + self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.members.is_empty()
    }
}

impl Invite {
    /// Whether somebody may come in by it at `at`.
    pub fn is_good(&self, at: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| end > at) && self.uses_left != Some(0)
    }
}

impl State {
    /// Folds `event`. One that is redundant changes nothing but the version.
    pub(super) fn evolve(mut self, version: Version, event: &SpaceEvent) -> Self {
        self.version = version;
        match (&mut self.space, event) {
            (None, SpaceEvent::Created(created)) => self.space = Some(Space::create(created)),
            (Some(_), SpaceEvent::Created(_)) | (None, _) => {}
            (Some(space), event) => space.evolve(version, event),
        }
        self
    }
}

impl Space {
    fn create(created: &Created) -> Self {
        let everyone = SpaceRole {
            name: Title::everyone(),
            permissions: created.everyone,
            rank: 0,
        };
        Self {
            id: created.space,
            name: created.name.value.clone(),
            owner: created.owner,
            joining: created.joining,
            archived: false,
            members: [(created.owner, Member::default())].into(),
            roles: [(SpaceRoleId::everyone(created.space), everyone)].into(),
            categories: BTreeMap::new(),
            channels: BTreeMap::new(),
            banned: BTreeSet::new(),
            invites: BTreeMap::new(),
        }
    }

    /// The roles that `user` has, that of everyone first; none of who is not in.
    pub fn roles_of(&self, user: UserId) -> impl Iterator<Item = (SpaceRoleId, &SpaceRole)> {
        let member = self.members.get(&user);
        let everyone = member.map(|_| SpaceRoleId::everyone(self.id));
        let given = member.into_iter().flat_map(|member| &member.roles).copied();
        let held = everyone.into_iter().chain(given);
        held.filter_map(|id| Some((id, self.roles.get(&id)?)))
    }

    fn evolve(&mut self, version: Version, event: &SpaceEvent) {
        match event {
            SpaceEvent::Created(_) => {}
            SpaceEvent::Renamed(renamed) => self.name = renamed.name.value.clone(),
            SpaceEvent::JoiningChanged(changed) => self.joining = changed.joining,
            SpaceEvent::ChannelCreated(_)
            | SpaceEvent::ChannelRenamed(_)
            | SpaceEvent::ChannelMoved(_)
            | SpaceEvent::ChannelRemoved(_)
            | SpaceEvent::CategoryCreated(_)
            | SpaceEvent::CategoryChanged(_)
            | SpaceEvent::CategoryRemoved(_) => self.arrange(version, event),
            SpaceEvent::InviteCreated(created) => {
                self.invites.retain(|_, invite| invite.is_good(created.at));
                let invite = Invite {
                    hash: created.hash.clone(),
                    by: created.by,
                    expires_at: created.expires_at,
                    uses_left: created.uses_max,
                };
                self.invites.insert(created.invite, invite);
            }
            SpaceEvent::InviteUsed(used) => {
                if let Some(invite) = self.invites.get_mut(&used.invite) {
                    invite.uses_left = invite.uses_left.map(|left| left.saturating_sub(1));
                    if invite.uses_left == Some(0) {
                        self.invites.remove(&used.invite);
                    }
                }
            }
            SpaceEvent::InviteRevoked(revoked) => {
                self.invites.remove(&revoked.invite);
            }
            SpaceEvent::MemberUnbanned(unbanned) => {
                self.banned.remove(&unbanned.user);
            }
            SpaceEvent::RoleDefined(defined) => {
                let role = SpaceRole {
                    name: defined.name.value.clone(),
                    permissions: defined.permissions,
                    rank: defined.rank,
                };
                self.roles.entry(defined.role).or_insert(role);
            }
            SpaceEvent::Archived(_)
            | SpaceEvent::Unarchived(_)
            | SpaceEvent::RoleChanged(_)
            | SpaceEvent::RoleRemoved(_)
            | SpaceEvent::RoleAssigned(_)
            | SpaceEvent::RoleWithdrawn(_)
            | SpaceEvent::OverrideSet(_)
            | SpaceEvent::MemberJoined(_)
            | SpaceEvent::MemberLeft(_)
            | SpaceEvent::MemberKicked(_)
            | SpaceEvent::MemberBanned(_)
            | SpaceEvent::OwnershipTransferred(_) => self.evolve_sight(version, event),
        }
    }

    /// Folds what changes channels and categories.
    fn arrange(&mut self, version: Version, event: &SpaceEvent) {
        match event {
            SpaceEvent::ChannelCreated(created) => {
                let channel = Channel::create(version, created);
                self.channels.entry(created.channel).or_insert(channel);
            }
            SpaceEvent::ChannelRenamed(renamed) => {
                if let Some(channel) = self.channels.get_mut(&renamed.channel) {
                    channel.name = renamed.name.value.clone();
                    channel.named_by = renamed.name.of;
                    let by = renamed.name.of;
                    channel.touched = Touch { version, by };
                }
            }
            SpaceEvent::ChannelMoved(moved) => {
                if let Some(channel) = self.channels.get_mut(&moved.channel) {
                    channel.category = moved.category;
                    channel.position = moved.position;
                }
            }
            SpaceEvent::ChannelRemoved(removed) => {
                self.channels.remove(&removed.channel);
            }
            SpaceEvent::CategoryCreated(created) => {
                let category = Category {
                    name: created.name.value.clone(),
                    position: created.position,
                };
                self.categories.entry(created.category).or_insert(category);
            }
            SpaceEvent::CategoryChanged(changed) => {
                if let Some(category) = self.categories.get_mut(&changed.category) {
                    category.name = changed.name.value.clone();
                    category.position = changed.position;
                }
            }
            SpaceEvent::CategoryRemoved(removed) => {
                self.categories.remove(&removed.category);
                for channel in self.channels.values_mut() {
                    if channel.category == Some(removed.category) {
                        channel.category = None;
                    }
                }
            }
            other => debug_assert!(false, "{other:?} arranges nothing"),
        }
    }
}

impl Channel {
    fn create(version: Version, created: &ChannelCreated) -> Self {
        let by = created.name.of;
        Self {
            kind: created.kind,
            name: created.name.value.clone(),
            named_by: by,
            category: created.category,
            position: created.position,
            overrides: Overrides::default(),
            touched: Touch { version, by },
        }
    }
}
