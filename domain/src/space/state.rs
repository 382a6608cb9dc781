//! What the rules need to know of a space. Bounded by the most members, roles, channels, overrides,
//! bans and open invites that there may be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{CategoryId, ConversationId, InviteId, SpaceId, SpaceRoleId, UserId, Version};
use crate::space::event::{
    CategorySet, ChannelCreated, ChannelKind, ChannelMoved, ChannelRenamed, Created, InviteCreated,
    Joining, RoleSet, SpaceEvent,
};
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
    /// For whom it changed lately which channels they see.
    pub sights: Sights,
}

/// For whom it changed lately which channels they see, so that a channel that has followed until then
/// need ask of nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sights {
    /// Whom the space's event with this version, and earlier ones, concerned is forgotten.
    pub forgotten: Version,
    /// The events after it, the oldest first; at most [`Sights::REMEMBERED_MAX`].
    pub lately: Vec<Sight>,
}

/// An event after which some may see other channels than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sight {
    /// Which.
    pub version: Version,
    /// Who.
    pub users: Vec<UserId>,
}

impl Sights {
    /// The most events whose people are remembered. A channel that was not touched for longer asks of
    /// everybody once.
    pub const REMEMBERED_MAX: usize = 64;

    pub(super) fn remember(&mut self, version: Version, users: &[UserId]) {
        if self.lately.len() >= Self::REMEMBERED_MAX {
            self.forgotten = self.lately.remove(0).version;
        }
        let users = users.to_vec();
        self.lately.push(Sight { version, users });
    }

    /// Whom the events after `version` concerned; `None` where that is forgotten.
    pub(super) fn since(&self, version: Version) -> Option<BTreeSet<UserId>> {
        if version < self.forgotten {
            return None;
        }
        let later = self.lately.iter().filter(|it| it.version > version);
        Some(later.flat_map(|it| &it.users).copied().collect())
    }
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
    /// Who created it.
    pub creator: UserId,
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
    /// The event after which everybody may see it otherwise than before; not those that concern few,
    /// see [`Sights`].
    pub shown_anew: Version,
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
            sights: Sights::default(),
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

    /// Whether messages may call `role` by itself: not where there is none, and not that of everyone.
    pub fn may_be_called(&self, role: SpaceRoleId) -> bool {
        role != SpaceRoleId::everyone(self.id) && self.roles.contains_key(&role)
    }

    fn evolve(&mut self, version: Version, event: &SpaceEvent) {
        let touch = |by: UserId| Touch { version, by };
        match event {
            SpaceEvent::Created(_) => {}
            SpaceEvent::Renamed(renamed) => self.name = renamed.name.value.clone(),
            SpaceEvent::JoiningChanged(changed) => self.joining = changed.joining,
            SpaceEvent::Archived(changed) => self.set_archived(true, touch(changed.by)),
            SpaceEvent::Unarchived(changed) => self.set_archived(false, touch(changed.by)),
            SpaceEvent::ChannelCreated(created) => {
                let channel = Channel::create(version, created);
                self.channels.entry(created.channel).or_insert(channel);
            }
            SpaceEvent::ChannelRenamed(renamed) => self.rename_channel(version, renamed),
            SpaceEvent::ChannelMoved(moved) => self.move_channel(moved),
            SpaceEvent::ChannelRemoved(removed) => {
                self.channels.remove(&removed.channel);
            }
            SpaceEvent::CategoryCreated(created) => self.create_category(created),
            SpaceEvent::CategoryChanged(changed) => self.change_category(changed),
            SpaceEvent::CategoryRemoved(removed) => self.remove_category(removed.category),
            SpaceEvent::RoleDefined(defined) => {
                let role = SpaceRole::of(defined);
                self.roles.entry(defined.role).or_insert(role);
            }
            SpaceEvent::RoleChanged(changed) => self.change_role(changed, touch(changed.by)),
            SpaceEvent::RoleRemoved(removed) => {
                self.remove_role(removed.role, touch(removed.by));
            }
            SpaceEvent::OverrideSet(set) => self.set_override(set, touch(set.by)),
            SpaceEvent::RoleAssigned(given) => {
                self.concern(&[given.user], touch(given.by), |space| space.give(given));
            }
            SpaceEvent::RoleWithdrawn(given) => {
                self.concern(&[given.user], touch(given.by), |space| space.take(given));
            }
            SpaceEvent::MemberJoined(joined) => {
                let user = joined.user;
                self.concern(&[user], touch(user), |space| {
                    space.members.entry(user).or_default();
                });
            }
            SpaceEvent::MemberLeft(left) => self.put_out(left.user, touch(left.user)),
            SpaceEvent::MemberKicked(kicked) => self.put_out(kicked.user, touch(kicked.by)),
            SpaceEvent::MemberBanned(banned) => {
                self.put_out(banned.user, touch(banned.by));
                self.banned.insert(banned.user);
            }
            SpaceEvent::MemberUnbanned(unbanned) => {
                self.banned.remove(&unbanned.user);
            }
            SpaceEvent::InviteCreated(created) => self.create_invite(created),
            SpaceEvent::InviteUsed(used) => self.use_invite(used.invite),
            SpaceEvent::InviteRevoked(revoked) => {
                self.invites.remove(&revoked.invite);
            }
            SpaceEvent::OwnershipTransferred(transferred) => {
                self.transfer(transferred.to, touch(transferred.by));
            }
        }
    }

