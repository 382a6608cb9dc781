//! What a role on the whole server is worth in groups. Not a way in: whoever is no member has no role to
//! raise, and direct conversations have no roles.

use crate::conversation::event::Role;
use crate::user::{Account, SystemRole};

impl Role {
    /// The role that `account` has at the least in every group that it is a member of, by its roles on the
    /// whole server. A program inherits nothing.
    pub fn inherited_by(account: &Account) -> Option<Self> {
        if account.service.is_some() {
            return None;
        }
        let inherited = |role: &SystemRole| match role {
            SystemRole::Owner => Some(Self::Owner),
            SystemRole::Admin => Some(Self::Admin),
            SystemRole::Auditor | SystemRole::Analyst => None,
        };
        account.system_roles.iter().filter_map(inherited).max()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::conversation::{
        Act, ArchiveChanged, Command, ContentKind, ConversationEvent, MemberAdded, MemberLeft,
        MemberRemoved, MemberRoleChanged, MessageDeleted, MessageFact, Refused, Renamed, Role,
    };
    use crate::ids::{ServiceId, UserId, Version};
    use crate::personal::Personal;
    use crate::testing::conversation::{direct_of, given, group_of, inheriting, sent, title};
    use crate::testing::{ALICE, BOB, CAROL, Given, user};
    use crate::user::testing::registered;
    use crate::user::{SystemRole, User};

    fn made(user: UserId, role: Role) -> ConversationEvent {
        ConversationEvent::MemberRoleChanged(MemberRoleChanged { user, role })
    }

    fn make(user: UserId, role: Role) -> Act {
        Act::ChangeRole { user, role }
    }

    /// What is known of the message that is the second event.
    fn text_of(author: UserId) -> MessageFact {
        MessageFact {
            seq: Version(2),
            author,
            kind: ContentKind::Text,
            thread: None,
        }
    }

    fn rename() -> Act {
        Act::Rename {
            title: title("Coffee"),
        }
    }

    /// A group of Alice's in which Bob is nothing special.
    fn group() -> ConversationEvent {
        group_of(ALICE, &[BOB, CAROL])
    }

    #[test]
    fn owners_and_admins_of_the_server_inherit_and_others_do_not() {
        for (roles, inherited) in [
            (vec![], None),
            (vec![SystemRole::Auditor, SystemRole::Analyst], None),
            (
                vec![SystemRole::Admin, SystemRole::Auditor],
                Some(Role::Admin),
            ),
            (vec![SystemRole::Owner], Some(Role::Owner)),
            (
                vec![SystemRole::Owner, SystemRole::Admin],
                Some(Role::Owner),
            ),
        ] {
            let state = Given::<User>::history([registered(BOB)]).state;
            let mut account = state.account.expect("an account");
            account.system_roles.extend(roles);
            assert_eq!(Role::inherited_by(&account), inherited);
            account.service = Some(ServiceId(Uuid::from_u128(1)));
            assert_eq!(Role::inherited_by(&account), None);
        }
    }

    #[test]
    fn an_inherited_admin_runs_a_group_that_they_are_in() {
        let message = text_of(CAROL);
        let delete = Act::Delete {
            message,
            reason: None,
        };
        let add = Act::AddMember {
            user: user(7),
            role: Role::Member,
        };
        for (act, event) in [
            (
                rename(),
                ConversationEvent::Renamed(Renamed {
                    title: Personal::new(BOB, title("Coffee")),
                }),
            ),
            (
                add,
                ConversationEvent::MemberAdded(MemberAdded {
                    user: user(7),
                    role: Role::Member,
                }),
            ),
            (
                Act::RemoveMember { user: CAROL },
                ConversationEvent::MemberRemoved(MemberRemoved {
                    user: CAROL,
                    by: BOB,
                }),
            ),
            (
                delete,
                ConversationEvent::MessageDeleted(MessageDeleted {
                    message: message.seq,
                    by: BOB,
                    reason: None,
                }),
            ),
            (
                Act::Archive,
                ConversationEvent::Archived(ArchiveChanged { by: BOB }),
            ),
        ] {
            let history = [group(), sent(CAROL, "hi")];
            given(history.clone())
                .when(Command::by(BOB, act.clone()))
                .then_refused(Refused::RoleTooLow);
            given(history)
                .when(inheriting(BOB, act, Role::Admin))
                .then([event]);
        }
        given([group()])
            .when(inheriting(BOB, make(CAROL, Role::Admin), Role::Admin))
            .then_refused(Refused::RoleTooLow);
    }

    #[test]
    fn whoever_inherits_less_than_they_are_stays_what_they_are() {
        given([group()])
            .when(inheriting(ALICE, make(BOB, Role::Admin), Role::Admin))
            .then([made(BOB, Role::Admin)]);
    }

    #[test]
    fn an_inherited_owner_hands_the_group_over_from_its_owner() {
        for heir in [CAROL, BOB] {
            given([group()])
                .when(inheriting(BOB, make(heir, Role::Owner), Role::Owner))
                .then([made(heir, Role::Owner), made(ALICE, Role::Admin)]);
        }
    }

    #[test]
    fn the_owner_of_a_group_is_above_all_who_inherit() {
        for role in [Role::Admin, Role::Owner] {
            given([group()])
                .when(inheriting(BOB, Act::RemoveMember { user: ALICE }, role))
                .then_refused(Refused::RoleTooLow);
        }
        given([group()])
            .when(inheriting(BOB, make(ALICE, Role::Member), Role::Owner))
            .then_refused(Refused::OwnerStays);
    }

    #[test]
    fn whoever_inherits_may_be_put_out_and_may_leave() {
        given([group()])
            .when(Command::by(ALICE, Act::RemoveMember { user: BOB }))
            .then([ConversationEvent::MemberRemoved(MemberRemoved {
                user: BOB,
                by: ALICE,
            })]);
        given([group()])
            .when(inheriting(BOB, Act::Leave, Role::Owner))
            .then([ConversationEvent::MemberLeft(MemberLeft { user: BOB })]);
        given([group()])
            .when(inheriting(ALICE, Act::Leave, Role::Owner))
            .then_refused(Refused::OwnerMustStay);
    }

    #[test]
    fn who_is_not_in_a_group_inherits_nothing_there() {
        let join = Act::AddMember {
            user: user(7),
            role: Role::Member,
        };
        for act in [rename(), join, make(user(7), Role::Owner), Act::Archive] {
            given([group()])
                .when(inheriting(user(7), act, Role::Owner))
                .then_refused(Refused::NotFound);
        }
    }

    #[test]
    fn nobody_inherits_in_a_direct_conversation() {
        let delete = Act::Delete {
            message: text_of(ALICE),
            reason: None,
        };
        given([direct_of(ALICE, BOB), sent(ALICE, "hi")])
            .when(inheriting(BOB, delete, Role::Owner))
            .then_refused(Refused::NotTheAuthor);
        given([direct_of(ALICE, BOB)])
            .when(inheriting(BOB, Act::Archive, Role::Owner))
            .then_refused(Refused::DirectConversation);
    }
}
