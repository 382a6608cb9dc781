//! What channels are as conversations: who is in them, what they are called, whether they are closed;
//! and since which event of the space. A channel's own stream follows that, see
//! [`crate::conversation::ChannelNow`].
//!
//! The version at which a channel was touched last changes with who sees it, and with nothing else of
//! the space. Whoever has followed that version is in step, and what comes with an older one is late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::conversation::{ChannelNow, Viewers};
use crate::ids::{ConversationId, SpaceRoleId, UserId, Version};
use crate::space::command::Target;
use crate::space::event::{OverrideSet, RoleGiven, RoleSet};
use crate::space::permissions::{Permission, Permissions};
use crate::space::state::{Channel, Override, Space, SpaceRole, State, Touch};

impl State {
    /// What `channel` is now; `None` of one that there is not, or not any more.
    pub fn channel_now(self: &Arc<Self>, channel: ConversationId) -> Option<ChannelNow> {
        let space = self.space.as_ref()?;
        let there = space.channels.get(&channel)?;
        Some(ChannelNow {
            space: space.id,
            kind: there.kind,
            creator: there.creator,
            version: there.touched.version,
            by: there.touched.by,
            title: Some((there.named_by, there.name.clone())),
            viewers: Viewers::Of(Arc::clone(self), channel),
            archived: space.archived,
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

    /// Of those for whom it may have changed after the event `version` whether they see `channel`,
    /// whether they do now. `None` where that may be everybody, or is forgotten.
    pub fn changed_since(
        &self,
        channel: ConversationId,
        version: Version,
    ) -> Option<BTreeMap<UserId, bool>> {
        let channel = self.channels.get(&channel)?;
        if version < channel.shown_anew {
            return None;
        }
        let users = self.sights.since(version)?.into_iter();
        Some(users.map(|it| (it, self.sees(it, channel))).collect())
    }

    /// Which channels each of `users` sees.
    fn sights_of(&self, users: &[UserId]) -> Vec<(ConversationId, Vec<bool>)> {
        let channels = self.channels.iter();
        channels
            .map(|(id, channel)| {
                let seen = users.iter().map(|user| self.sees(*user, channel));
                (*id, seen.collect())
            })
            .collect()
    }

    /// Folds a change that lets nobody but `users` see other channels than before.
    pub(super) fn concern(
        &mut self,
        users: &[UserId],
        touch: Touch,
        change: impl FnOnce(&mut Self),
    ) {
        let before = self.sights_of(users);
        change(self);
        let mut is_seen_otherwise = false;
        for ((id, was), (_, is)) in before.iter().zip(self.sights_of(users)) {
            if *was != is
                && let Some(channel) = self.channels.get_mut(id)
            {
                channel.touched = touch;
                is_seen_otherwise = true;
            }
        }
        if is_seen_otherwise {
            self.sights.remember(touch.version, users);
        }
    }

    pub(super) fn set_archived(&mut self, archived: bool, touch: Touch) {
        self.archived = archived;
        for channel in self.channels.values_mut() {
            channel.touched = touch;
        }
    }

    pub(super) fn change_role(&mut self, changed: &RoleSet, touch: Touch) {
        let Some(there) = self.roles.get_mut(&changed.role) else {
            return;
        };
        let role = SpaceRole::of(changed);
        let differ = there.permissions.differing(role.permissions);
        *there = role;
        if shows(differ) {
            for channel in self.channels.values_mut() {
                channel.show_anew(touch);
            }
        }
    }

    pub(super) fn remove_role(&mut self, removed: SpaceRoleId, touch: Touch) {
        let Some(role) = self.roles.remove(&removed) else {
            return;
        };
        for member in self.members.values_mut() {
            member.roles.remove(&removed);
        }
        for channel in self.channels.values_mut() {
            let gone = channel.overrides.roles.remove(&removed);
            let differ = gone.map_or(Permissions::NONE, |it| it.allow.with(it.deny));
            if shows(differ.with(role.permissions)) {
                channel.show_anew(touch);
            }
        }
    }

    pub(super) fn set_override(&mut self, set: &OverrideSet, touch: Touch) {
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
        if !differ.has(Permission::ViewChannel) {
            return;
        }
        match set.target {
            Target::Role(_) => channel.show_anew(touch),
            Target::Member(user) => {
                channel.touched = touch;
                self.sights.remember(touch.version, &[user]);
            }
        }
    }

    pub(super) fn give(&mut self, given: &RoleGiven) {
        let is_role = self.roles.contains_key(&given.role);
        if let Some(member) = self.members.get_mut(&given.user).filter(|_| is_role) {
            member.roles.insert(given.role);
        }
    }

    pub(super) fn take(&mut self, given: &RoleGiven) {
        if let Some(member) = self.members.get_mut(&given.user) {
            member.roles.remove(&given.role);
        }
    }

    /// The owner stays, whatever the log says.
    pub(super) fn put_out(&mut self, user: UserId, touch: Touch) {
        self.concern(&[user], touch, |space| {
            if user != space.owner {
                space.members.remove(&user);
            }
        });
    }

    pub(super) fn transfer(&mut self, to: UserId, touch: Touch) {
        self.concern(&[self.owner, to], touch, |space| {
            if space.members.contains_key(&to) {
                space.owner = to;
            }
        });
    }
}

impl Channel {
    /// Everybody may see it otherwise than before.
    const fn show_anew(&mut self, touch: Touch) {
        self.touched = touch;
        self.shown_anew = touch.version;
    }
}

const fn shows(permissions: Permissions) -> bool {
    !permissions.both(Permissions::SHOWING).is_empty()
}

fn replace<K: Ord>(
    overrides: &mut BTreeMap<K, Override>,
    key: K,
    is: Option<Override>,
) -> Option<Override> {
    match is {
        Some(it) => overrides.insert(key, it),
        None => overrides.remove(&key),
    }
}
