//! What is otherwise in one channel than in the space.

use crate::ids::ConversationId;
use crate::space::command::Target;
use crate::space::decide::{Asker, Decision, SpaceRules};
use crate::space::event::{OverrideSet, SpaceEvent};
use crate::space::permissions::{Permission, Permissions};
use crate::space::refused::Refused;
use crate::space::state::Override;

impl Asker<'_> {
    /// An override can be taken away from somebody who is not in the space any more, and none is set.
    pub(super) fn set_override(
        &self,
        channel: ConversationId,
        target: Target,
        set: Override,
        were: Option<Override>,
    ) -> Decision {
        let there = self.channel(channel)?;
        self.needs(Permission::ManageRoles)?;
        self.open()?;
        let Override { allow, deny } = set;
        if !Permissions::OF_CHANNELS.has_all(allow.with(deny)) {
            return Err(Refused::NotOfChannels);
        }
        if !allow.both(deny).is_empty() {
            return Err(Refused::AllowedAndDenied);
        }
        let before = match target {
            Target::Role(id) => {
                let role = self.space.roles.get(&id).ok_or(Refused::RoleNotFound)?;
                self.above_role(id, role)?;
                there.overrides.roles.get(&id)
            }
            Target::Member(user) => {
                if !self.space.members.contains_key(&user) && !set.is_empty() {
                    return Err(Refused::NoSuchMember);
                }
                if user != self.by {
                    self.above_member(user)?;
                }
                there.overrides.members.get(&user)
            }
        };
        let is_more = before.is_none() && there.overrides.len() >= SpaceRules::OVERRIDES_MAX;
        let before = before.copied().unwrap_or_default();
        if before == set {
            return Ok(vec![]);
        }
        if were.is_some_and(|were| were != before) {
            return Err(Refused::ChangedMeanwhile);
        }
        let changed = allow
            .differing(before.allow)
            .with(deny.differing(before.deny));
        if !self.held_in(channel).has_all(changed) {
            return Err(Refused::PermissionNotHeld);
        }
        if is_more {
            return Err(Refused::TooManyOverrides);
        }
        Ok(vec![SpaceEvent::OverrideSet(OverrideSet {
            channel,
            target,
            allow,
            deny,
            by: self.by,
        })])
    }
}