    fn rename_channel(&mut self, version: Version, renamed: &ChannelRenamed) {
        if let Some(channel) = self.channels.get_mut(&renamed.channel) {
            let by = renamed.name.of;
            channel.name = renamed.name.value.clone();
            channel.named_by = by;
            channel.touched = Touch { version, by };
        }
    }

    fn move_channel(&mut self, moved: &ChannelMoved) {
        if let Some(channel) = self.channels.get_mut(&moved.channel) {
            channel.category = moved.category;
            channel.position = moved.position;
        }
    }

    fn create_category(&mut self, created: &CategorySet) {
        let category = Category {
            name: created.name.value.clone(),
            position: created.position,
        };
        self.categories.entry(created.category).or_insert(category);
    }

    fn change_category(&mut self, changed: &CategorySet) {
        if let Some(category) = self.categories.get_mut(&changed.category) {
            category.name = changed.name.value.clone();
            category.position = changed.position;
        }
    }

    fn remove_category(&mut self, removed: CategoryId) {
        self.categories.remove(&removed);
        for channel in self.channels.values_mut() {
            channel.category = channel.category.filter(|it| *it != removed);
        }
    }

    fn create_invite(&mut self, created: &InviteCreated) {
        self.invites.retain(|_, invite| invite.is_good(created.at));
        let invite = Invite {
            hash: created.hash.clone(),
            by: created.by,
            expires_at: created.expires_at,
            uses_left: created.uses_max,
        };
        self.invites.insert(created.invite, invite);
    }

    fn use_invite(&mut self, used: InviteId) {
        if let Some(invite) = self.invites.get_mut(&used) {
            invite.uses_left = invite.uses_left.map(|left| left.saturating_sub(1));
            if invite.uses_left == Some(0) {
                self.invites.remove(&used);
            }
        }
    }
}

impl SpaceRole {
    pub(super) fn of(set: &RoleSet) -> Self {
        Self {
            name: set.name.value.clone(),
            permissions: set.permissions,
            rank: set.rank,
        }
    }
}

impl Channel {
    fn create(version: Version, created: &ChannelCreated) -> Self {
        let by = created.name.of;
        Self {
            kind: created.kind,
            creator: by,
            name: created.name.value.clone(),
            named_by: by,
            category: created.category,
            position: created.position,
            overrides: Overrides::default(),
            touched: Touch { version, by },
            shown_anew: version,
        }
    }
}
