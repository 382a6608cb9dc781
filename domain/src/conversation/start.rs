//! How a conversation begins.

use std::collections::BTreeSet;

use crate::conversation::command::Contact;
use crate::conversation::decide::{Conversation, Decision};
use crate::conversation::event::{
    ConversationEvent, HistoryVisibility, Kind, MemberRole, Role, Started,
};
use crate::conversation::refused::Refused;
use crate::conversation::state::State;
use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::Title;

/// Who started it before hears of it also where one blocks the other now.
pub(super) fn direct(state: &State, by: UserId, with: UserId, contact: Contact) -> Decision {
    if by == with {
        return Err(Refused::WithOneself);
    }
    match &state.settings {
        Some(settings) if settings.kind == Kind::Direct && state.role(by).is_some() => Ok(vec![]),
        Some(_) => Err(Refused::AlreadyStarted),
        None if contact == Contact::Blocked => Err(Refused::Blocked),
        None => {
            let mut users = [by, with];
            users.sort_unstable();
            Ok(vec![ConversationEvent::Started(Started {
                kind: Kind::Direct,
                title: None,
                creator: Some(by),
                members: users.map(|user| member(user, Role::Member)).to_vec(),
                history_visibility: HistoryVisibility::Start,
                channel: None,
            })])
        }
    }
}

/// A group's id is derived from the command that starts it, so whoever finds theirs there has
/// asked before, however long ago.
pub(super) fn group(
    state: &State,
    by: UserId,
    title: &Title,
    members: &[UserId],
    history_visibility: HistoryVisibility,
    contact: Contact,
) -> Decision {
    match &state.settings {
        Some(settings) if settings.kind == Kind::Group && state.role(by).is_some() => Ok(vec![]),
        Some(_) => Err(Refused::AlreadyStarted),
        None if contact == Contact::Blocked => Err(Refused::Blocked),
        None => {
            let others: BTreeSet<UserId> =
                members.iter().copied().filter(|user| *user != by).collect();
            if others.len() >= Conversation::MEMBERS_MAX {
                return Err(Refused::TooManyMembers);
            }
            let others = others.into_iter().map(|user| member(user, Role::Member));
            Ok(vec![ConversationEvent::Started(Started {
                kind: Kind::Group,
                title: Some(Personal::new(by, title.clone())),
                creator: Some(by),
                members: std::iter::once(member(by, Role::Owner))
                    .chain(others)
                    .collect(),
                history_visibility,
                channel: None,
            })])
        }
    }
}

pub(super) fn imported(
    state: &State,
    title: &Title,
    titled_by: UserId,
    members: &[UserId],
) -> Decision {
    if state.settings.is_some() {
        return Ok(vec![]);
    }
    let mut seen = BTreeSet::new();
    let mut members: Vec<_> = members
        .iter()
        .filter(|user| seen.insert(**user))
        .map(|user| member(*user, Role::Member))
        .collect();
    if members.len() > Conversation::MEMBERS_MAX {
        return Err(Refused::TooManyMembers);
    }
    if let Some(first) = members.first_mut() {
        first.role = Role::Owner;
    }
    Ok(vec![ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(Personal::new(titled_by, title.clone())),
        creator: None,
        members,
        history_visibility: HistoryVisibility::Start,
        channel: None,
    })])
}

