//! Who is in a group, and what they may do there.

use crate::conversation::command::Contact;
use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{
    ConversationEvent, MemberAdded, MemberLeft, MemberRemoved, MemberRoleChanged, Role,
};
use crate::conversation::refused::Refused;
use crate::ids::UserId;

impl Asker<'_> {
    pub(super) fn add_member(&self, user: UserId, role: Role) -> Decision {
        self.runs_open_group()?;
        match role {
            Role::Owner => return Err(Refused::OwnerStays),
            Role::Admin => self.at_least(Role::Owner)?,
            Role::Member => {}
        }
        if self.state.role(user).is_some() {
            return Ok(vec![]);
        }
        if self.contact == Contact::Blocked {
            return Err(Refused::Blocked);
        }
        if self.state.members.len() >= Conversation::MEMBERS_MAX {
            return Err(Refused::TooManyMembers);
        }
        Ok(vec![ConversationEvent::MemberAdded(MemberAdded {
            user,
            role,
        })])
    }

    pub(super) fn remove_member(&self, user: UserId) -> Decision {
        if user == self.by {
            return self.leave();
        }
        self.runs_open_group()?;
        match self.state.role(user) {
            None => Ok(vec![]),
            Some(role) if role >= self.role => Err(Refused::RoleTooLow),
            Some(_) => {
                let removed = MemberRemoved { user, by: self.by };
                Ok(vec![ConversationEvent::MemberRemoved(removed)])
            }
        }
    }

    /// The owner leaves last; who is one by inheritance only may go. What nobody is in any more stays as
    /// it is, for ever: nobody can come back to it.
    pub(super) fn leave(&self) -> Decision {
        self.in_group()?;
        let own = self.state.role(self.by);
        if own == Some(Role::Owner) && self.state.members.len() > 1 {
            return Err(Refused::OwnerMustStay);
        }
        Ok(vec![ConversationEvent::MemberLeft(MemberLeft {
            user: self.by,
        })])
    }

    /// A role that somebody has already is nobody's to refuse: so a former owner who asks again
    /// for what made them an admin hears that it is done.
    pub(super) fn change_role(&self, user: UserId, role: Role) -> Decision {
        self.in_group()?;
        let before = self.state.role(user);
        if before == Some(role) {
            return Ok(vec![]);
        }
        self.at_least(Role::Owner)?;
        self.open()?;
        let change =
            |user, role| ConversationEvent::MemberRoleChanged(MemberRoleChanged { user, role });
        match (before.ok_or(Refused::NoSuchMember)?, role) {
            (Role::Owner, _) => Err(Refused::OwnerStays),
            (_, Role::Owner) => {
                let former = self.state.owner().map(|owner| change(owner, Role::Admin));
                Ok(std::iter::once(change(user, role)).chain(former).collect())
            }
            (_, Role::Admin | Role::Member) => Ok(vec![change(user, role)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Act, Command, Conversation, ConversationEvent, MemberAdded, MemberLeft, MemberRemoved,
        MemberRoleChanged, Refused, Role,
    };
    use crate::ids::UserId;
    use crate::testing::conversation::{archived, blocked, direct_of, given, group_of};
    use crate::testing::{ALICE, BOB, CAROL, user};

    fn add(by: UserId, user: UserId, role: Role) -> Command {
        Command::by(by, Act::AddMember { user, role })
    }

    fn remove(by: UserId, user: UserId) -> Command {
        Command::by(by, Act::RemoveMember { user })
    }

    fn leave(by: UserId) -> Command {
        Command::by(by, Act::Leave)
    }

    fn make(by: UserId, user: UserId, role: Role) -> Command {
        Command::by(by, Act::ChangeRole { user, role })
    }

    fn added(user: UserId, role: Role) -> ConversationEvent {
        ConversationEvent::MemberAdded(MemberAdded { user, role })
    }

    fn removed(user: UserId, by: UserId) -> ConversationEvent {
        ConversationEvent::MemberRemoved(MemberRemoved { user, by })
    }

    fn left(user: UserId) -> ConversationEvent {
        ConversationEvent::MemberLeft(MemberLeft { user })
    }

    fn made(user: UserId, role: Role) -> ConversationEvent {
        ConversationEvent::MemberRoleChanged(MemberRoleChanged { user, role })
    }

    #[test]
    fn admins_add_members_and_only_the_owner_adds_admins() {
        let admin_is_bob = [group_of(ALICE, &[BOB]), made(BOB, Role::Admin)];
        given(admin_is_bob.clone())
            .when(add(BOB, CAROL, Role::Member))
            .then([added(CAROL, Role::Member)]);
        given(admin_is_bob.clone())
            .when(add(BOB, CAROL, Role::Admin))
            .then_refused(Refused::RoleTooLow);
        given(admin_is_bob)
            .when(add(ALICE, CAROL, Role::Admin))
            .then([added(CAROL, Role::Admin)]);
    }

    #[test]
    fn members_add_nobody() {
        given([group_of(ALICE, &[BOB])])
            .when(add(BOB, CAROL, Role::Member))
            .then_refused(Refused::RoleTooLow);
    }

    #[test]
    fn nobody_is_added_as_owner() {
        given([group_of(ALICE, &[BOB])])
            .when(add(ALICE, CAROL, Role::Owner))
            .then_refused(Refused::OwnerStays);
    }

    #[test]
    fn who_is_in_already_stays_what_they_are() {
        given([group_of(ALICE, &[BOB])])
            .when(add(ALICE, BOB, Role::Admin))
            .then([]);
        given([group_of(ALICE, &[BOB])])
            .when(add(ALICE, ALICE, Role::Member))
            .then([]);
    }

    #[test]
    fn nobody_takes_in_who_blocks_them() {
        let add = |user| blocked(add(ALICE, user, Role::Member));
        given([group_of(ALICE, &[BOB])])
            .when(add(CAROL))
            .then_refused(Refused::Blocked);
        given([group_of(ALICE, &[BOB])]).when(add(BOB)).then([]);
    }

    #[test]
    fn a_full_group_takes_nobody_in() {
        let others: Vec<UserId> = (1..Conversation::MEMBERS_MAX as u128).map(user).collect();
        given([group_of(ALICE, &others)])
            .when(add(ALICE, BOB, Role::Member))
            .then_refused(Refused::TooManyMembers);
    }

    #[test]
    fn outsiders_do_not_learn_that_there_is_a_conversation() {
        given([group_of(ALICE, &[BOB])])
            .when(add(CAROL, CAROL, Role::Member))
            .then_refused(Refused::NotFound);
        given([])
            .when(add(CAROL, CAROL, Role::Member))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn only_those_above_somebody_put_them_out() {
        let history = [
            group_of(ALICE, &[BOB, CAROL, user(7)]),
            made(BOB, Role::Admin),
            made(CAROL, Role::Admin),
        ];
        given(history.clone())
            .when(remove(BOB, user(7)))
            .then([removed(user(7), BOB)]);
        given(history.clone())
            .when(remove(BOB, CAROL))
            .then_refused(Refused::RoleTooLow);
        given(history.clone())
            .when(remove(BOB, ALICE))
            .then_refused(Refused::RoleTooLow);
        given(history)
            .when(remove(ALICE, CAROL))
            .then([removed(CAROL, ALICE)]);
    }

    #[test]
    fn putting_out_somebody_who_is_not_in_changes_nothing() {
        given([group_of(ALICE, &[BOB]), removed(BOB, ALICE)])
            .when(remove(ALICE, BOB))
            .then([]);
    }

    #[test]
    fn to_remove_oneself_is_to_leave() {
        given([group_of(ALICE, &[BOB])])
            .when(remove(BOB, BOB))
            .then([left(BOB)]);
    }

    #[test]
    fn members_leave_even_what_is_archived() {
        given([group_of(ALICE, &[BOB])])
            .when(leave(BOB))
            .then([left(BOB)]);
        given([group_of(ALICE, &[BOB]), archived(ALICE)])
            .when(leave(BOB))
            .then([left(BOB)]);
    }

    #[test]
    fn who_has_left_is_an_outsider() {
        given([group_of(ALICE, &[BOB]), left(BOB)])
            .when(leave(BOB))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn the_owner_leaves_last() {
        given([group_of(ALICE, &[BOB])])
            .when(leave(ALICE))
            .then_refused(Refused::OwnerMustStay);
        given([group_of(ALICE, &[BOB]), left(BOB)])
            .when(leave(ALICE))
            .then([left(ALICE)]);
        given([group_of(ALICE, &[BOB]), left(BOB), left(ALICE)])
            .when(add(ALICE, ALICE, Role::Member))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn the_owner_gives_and_takes_roles() {
        given([group_of(ALICE, &[BOB])])
            .when(make(ALICE, BOB, Role::Admin))
            .then([made(BOB, Role::Admin)]);
        given([group_of(ALICE, &[BOB]), made(BOB, Role::Admin)])
            .when(make(ALICE, BOB, Role::Member))
            .then([made(BOB, Role::Member)]);
        given([group_of(ALICE, &[BOB, CAROL]), made(BOB, Role::Admin)])
            .when(make(BOB, CAROL, Role::Admin))
            .then_refused(Refused::RoleTooLow);
        given([group_of(ALICE, &[BOB])])
            .when(make(ALICE, CAROL, Role::Admin))
            .then_refused(Refused::NoSuchMember);
    }

    #[test]
    fn to_make_another_the_owner_is_to_become_an_admin() {
        let handed_over = [made(BOB, Role::Owner), made(ALICE, Role::Admin)];
        given([group_of(ALICE, &[BOB])])
            .when(make(ALICE, BOB, Role::Owner))
            .then(handed_over.clone());
        let after = std::iter::once(group_of(ALICE, &[BOB])).chain(handed_over);
        given(after).when(make(ALICE, BOB, Role::Owner)).then([]);
    }

    #[test]
    fn an_owner_does_not_step_down_without_a_successor() {
        given([group_of(ALICE, &[BOB])])
            .when(make(ALICE, ALICE, Role::Member))
            .then_refused(Refused::OwnerStays);
    }

    #[test]
    fn members_of_what_is_archived_or_direct_stay_as_they_are() {
        for command in [
            add(ALICE, CAROL, Role::Member),
            remove(ALICE, BOB),
            make(ALICE, BOB, Role::Admin),
        ] {
            given([group_of(ALICE, &[BOB]), archived(ALICE)])
                .when(command.clone())
                .then_refused(Refused::Archived);
            given([direct_of(ALICE, BOB)])
                .when(command)
                .then_refused(Refused::DirectConversation);
        }
        given([direct_of(ALICE, BOB)])
            .when(leave(ALICE))
            .then_refused(Refused::DirectConversation);
    }
}
