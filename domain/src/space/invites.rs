//! Invites: codes by which people come in, for a while or a number of times.

use chrono::{DateTime, Utc};

use crate::ids::InviteId;
use crate::space::decide::{Asker, Decision, SpaceRules};
use crate::space::event::{InviteCreated, InviteRevoked, SpaceEvent};
use crate::space::permissions::Permission;
use crate::space::refused::Refused;

impl Asker<'_> {
    pub(super) fn create_invite(
        &self,
        invite: InviteId,
        hash: &str,
        at: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
        uses_max: Option<u32>,
    ) -> Decision {
        self.needs(Permission::CreateInvites)?;
        self.open()?;
        if self.space.invites.contains_key(&invite) {
            return Ok(vec![]);
        }
        let open = || self.space.invites.values().filter(|it| it.is_good(at));
        let own = open().filter(|it| it.by == self.by).count();
        let is_full = if self.held.has(Permission::ManageSpace) {
            open().count() >= SpaceRules::INVITES_MAX
        } else {
            own >= SpaceRules::INVITES_OF_ONE_MAX
                || open().count() >= SpaceRules::INVITES_OF_MEMBERS_MAX
        };
        if is_full {
            return Err(Refused::TooManyInvites);
        }
        Ok(vec![SpaceEvent::InviteCreated(InviteCreated {
            invite,
            hash: hash.to_owned(),
            by: self.by,
            at,
            expires_at,
            uses_max,
        })])
    }

    /// One's own, or with `manage_space` anybody's. One that is not good any more may be forgotten, and
    /// revoking it changes nothing.
    pub(super) fn revoke_invite(&self, invite: InviteId) -> Decision {
        let there = self.space.invites.get(&invite);
        if there.is_none_or(|it| it.by != self.by) {
            self.needs(Permission::ManageSpace)?;
        }
        if there.is_none() {
            return Ok(vec![]);
        }
        let by = self.by;
        let revoked = InviteRevoked { invite, by };
        Ok(vec![SpaceEvent::InviteRevoked(revoked)])
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use crate::ids::{InviteId, UserId};
    use crate::space::{
        Act, Command, InviteCreated, InviteUsed, Permission, Refused, SpaceEvent,
        SpaceMemberJoined, SpaceRules,
    };
    use crate::testing::space::{given, joined, space_of};
    use crate::testing::{ALICE, BOB, CAROL, moment, user};

    fn invite(number: u128) -> InviteId {
        InviteId(Uuid::from_u128(number))
    }

    fn created(number: u128, expires: Option<i64>, uses_max: Option<u32>) -> SpaceEvent {
        created_by(ALICE, number, expires, uses_max)
    }

    fn created_by(
        by: UserId,
        number: u128,
        expires: Option<i64>,
        uses_max: Option<u32>,
    ) -> SpaceEvent {
        SpaceEvent::InviteCreated(InviteCreated {
            invite: invite(number),
            hash: number.to_string(),
            by,
            at: moment(0),
            expires_at: expires.map(moment),
            uses_max,
        })
    }

    fn create(number: u128, at: DateTime<Utc>) -> Act {
        Act::CreateInvite {
            invite: invite(number),
            hash: number.to_string(),
            at,
            expires_at: None,
            uses_max: None,
        }
    }

    fn take(hash: &str, at: i64) -> Act {
        let (hash, at) = (hash.to_owned(), moment(at));
        Act::UseInvite { hash, at }
    }

    fn used(number: u128) -> [SpaceEvent; 2] {
        let (invite, user) = (invite(number), BOB);
        [
            SpaceEvent::InviteUsed(InviteUsed { invite, user }),
            SpaceEvent::MemberJoined(SpaceMemberJoined {
                user,
                invite: Some(invite),
            }),
        ]
    }

    #[test]
    fn who_has_a_good_code_comes_in_and_who_is_in_uses_none_up() {
        let history = || [space_of(ALICE), created(1, None, Some(1))];
        given(history())
            .when(Command::by(BOB, take("1", 5)))
            .then(used(1));
        let mut again = given(history());
        assert_eq!(again.accept(&Command::by(ALICE, take("1", 5))), Ok(vec![]));
        again
            .accept(&Command::by(BOB, take("1", 5)))
            .expect("it is good");
        let late = again.accept(&Command::by(BOB, take("1", 6)));
        assert_eq!(late, Ok(vec![]), "he is in, though it is used up by him");
        again
            .when(Command::by(CAROL, take("1", 6)))
            .then_refused(Refused::InviteNotFound);
    }

    #[test]
    fn a_code_that_is_wrong_expired_or_revoked_is_none() {
        let history = || [space_of(ALICE), created(1, Some(60), None)];
        given(history())
            .when(Command::by(BOB, take("1", 59)))
            .then_some(2);
        for (hash, at) in [("2", 0), ("1", 60)] {
            given(history())
                .when(Command::by(BOB, take(hash, at)))
                .then_refused(Refused::InviteNotFound);
        }
        let mut revoked = given(history());
        let revoke = Act::RevokeInvite { invite: invite(1) };
        let revoke = Command::by(ALICE, revoke);
        assert_eq!(revoked.accept(&revoke).map(|made| made.len()), Ok(1));
        assert_eq!(revoked.accept(&revoke), Ok(vec![]));
        revoked
            .when(Command::by(BOB, take("1", 1)))
            .then_refused(Refused::InviteNotFound);
        given([])
            .when(Command::by(BOB, take("1", 1)))
            .then_refused(Refused::InviteNotFound);
    }

    #[test]
    fn everyone_invites_and_only_who_runs_the_space_revokes_what_others_made() {
        let history = || [space_of(ALICE), joined(BOB), created(1, None, None)];
        given(history())
            .when(Command::by(BOB, create(2, moment(0))))
            .then_some(1);
        given(history())
            .when(Command::by(BOB, Act::RevokeInvite { invite: invite(1) }))
            .then_refused(Refused::PermissionMissing(Permission::ManageSpace));
        given(history())
            .when(Command::by(CAROL, create(2, moment(0))))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn who_is_put_out_leaves_no_invite_behind() {
        let history = || {
            [
                space_of(ALICE),
                joined(BOB),
                created(1, None, None),
                created_by(BOB, 2, None, None),
                created_by(BOB, 3, None, None),
            ]
        };
        let (kick, reason) = (Act::Kick { user: BOB }, None);
        for act in [kick, Act::Ban { user: BOB, reason }] {
            let mut house = given(history());
            let events = house.accept(&Command::by(ALICE, act)).expect("she may");
            assert_eq!(events.len(), 3);
            let space = house.state.space.as_ref().expect("there is one");
            assert!(space.invites.keys().eq(&[invite(1)]));
            house
                .when(Command::by(CAROL, take("2", 1)))
                .then_refused(Refused::InviteNotFound);
        }
        let mut house = given(history());
        house
            .accept(&Command::by(BOB, Act::Leave))
            .expect("he goes");
        house.when(Command::by(CAROL, take("2", 1))).then_some(2);
    }

    #[test]
    fn nobody_keeps_others_from_inviting() {
        let own = SpaceRules::INVITES_OF_ONE_MAX as u128;
        let of_bob = (0..own).map(|it| created_by(BOB, it, None, None));
        let few: Vec<_> = [space_of(ALICE), joined(BOB), joined(CAROL)]
            .into_iter()
            .chain(of_bob)
            .collect();
        given(few.clone())
            .when(Command::by(BOB, create(1_000, moment(0))))
            .then_refused(Refused::TooManyInvites);
        given(few.clone())
            .when(Command::by(CAROL, create(1_000, moment(0))))
            .then_some(1);
        let others = (own..SpaceRules::INVITES_OF_MEMBERS_MAX as u128)
            .map(|it| created_by(user(it), it, None, None));
        let many: Vec<_> = few.into_iter().chain(others).collect();
        given(many.clone())
            .when(Command::by(CAROL, create(1_000, moment(0))))
            .then_refused(Refused::TooManyInvites);
        given(many)
            .when(Command::by(ALICE, create(1_000, moment(0))))
            .then_some(1);
    }

    #[test]
    fn open_invites_are_bounded_and_expired_ones_are_not_open() {
        let many = (0..SpaceRules::INVITES_MAX as u128).map(|it| created(it, Some(60), None));
        let history: Vec<_> = [space_of(ALICE)].into_iter().chain(many).collect();
        given(history.clone())
            .when(Command::by(ALICE, create(1_000, moment(59))))
            .then_refused(Refused::TooManyInvites);
        let mut later = given(history);
        later
            .accept(&Command::by(ALICE, create(1_000, moment(60))))
            .expect("the others are over");
        let space = later.state.space.expect("there is one");
        assert_eq!(space.invites.len(), 1);
    }
}