const fn member(user: UserId, role: Role) -> MemberRole {
    MemberRole { user, role }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Act, Command, Conversation, ConversationEvent, HistoryVisibility, ImportedFact, Kind,
        Refused, Role, Started,
    };
    use crate::ids::UserId;
    use crate::personal::Personal;
    use crate::testing::conversation::{blocked, given, group_of, members, title};
    use crate::testing::{ALICE, BOB, CAROL, user};

    fn start_group(by: UserId, members: &[UserId]) -> Command {
        Command::by(
            by,
            Act::StartGroup {
                title: title("Tea"),
                members: members.to_vec(),
                history_visibility: HistoryVisibility::Joined,
            },
        )
    }

    fn start_direct(by: UserId, with: UserId) -> Command {
        Command::by(by, Act::StartDirect { with })
    }

    fn direct_started(by: UserId) -> ConversationEvent {
        ConversationEvent::Started(Started {
            kind: Kind::Direct,
            title: None,
            creator: Some(by),
            members: members(&[(ALICE, Role::Member), (BOB, Role::Member)]),
            history_visibility: HistoryVisibility::Start,
            channel: None,
        })
    }

    fn group_started(others: &[UserId]) -> ConversationEvent {
        let mut all = vec![(ALICE, Role::Owner)];
        all.extend(others.iter().map(|user| (*user, Role::Member)));
        ConversationEvent::Started(Started {
            kind: Kind::Group,
            title: Some(Personal::new(ALICE, title("Tea"))),
            creator: Some(ALICE),
            members: members(&all),
            history_visibility: HistoryVisibility::Joined,
            channel: None,
        })
    }

    fn import(members: Vec<UserId>) -> Command {
        Command::Import(ImportedFact::Started {
            title: title("Tea"),
            titled_by: CAROL,
            members,
        })
    }

    #[test]
    fn a_direct_conversation_has_two_equal_members() {
        given([])
            .when(start_direct(BOB, ALICE))
            .then([direct_started(BOB)]);
    }

    #[test]
    fn either_may_start_a_direct_conversation_again_without_effect() {
        given([direct_started(BOB)])
            .when(start_direct(BOB, ALICE))
            .then([]);
        given([direct_started(BOB)])
            .when(start_direct(ALICE, BOB))
            .then([]);
    }

    #[test]
    fn nobody_has_a_direct_conversation_with_themselves() {
        given([])
            .when(start_direct(ALICE, ALICE))
            .then_refused(Refused::WithOneself);
    }

    #[test]
    fn who_is_blocked_starts_nothing_but_finds_what_there_was() {
        let direct = blocked(start_direct(ALICE, BOB));
        given([])
            .when(direct.clone())
            .then_refused(Refused::Blocked);
        given([direct_started(BOB)]).when(direct).then([]);
        let group = blocked(start_group(ALICE, &[BOB]));
        given([]).when(group.clone()).then_refused(Refused::Blocked);
        given([group_started(&[BOB])]).when(group).then([]);
    }

    #[test]
    fn who_starts_a_group_owns_it_and_nobody_is_in_it_twice() {
        given([])
            .when(start_group(ALICE, &[CAROL, BOB, ALICE, BOB]))
            .then([group_started(&[BOB, CAROL])]);
    }

    #[test]
    fn starting_a_group_again_has_no_effect() {
        given([group_started(&[BOB])])
            .when(start_group(ALICE, &[BOB]))
            .then([]);
    }

    #[test]
    fn a_conversation_of_others_or_of_another_kind_cannot_be_started() {
        given([group_started(&[BOB])])
            .when(start_group(CAROL, &[]))
            .then_refused(Refused::AlreadyStarted);
        given([group_started(&[BOB])])
            .when(start_direct(ALICE, BOB))
            .then_refused(Refused::AlreadyStarted);
        given([direct_started(BOB)])
            .when(start_group(BOB, &[]))
            .then_refused(Refused::AlreadyStarted);
    }

    #[test]
    fn a_group_is_full_with_its_owner_counted() {
        let others: Vec<UserId> = (1..=Conversation::MEMBERS_MAX as u128).map(user).collect();
        given([])
            .when(start_group(ALICE, &others))
            .then_refused(Refused::TooManyMembers);
        let fitting = &others[1..];
        given([])
            .when(start_group(ALICE, fitting))
            .then([group_started(fitting)]);
        given([]).when(import(others)).then_some(1);
    }

    #[test]
    fn an_imported_group_is_owned_by_the_first_of_its_members() {
        given([])
            .when(import(vec![BOB, ALICE, BOB]))
            .then([ConversationEvent::Started(Started {
                kind: Kind::Group,
                title: Some(Personal::new(CAROL, title("Tea"))),
                creator: None,
                members: members(&[(BOB, Role::Owner), (ALICE, Role::Member)]),
                history_visibility: HistoryVisibility::Start,
                channel: None,
            })]);
    }

    #[test]
    fn a_second_import_finds_the_conversation_there() {
        given([group_of(ALICE, &[BOB])])
            .when(import(vec![CAROL]))
            .then([]);
    }

    #[test]
    fn an_import_cannot_overfill_a_group() {
        let too_many = (0..=Conversation::MEMBERS_MAX as u128).map(user).collect();
        given([])
            .when(import(too_many))
            .then_refused(Refused::TooManyMembers);
    }
}
