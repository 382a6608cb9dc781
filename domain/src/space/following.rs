//! What channels are as conversations: who is in them, what they are called, whether they are closed;
//! and since which event of the space. A channel's own stream follows that, see
//! [`crate::conversation::ChannelNow`].
//!
//! The version at which a channel was touched last changes with who sees it, and with nothing else of
//! the space. Whoever has followed that version is in step, and what comes with an older one is late.

use std::collections::BTreeSet;

use crate::conversation::ChannelNow;
use crate::ids::{ConversationId, UserId, Version};
use crate::space::command::Target;
use crate::space::event::SpaceEvent;
use crate::space::permissions::{Permission, Permissions};
use crate::space::state::{Override, Space, SpaceRole, State, Touch};

impl State {
    /// What `channel` is now. One that there is not, or not any more, is closed and nobody is in it.
    /// `None` where there is no space.
    pub fn channel_now(&self, channel: ConversationId, remover: UserId) -> Option<ChannelNow> {
        let space = self.space.as_ref()?;
        Some(match space.channels.get(&channel) {
            Some(there) => ChannelNow {
                space: space.id,
                kind: there.kind,
                version: there.touched.version,
                by: there.touched.by,
                title: Some((there.named_by, there.name.clone())),
                members: space.viewers(channel),
                archived: space.archived,
            },
            None => ChannelNow::gone(space.id, self.version, remover),
        })
    }

    /// The channels that were touched at `since` or later.
    pub fn touched_since(&self, since: Version) -> impl Iterator<Item = ConversationId> {
        let channels = self.space.iter().flat_map(|space| &space.channels);
        let touched = channels.filter(move |(_, channel)| channel.touched.version >= since);
        touched.map(|(id, _)| *id)
    }
}

impl Space {
    /// Who sees `channel`.
    pub fn viewers(&self, channel: ConversationId) -> BTreeSet<UserId> {
        let Some(channel) = self.channels.get(&channel) else {
            return BTreeSet::new();
        };
        let members = self.members.keys().copied();
        members.filter(|user| self.sees(*user, channel)).collect()
    }

    /// The channels that one of `users` sees, each with who of them.
    fn sights(&self, users: &[UserId]) -> Vec<(ConversationId, Vec<bool>)> {
        let channels = self.channels.iter();
        channels
            .map(|(id, channel)| {
                let seen = users.iter().map(|user| self.sees(*user, channel));
                (*id, seen.collect())
            })
            .collect()
    }

    /// Folds what may change who sees a channel.
    pub(super) fn evolve_sight(&mut self, version: Version, event: &SpaceEvent) {
        match event {
            SpaceEvent::Archived(changed) => {
                self.archived = true;
                self.touch_all(version, changed.by);
            }
            SpaceEvent::Unarchived(changed) => {
                self.archived = false;
                self.touch_all(version, changed.by);
            }
            SpaceEvent::RoleChanged(changed) => {
                let role = SpaceRole {
                    name: changed.name.value.clone(),
                    permissions: changed.permissions,
                    rank: changed.rank,
                };
                let Some(there) = self.roles.get_mut(&changed.role) else {
                    return;
                };
                let differ = there.permissions.differing(role.permissions);
                *there = role;
                if shows(differ) {
                    self.touch_all(version, changed.by);
                }
            }
            SpaceEvent::RoleRemoved(removed) => {
                let Some(role) = self.roles.remove(&removed.role) else {
                    return;
                };
                for member in self.members.values_mut() {
                    member.roles.remove(&removed.role);
                }
                let by = removed.by;
                for channel in self.channels.values_mut() {
                    let gone = channel.overrides.roles.remove(&removed.role);
                    let differ = gone.map_or(Permissions::NONE, |it| it.allow.with(it.deny));
                    if shows(differ.with(role.permissions)) {
                        channel.touched = Touch { version, by };
                    }
                }
            }
            SpaceEvent::OverrideSet(set) => {
                let Some(channel) = self.channels.get_mut(&set.channel) else {
                    return;
                };
                let (allow, deny) = (set.allow, set.deny);
                let it = Override { allow, deny };
                let is = (!it.is_empty()).then_some(it);
                let before = match set.target {
                    Target::Role(role) => replace(&mut channel.overrides.roles, role, is),
                    Target::Member(user) => replace(&mut channel.overrides.members, user, is),
                };
                let before = before.unwrap_or_default();
                let differ = allow
                    .differing(before.allow)
                    .with(deny.differing(before.deny));
                if differ.has(Permission::ViewChannel) {
                    channel.touched = Touch {
                        version,
                        by: set.by,
                    };
                }
            }
            other => {
                if let Some((users, by)) = concerned(other, self.owner) {
                    let before = self.sights(&users);
                    self.evolve_people(other);
                    self.touch_differing(&users, &before, Touch { version, by });
                }
            }
        }
    }

