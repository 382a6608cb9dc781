//! Words for tests about spaces.

use super::Given;
use super::conversation::title;
use crate::ids::{SpaceId, SpaceRoleId, UserId};
use crate::personal::Personal;
use crate::space::{
    Created, Joining, Permission, Permissions, RoleGiven, RoleSet, SpaceEvent, SpaceMemberJoined,
    SpaceRules,
};
use uuid::Uuid;

pub(crate) const SPACE: SpaceId = SpaceId(Uuid::from_u128(0x59ace));

pub(crate) fn given(history: impl IntoIterator<Item = SpaceEvent>) -> Given<SpaceRules> {
    Given::history(history)
}

pub(crate) fn space_of(owner: UserId) -> SpaceEvent {
    SpaceEvent::Created(Created {
        space: SPACE,
        name: Personal::new(owner, title("Tea house")),
        owner,
        joining: Joining::Invite,
        everyone: Permissions::OF_EVERYONE,
    })
}

pub(crate) fn joined(user: UserId) -> SpaceEvent {
    SpaceEvent::MemberJoined(SpaceMemberJoined { user, invite: None })
}

pub(crate) fn role(number: u128) -> SpaceRoleId {
    SpaceRoleId(Uuid::from_u128(0x401e << 64 | number))
}

/// A role of the rank `number`.
pub(crate) fn defined(number: u16, permissions: &[Permission], by: UserId) -> SpaceEvent {
    SpaceEvent::RoleDefined(RoleSet {
        role: role(number.into()),
        name: Personal::new(by, title("Waiters")),
        permissions: Permissions::of(permissions),
        rank: number,
        by,
    })
}

pub(crate) fn assigned(user: UserId, number: u16, by: UserId) -> SpaceEvent {
    let role = role(number.into());
    SpaceEvent::RoleAssigned(RoleGiven { user, role, by })
}
