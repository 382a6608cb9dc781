//! Roles: what they give, how high they stand, and who has them. Nobody touches a role that stands as
//! high as they do, and nobody gives or takes by a role what they do not have themselves.

use crate::ids::{SpaceRoleId, UserId};
use crate::personal::Personal;
use crate::space::decide::{Asker, Decision, SpaceRules};
use crate::space::event::{RoleGiven, RoleRemoved, RoleSet, SpaceEvent};
use crate::space::permissions::{Permission, Permissions, Standing};
use crate::space::refused::Refused;
use crate::space::state::SpaceRole;
use crate::values::Title;

impl Asker<'_> {
    pub(super) fn define_role(
        &self,
        role: SpaceRoleId,
        name: &Title,
        permissions: Permissions,
        rank: u16,
    ) -> Decision {
        self.needs(Permission::ManageRoles)?;
        self.open()?;
        if self.space.roles.contains_key(&role) {
            return Ok(vec![]);
        }
        self.may_rank(rank)?;
        self.holds(permissions)?;
        if self.space.roles.len() >= SpaceRules::ROLES_MAX {
            return Err(Refused::TooManyRoles);
        }
        Ok(vec![SpaceEvent::RoleDefined(RoleSet {
            role,
            name: Personal::new(self.by, name.clone()),
            permissions,
            rank,
            by: self.by,
        })])
    }

    pub(super) fn change_role(
        &self,
        role: SpaceRoleId,
        name: Option<&Title>,
        (permissions, were): (Option<Permissions>, Option<Permissions>),
        rank: Option<u16>,
    ) -> Decision {
        self.needs(Permission::ManageRoles)?;
        self.open()?;
        let there = self.role(role)?;
        self.above_role(role, there)?;
        if let Some(rank) = rank {
            self.not_of_everyone(role)?;
            self.may_rank(rank)?;
        }
        let permissions = permissions.unwrap_or(there.permissions);
        self.holds(permissions.differing(there.permissions))?;
        let changed = SpaceRole {
            name: name.unwrap_or(&there.name).clone(),
            permissions,
            rank: rank.unwrap_or(there.rank),
        };
        if changed == *there {
            return Ok(vec![]);
        }
        if were.is_some_and(|were| were != there.permissions) {
            return Err(Refused::ChangedMeanwhile);
        }
        Ok(vec![SpaceEvent::RoleChanged(RoleSet {
            role,
            name: Personal::new(self.by, changed.name),
            permissions: changed.permissions,
            rank: changed.rank,
            by: self.by,
        })])
    }

    pub(super) fn remove_role(&self, role: SpaceRoleId) -> Decision {
        self.needs(Permission::ManageRoles)?;
        self.open()?;
        let there = self.role(role)?;
        self.not_of_everyone(role)?;
        self.above_role(role, there)?;
        self.holds_all_of(role, there)?;
        let by = self.by;
        Ok(vec![SpaceEvent::RoleRemoved(RoleRemoved { role, by })])
    }

    pub(super) fn assign_role(&self, user: UserId, role: SpaceRoleId) -> Decision {
        match self.giving(user, role)? {
            Has::Not(given) => Ok(vec![SpaceEvent::RoleAssigned(given)]),
            Has::It(_) => Ok(vec![]),
        }
    }

    pub(super) fn withdraw_role(&self, user: UserId, role: SpaceRoleId) -> Decision {
        match self.giving(user, role)? {
            Has::It(given) => Ok(vec![SpaceEvent::RoleWithdrawn(given)]),
            Has::Not(_) => Ok(vec![]),
        }
    }

    /// Who gives themselves a role, or takes it from themselves, need not stand above themselves.
    fn giving(&self, user: UserId, role: SpaceRoleId) -> Result<Has, Refused> {
        self.needs(Permission::ManageRoles)?;
        self.open()?;
        let there = self.role(role)?;
        self.not_of_everyone(role)?;
        let member = self.space.members.get(&user).ok_or(Refused::NoSuchMember)?;
        self.above_role(role, there)?;
        if user != self.by {
            self.above_member(user)?;
        }
        self.holds_all_of(role, there)?;
        let by = self.by;
        let given = RoleGiven { user, role, by };
        Ok(if member.roles.contains(&role) {
            Has::It(given)
        } else {
            Has::Not(given)
        })
    }

    fn role(&self, role: SpaceRoleId) -> Result<&SpaceRole, Refused> {
        self.space.roles.get(&role).ok_or(Refused::RoleNotFound)
    }

    fn not_of_everyone(&self, role: SpaceRoleId) -> Result<(), Refused> {
        if role == SpaceRoleId::everyone(self.space.id) {
            Err(Refused::RoleOfEveryone)
        } else {
            Ok(())
        }
    }

    /// The role of everyone stands below all.
    pub(super) fn above_role(&self, id: SpaceRoleId, role: &SpaceRole) -> Result<(), Refused> {
        if id == SpaceRoleId::everyone(self.space.id) {
            Ok(())
        } else {
            self.above(Standing::Member(role.rank))
        }
    }

    fn may_rank(&self, rank: u16) -> Result<(), Refused> {
        if !(1..=SpaceRules::RANK_MAX).contains(&rank) {
            return Err(Refused::RankInvalid);
        }
        self.above(Standing::Member(rank))
    }

    fn holds(&self, permissions: Permissions) -> Result<(), Refused> {
        if self.held.has_all(permissions) {
            Ok(())
        } else {
            Err(Refused::PermissionNotHeld)
        }
    }

    /// Whether the asker has all that having or not having `role` makes a difference for: what it gives
    /// in the space, and what its overrides allow and deny.
    fn holds_all_of(&self, id: SpaceRoleId, role: &SpaceRole) -> Result<(), Refused> {
        self.holds(role.permissions)?;
        for (channel, there) in &self.space.channels {
            if let Some(it) = there.overrides.roles.get(&id)
                && !self.held_in(*channel).has_all(it.allow.with(it.deny))
            {
                return Err(Refused::PermissionNotHeld);
            }
        }
        Ok(())
    }
}

/// Whether somebody has a role.
enum Has {
    It(RoleGiven),
    Not(RoleGiven),
}