    /// Folds what concerns few people.
    fn evolve_people(&mut self, event: &SpaceEvent) {
        match event {
            SpaceEvent::RoleAssigned(given) => {
                let is_role = self.roles.contains_key(&given.role);
                if let Some(member) = self.members.get_mut(&given.user).filter(|_| is_role) {
                    member.roles.insert(given.role);
                }
            }
            SpaceEvent::RoleWithdrawn(given) => {
                if let Some(member) = self.members.get_mut(&given.user) {
                    member.roles.remove(&given.role);
                }
            }
            SpaceEvent::MemberJoined(joined) => {
                self.members.entry(joined.user).or_default();
            }
            SpaceEvent::MemberLeft(left) => self.put_out(left.user),
            SpaceEvent::MemberKicked(kicked) => self.put_out(kicked.user),
            SpaceEvent::MemberBanned(banned) => {
                self.put_out(banned.user);
                self.banned.insert(banned.user);
            }
            SpaceEvent::OwnershipTransferred(transferred) => {
                if self.members.contains_key(&transferred.to) {
                    self.owner = transferred.to;
                }
            }
            other => debug_assert!(false, "{other:?} concerns nobody"),
        }
    }

    /// The owner stays, whatever the log says.
    fn put_out(&mut self, user: UserId) {
        if user != self.owner {
            self.members.remove(&user);
        }
    }

    fn touch_all(&mut self, version: Version, by: UserId) {
        for channel in self.channels.values_mut() {
            channel.touched = Touch { version, by };
        }
    }

    fn touch_differing(
        &mut self,
        users: &[UserId],
        before: &[(ConversationId, Vec<bool>)],
        touch: Touch,
    ) {
        for ((id, was), (_, is)) in before.iter().zip(self.sights(users)) {
            if *was != is
                && let Some(channel) = self.channels.get_mut(id)
            {
                channel.touched = touch;
            }
        }
    }
}

/// Whose sight an event may change, and who made it.
fn concerned(event: &SpaceEvent, owner: UserId) -> Option<(Vec<UserId>, UserId)> {
    match event {
        SpaceEvent::RoleAssigned(given) | SpaceEvent::RoleWithdrawn(given) => {
            Some((vec![given.user], given.by))
        }
        SpaceEvent::MemberJoined(joined) => Some((vec![joined.user], joined.user)),
        SpaceEvent::MemberLeft(left) => Some((vec![left.user], left.user)),
        SpaceEvent::MemberKicked(kicked) => Some((vec![kicked.user], kicked.by)),
        SpaceEvent::MemberBanned(banned) => Some((vec![banned.user], banned.by)),
        SpaceEvent::OwnershipTransferred(it) => Some((vec![owner, it.to], it.by)),
        SpaceEvent::Created(_)
        | SpaceEvent::Renamed(_)
        | SpaceEvent::JoiningChanged(_)
        | SpaceEvent::Archived(_)
        | SpaceEvent::Unarchived(_)
        | SpaceEvent::ChannelCreated(_)
        | SpaceEvent::ChannelRenamed(_)
        | SpaceEvent::ChannelMoved(_)
        | SpaceEvent::ChannelRemoved(_)
        | SpaceEvent::CategoryCreated(_)
        | SpaceEvent::CategoryChanged(_)
        | SpaceEvent::CategoryRemoved(_)
        | SpaceEvent::RoleDefined(_)
        | SpaceEvent::RoleChanged(_)
        | SpaceEvent::RoleRemoved(_)
        | SpaceEvent::OverrideSet(_)
        | SpaceEvent::MemberUnbanned(_)
        | SpaceEvent::InviteCreated(_)
        | SpaceEvent::InviteUsed(_)
        | SpaceEvent::InviteRevoked(_) => None,
    }
}

const fn shows(permissions: Permissions) -> bool {
    !permissions.both(Permissions::SHOWING).is_empty()
}

fn replace<K: Ord>(
    overrides: &mut std::collections::BTreeMap<K, Override>,
    key: K,
    is: Option<Override>,
) -> Option<Override> {
    match is {
        Some(it) => overrides.insert(key, it),
        None => overrides.remove(&key),
    }
}
