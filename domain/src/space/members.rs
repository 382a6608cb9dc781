//! Who is in a space, who may not be, and whose it is.

use chrono::{DateTime, Utc};

use crate::ids::{InviteId, UserId};
use crate::personal::Personal;
use crate::space::decide::{Asker, Decision, SpaceRules};
use crate::space::event::{
    InviteRevoked, InviteUsed, Joining, OwnershipTransferred, SpaceEvent, SpaceMemberBanned,
    SpaceMemberJoined, SpaceMemberKicked, SpaceMemberLeft, SpaceMemberUnbanned,
};
use crate::space::permissions::{Permission, Standing};
use crate::space::refused::Refused;
use crate::space::state::{Space, State};
use crate::values::Reason;

/// Comes in where everybody may; elsewhere there is no such space for who is not in it.
pub(super) fn join(state: &State, by: UserId) -> Decision {
    let space = state.space.as_ref().ok_or(Refused::NotFound)?;
    if space.members.contains_key(&by) {
        return Ok(vec![]);
    }
    match space.joining {
        Joining::Invite => Err(Refused::NotFound),
        Joining::Open => come_in(space, by, None),
    }
}

/// Who is in already uses no invite up, and is in whatever has become of the invite since: it may have
/// been used up by them.
pub(super) fn use_invite(state: &State, by: UserId, hash: &str, at: DateTime<Utc>) -> Decision {
    let space = state.space.as_ref().ok_or(Refused::InviteNotFound)?;
    if space.members.contains_key(&by) {
        return Ok(vec![]);
    }
    let mut invites = space.invites.iter();
    let found = invites.find(|(_, invite)| invite.hash == hash && invite.is_good(at));
    let (invite, _) = found.ok_or(Refused::InviteNotFound)?;
    come_in(space, by, Some(*invite))
}

fn come_in(space: &Space, user: UserId, invite: Option<InviteId>) -> Decision {
    if space.banned.contains(&user) {
        return Err(Refused::Banned);
    }
    if space.archived {
        return Err(Refused::Archived);
    }
    let members = space.members.len() + 1;
    let seats = members * space.channels.len();
    if members > SpaceRules::MEMBERS_MAX || seats > SpaceRules::SEATS_MAX {
        return Err(Refused::TooManyMembers);
    }
    let by_invite = invite.map(|invite| SpaceEvent::InviteUsed(InviteUsed { invite, user }));
    let joined = SpaceEvent::MemberJoined(SpaceMemberJoined { user, invite });
    Ok(by_invite.into_iter().chain([joined]).collect())
}

impl Asker<'_> {
    pub(super) fn leave(&self) -> Decision {
        if self.space.owner == self.by {
            return Err(Refused::OwnerMustStay);
        }
        let user = self.by;
        Ok(vec![SpaceEvent::MemberLeft(SpaceMemberLeft { user })])
    }

    pub(super) fn kick(&self, user: UserId) -> Decision {
        if user == self.by {
            return self.leave();
        }
        self.needs(Permission::KickMembers)?;
        if !self.space.members.contains_key(&user) {
            return Ok(vec![]);
        }
        self.above_member(user)?;
        let by = self.by;
        let kicked = SpaceEvent::MemberKicked(SpaceMemberKicked { user, by });
        Ok(self.with_invites_of(user, kicked))
    }

    /// Who is put out leaves no invite behind by which they, or another account of theirs, come back.
    fn with_invites_of(&self, user: UserId, put_out: SpaceEvent) -> Vec<SpaceEvent> {
        let by = self.by;
        let invites = self.space.invites.iter();
        let theirs = invites.filter(|(_, invite)| invite.by == user);
        let revoked = theirs.map(|(invite, _)| {
            let invite = *invite;
            SpaceEvent::InviteRevoked(InviteRevoked { invite, by })
        });
        std::iter::once(put_out).chain(revoked).collect()
    }

    /// Who is no member stands below every rank, so that nobody is kept from banning them by theirs.
    pub(super) fn ban(&self, user: UserId, reason: Option<&Reason>) -> Decision {
        self.needs(Permission::BanMembers)?;
        if self.space.banned.contains(&user) {
            return Ok(vec![]);
        }
        if self.space.members.contains_key(&user) {
            self.above_member(user)?;
        }
        if self.space.banned.len() >= SpaceRules::BANS_MAX {
            return Err(Refused::TooManyBans);
        }
        let banned = SpaceEvent::MemberBanned(SpaceMemberBanned {
            user,
            by: self.by,
            reason: reason.map(|reason| Personal::new(self.by, reason.clone())),
        });
        Ok(self.with_invites_of(user, banned))
    }

    pub(super) fn unban(&self, user: UserId) -> Decision {
        self.needs(Permission::BanMembers)?;
        if !self.space.banned.contains(&user) {
            return Ok(vec![]);
        }
        let by = self.by;
        let unbanned = SpaceMemberUnbanned { user, by };
        Ok(vec![SpaceEvent::MemberUnbanned(unbanned)])
    }

    /// The owner may, and who owns the server: to themselves too. Whose it is already is nobody's to
    /// refuse, so that a former owner who asks again hears that it is done.
    pub(super) fn transfer(&self, to: UserId) -> Decision {
        if self.space.owner == to {
            return Ok(vec![]);
        }
        if self.standing < Standing::Owner {
            return Err(Refused::NotTheOwner);
        }
        if !self.space.members.contains_key(&to) {
            return Err(Refused::NoSuchMember);
        }
        let by = self.by;
        let transferred = OwnershipTransferred { to, by };
        Ok(vec![SpaceEvent::OwnershipTransferred(transferred)])
    }
}
