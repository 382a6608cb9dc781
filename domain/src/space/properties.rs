//! What holds of every space, whatever is asked of it, by whom and in which order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use crate::conversation::{ChannelKind, Role};
use crate::decider::Decider as _;
use crate::ids::{CategoryId, ConversationId, InviteId, SpaceRoleId, UserId, Version};
use crate::personal::Personal;
use crate::space::permissions::Because;
use crate::space::{
    Act, ChannelCreated, Command, Joining, Override, Permission, Permissions, Refused, RoleSet,
    Space, SpaceEvent, SpaceRules, Standing, State, Target,
};
use crate::testing::conversation::title;
use crate::testing::space::{SPACE, assigned, defined, given, joined, role, space_of};
use crate::testing::{ALICE, BOB, CAROL, Given, moment, user};

const USERS: u128 = 6;
const CHANNELS: u128 = 3;

fn who() -> impl Strategy<Value = UserId> {
    (0..USERS).prop_map(user)
}

fn channel_id(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(0xc4a << 64 | number))
}

fn channel() -> impl Strategy<Value = ConversationId> {
    (0..CHANNELS).prop_map(channel_id)
}

fn category() -> impl Strategy<Value = CategoryId> {
    (0..3_u128).prop_map(|number| CategoryId(Uuid::from_u128(number)))
}

fn some_role() -> impl Strategy<Value = SpaceRoleId> {
    prop_oneof![
        1 => Just(SpaceRoleId::everyone(SPACE)),
        4 => (1..5_u128).prop_map(role),
    ]
}

fn permissions() -> impl Strategy<Value = Permissions> {
    prop::sample::subsequence(Permission::ALL.to_vec(), 0..6)
        .prop_map(|some| some.into_iter().collect())
}

fn of_channels() -> impl Strategy<Value = Permissions> {
    permissions().prop_map(|some| some.both(Permissions::OF_CHANNELS))
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        2 => some_role().prop_map(Target::Role),
        1 => who().prop_map(Target::Member),
    ]
}

fn invite() -> impl Strategy<Value = InviteId> {
    (0..3_u128).prop_map(|number| InviteId(Uuid::from_u128(number)))
}

fn act() -> impl Strategy<Value = Act> {
    let name = || "[a-c]".prop_map(|text| title(&text));
    let rank = 0..8_u16;
    prop_oneof![
        2 => name().prop_map(|name| Act::Create { space: SPACE, name, joining: Joining::Open }),
        1 => name().prop_map(|name| Act::Rename { name }),
        1 => Just(Act::Archive),
        2 => Just(Act::Unarchive),
        4 => (channel(), name(), prop::option::of(category())).prop_map(|(channel, name, category)| {
            Act::CreateChannel { channel, kind: ChannelKind::Text, name, category, position: 0 }
        }),
        1 => (channel(), name()).prop_map(|(channel, name)| Act::RenameChannel { channel, name }),
        1 => (channel(), 0..3_u16).prop_map(|(channel, position)| {
            Act::MoveChannel { channel, category: None, position }
        }),
        1 => channel().prop_map(|channel| Act::RemoveChannel { channel }),
        8 => (channel(), target(), of_channels(), of_channels()).prop_map(
            |(channel, target, allow, deny)| {
                let deny = deny.without(allow);
                Act::SetOverride { channel, target, set: Override { allow, deny }, were: None }
            },
        ),
        1 => (category(), name()).prop_map(|(category, name)| {
            Act::CreateCategory { category, name, position: 0 }
        }),
        1 => category().prop_map(|category| Act::RemoveCategory { category }),
        6 => (some_role(), name(), permissions(), rank.clone()).prop_map(
            |(role, name, permissions, rank)| Act::DefineRole { role, name, permissions, rank },
        ),
        4 => (some_role(), prop::option::of(permissions()), prop::option::of(rank)).prop_map(
            |(role, permissions, rank)| {
                let permissions_were = None;
                Act::ChangeRole { role, name: None, permissions, permissions_were, rank }
            },
        ),
        1 => some_role().prop_map(|role| Act::RemoveRole { role }),
        8 => (who(), some_role()).prop_map(|(user, role)| Act::AssignRole { user, role }),
        3 => (who(), some_role()).prop_map(|(user, role)| Act::WithdrawRole { user, role }),
        2 => invite().prop_map(|invite| Act::CreateInvite {
            invite, hash: "h".to_owned(), at: moment(0), expires_at: None, uses_max: Some(2),
        }),
        1 => invite().prop_map(|invite| Act::RevokeInvite { invite }),
        8 => Just(Act::Join),
        1 => Just(Act::UseInvite { hash: "h".to_owned(), at: moment(1) }),
        1 => Just(Act::Leave),
        2 => who().prop_map(|user| Act::Kick { user }),
        1 => who().prop_map(|user| Act::Ban { user, reason: None }),
        1 => who().prop_map(|user| Act::Unban { user }),
        1 => who().prop_map(|to| Act::Transfer { to }),
    ]
}

fn inherited() -> impl Strategy<Value = Option<Role>> {
    prop_oneof![
        8 => Just(None),
        1 => Just(Some(Role::Admin)),
        1 => Just(Some(Role::Owner)),
    ]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    // One of the users owns most spaces, so that what is asked is often allowed.
    let by = || prop_oneof![2 => Just(user(0)), 3 => who()];
    let command =
        (by(), act(), inherited()).prop_map(|(by, act, inherited)| Command { by, act, inherited });
    prop::collection::vec(command, 0..100)
}

/// What each of `space` may, before it is asked whether they see the channel.
fn all_held(space: &Space, user: UserId, channel: Option<ConversationId>) -> Permissions {
    let Some(channel) = channel else {
        return space.permissions(user, None, None);
    };
    // Seeing is given to them here, so that what else they would have shows.
    let mut shown = space.clone();
    if let Some(there) = shown.channels.get_mut(&channel) {
        let it = there.overrides.members.entry(user).or_default();
        it.deny = it.deny.without(Permissions::of(&[Permission::ViewChannel]));
        it.allow = it.allow.with(Permissions::of(&[Permission::ViewChannel]));
    }
    let held = shown.permissions(user, Some(channel), None);
    let sees = space.permissions(user, Some(channel), None);
    let view = Permissions::of(&[Permission::ViewChannel]);
    held.without(view).with(sees.both(view))
}

fn check_bounds(state: &State) -> Result<(), TestCaseError> {
    let Some(space) = &state.space else {
        return Ok(());
    };
    prop_assert!(space.members.contains_key(&space.owner));
    prop_assert!(space.roles.contains_key(&SpaceRoleId::everyone(space.id)));
    for member in space.members.keys() {
        prop_assert!(!space.banned.contains(member));
    }
    for member in space.members.values() {
        prop_assert!(member.roles.iter().all(|it| space.roles.contains_key(it)));
    }
    for channel in space.channels.values() {
        prop_assert!(
            channel
                .category
                .is_none_or(|it| space.categories.contains_key(&it))
        );
        prop_assert!(channel.touched.version <= state.version);
        for it in channel
            .overrides
            .roles
            .values()
            .chain(channel.overrides.members.values())
        {
            prop_assert!(it.allow.both(it.deny).is_empty() && !it.is_empty());
            prop_assert!(Permissions::OF_CHANNELS.has_all(it.allow.with(it.deny)));
        }
        let mut roles = channel.overrides.roles.keys();
        prop_assert!(roles.all(|it| space.roles.contains_key(it)));
    }
    Ok(())
}

/// Whoever was in before has nothing more by it that the asker had neither in the space nor in the
/// channel.
fn check_gains(before: &Space, after: &Space, command: &Command) -> Result<(), TestCaseError> {
    let asker = |channel| before.permissions(command.by, channel, command.inherited);
    for user in before.members.keys() {
        let channels = before.channels.keys().map(|id| Some(*id));
        for channel in [None].into_iter().chain(channels) {
            let gained = all_held(after, *user, channel).without(all_held(before, *user, channel));
            let had = asker(None).with(asker(channel));
            prop_assert!(
                had.has_all(gained),
                "{command:?} gives {user} {gained:?} in {channel:?}"
            );
        }
    }
    Ok(())
}

/// Nobody who stands as high as the asker loses their place or a role, but by their own will.
fn check_ranks(before: &Space, after: &Space, command: &Command) -> Result<(), TestCaseError> {
    let standing = before.standing(command.by, command.inherited);
    for (user, member) in &before.members {
        let is_above = before.standing(*user, None) >= standing && *user != command.by;
        if !is_above {
            continue;
        }
        match after.members.get(user) {
            None => prop_assert!(false, "{command:?} puts {user} out"),
            // A role that is removed is nobody's.
            Some(_) if matches!(command.act, Act::RemoveRole { .. }) => {}
            Some(now) => prop_assert_eq!(&now.roles, &member.roles, "{:?}", command),
        }
        if matches!(standing, Standing::Member(_) | Standing::Server) {
            prop_assert_eq!(before.owner, after.owner);
        }
    }
    Ok(())
}

/// A channel was touched if and only if what it is as a conversation may be another.
fn check_touched(before: &State, after: &State) -> Result<(), TestCaseError> {
    let (Some(was), Some(is)) = (&before.space, &after.space) else {
        return Ok(());
    };
    for (id, channel) in &is.channels {
        prop_assert!(channel.touched.version <= after.version);
        let differs = match was.channels.get(id) {
            None => true,
            Some(earlier) => {
                (&earlier.name, was.archived) != (&channel.name, is.archived)
                    || was.viewers(*id) != is.viewers(*id)
            }
        };
        if differs {
            prop_assert!(channel.touched.version > before.version, "{id:?}");
        }
    }
    Ok(())
}

/// A channel that has followed what there was `before` and is told only of whom it is about is what one
/// is that asks of everybody.
fn check_few(before: &State, after: &State) -> Result<(), TestCaseError> {
    let (Some(was), Some(is)) = (&before.space, &after.space) else {
        return Ok(());
    };
    for (id, channel) in &was.channels {
        let Some(few) = is.changed_since(*id, channel.touched.version) else {
            continue;
        };
        let mut viewers = was.viewers(*id);
        for (user, sees) in few {
            if sees {
                viewers.insert(user);
            } else {
                viewers.remove(&user);
            }
        }
        prop_assert_eq!(viewers, is.viewers(*id), "{:?}", id);
    }
    Ok(())
}

fn run(commands: &[Command]) -> Result<Given<SpaceRules>, TestCaseError> {
    let mut given = given([]);
    for command in commands {
        let before = given.state.clone();
        let Ok(events) = given.accept(command) else {
            prop_assert_eq!(&before, &given.state);
            continue;
        };
        check_bounds(&given.state)?;
        check_touched(&before, &given.state)?;
        if let (Some(was), Some(is)) = (&before.space, &given.state.space) {
            // Whose it is has everything, whoever made them so.
            if !matches!(command.act, Act::Transfer { .. }) {
                check_gains(was, is, command)?;
            }
            check_ranks(was, is, command)?;
        }
        if events.is_empty() {
            prop_assert_eq!(&before, &given.state);
        }
    }
    Ok(given)
}

proptest! {
    #[test]
    fn its_invariants_hold_whatever_is_asked(commands in commands()) {
        let given = run(&commands)?;
        prop_assert_eq!(given.state.version, Version::ZERO.plus(given.events.len()));
    }

    #[test]
    fn the_owner_may_everything_and_who_is_not_in_nothing(
        commands in commands(),
        inherited in inherited(),
    ) {
        let Some(space) = run(&commands)?.state.space else { return Ok(()) };
        for channel in space.channels.keys() {
            let owner = space.permissions(space.owner, Some(*channel), None);
            prop_assert_eq!(owner, Permissions::OF_CHANNELS);
            for user in (0..USERS).map(user).filter(|it| !space.members.contains_key(it)) {
                let held = space.permissions(user, Some(*channel), inherited);
                prop_assert_eq!(held, Permissions::NONE);
                prop_assert_eq!(space.permissions(user, None, inherited), Permissions::NONE);
            }
        }
        prop_assert_eq!(space.permissions(space.owner, None, None), Permissions::ALL);
    }

    /// Allowing more takes nothing from anybody, and denying more gives nothing to anybody.
    #[test]
    fn what_is_allowed_adds_and_what_is_denied_takes(
        commands in commands(),
        role in some_role(),
        target in target(),
        more in of_channels(),
    ) {
        let Some(space) = run(&commands)?.state.space else { return Ok(()) };
        let mut wider = space.clone();
        if let Some(role) = wider.roles.get_mut(&role) {
            role.permissions = role.permissions.with(more);
        }
        let edited = |edit: fn(&mut Override, Permissions)| {
            let mut edited = space.clone();
            for channel in edited.channels.values_mut() {
                let it = match target {
                    Target::Role(role) => channel.overrides.roles.entry(role).or_default(),
                    Target::Member(user) => channel.overrides.members.entry(user).or_default(),
                };
                edit(it, more);
            }
            edited
        };
        let allowing = edited(|it, more| it.allow = it.allow.with(more));
        let denying = edited(|it, more| it.deny = it.deny.with(more));
        for user in (0..USERS).map(user) {
            for channel in space.channels.keys() {
                let held = |space: &Space| space.permissions(user, Some(*channel), None);
                prop_assert!(held(&wider).has_all(held(&space)));
                prop_assert!(held(&allowing).has_all(held(&space)));
                prop_assert!(held(&space).has_all(held(&denying)));
            }
        }
    }

    /// A role on the whole server shows no channel, and takes nothing away.
    #[test]
    fn a_role_on_the_server_shows_no_channel(commands in commands(), role in inherited()) {
        let Some(space) = run(&commands)?.state.space else { return Ok(()) };
        for user in (0..USERS).map(user) {
            let scopes = space.channels.keys().map(|id| Some(*id)).chain([None]);
            for channel in scopes {
                let alone = space.permissions(user, channel, None);
                let with = space.permissions(user, channel, role);
                prop_assert!(with.has_all(alone));
                let view = Permission::ViewChannel;
                prop_assert_eq!(with.has(view), alone.has(view));
            }
        }
    }

    #[test]
    fn what_is_explained_is_what_is_so(
        commands in commands(),
        by in who(),
        inherited in inherited(),
    ) {
        let Some(space) = run(&commands)?.state.space else { return Ok(()) };
        for channel in space.channels.keys().map(|id| Some(*id)).chain([None]) {
            let held = space.permissions(by, channel, inherited);
            let explained = space.explain(by, channel, inherited).expect("there is one");
            let allowed: Permissions = explained
                .iter()
                .filter(|it| it.allowed)
                .map(|it| it.permission)
                .collect();
            prop_assert_eq!(held, allowed);
            for it in explained {
                let names_none = matches!(
                    it.because,
                    Because::NotAMember | Because::NotGiven | Because::ChannelNotSeen
                );
                let names_one = matches!(
                    it.because,
                    Because::Owner | Because::Administrator { .. } | Because::ServerRole { .. }
                );
                prop_assert!(!(it.allowed && names_none) && (it.allowed || !names_one), "{it:?}");
            }
        }
    }

    /// The same events folded from a state that was stored half way, as snapshots do.
    #[test]
    fn a_state_survives_being_stored(commands in commands(), half in 0..100_usize) {
        let given = run(&commands)?;
        let (first, second) = given.events.split_at(half.min(given.events.len()));
        let stored = serde_json::to_string(&Given::<SpaceRules>::history(first.to_vec()).state)
            .expect("a state is JSON");
        let mut state: State = serde_json::from_str(&stored).expect("a state is JSON");
        for (index, event) in second.iter().enumerate() {
            state = SpaceRules::evolve(state, Version::ZERO.plus(first.len() + index + 1), event);
        }
        prop_assert_eq!(state, given.state);
    }

    #[test]
    fn few_are_asked_of_and_nobody_is_forgotten(commands in commands(), ago in 1..50_usize) {
        let events = run(&commands)?.events;
        let until = |end: usize| Given::<SpaceRules>::history(events[..end].to_vec()).state;
        let last = until(events.len());
        check_few(&until(events.len().saturating_sub(ago)), &last)?;
        check_few(&until(events.len() / 2), &last)?;
    }

    /// Not every list of events can come to be, but every list can be folded.
    #[test]
    fn events_fold_in_any_order(commands in commands(), seed in any::<u64>()) {
        let mut events = run(&commands)?.events;
        let mut next = seed;
        for index in (1..events.len()).rev() {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            events.swap(index, usize::try_from(next >> 33).unwrap_or(0) % (index + 1));
        }
        let state = given(events).state;
        if let Some(space) = &state.space {
            prop_assert!(space.members.contains_key(&space.owner));
        }
    }
}

/// Alice owns it; Bob has the rank 5 and manages roles, kicks and bans; Carol has no role.
fn house() -> Given<SpaceRules> {
    let waiter = [
        Permission::ManageRoles,
        Permission::KickMembers,
        Permission::BanMembers,
    ];
    let mut house = given([
        space_of(ALICE),
        joined(BOB),
        joined(CAROL),
        defined(5, &waiter, ALICE),
        defined(6, &[Permission::ManageSpace], ALICE),
        defined(2, &[Permission::ManageChannels], ALICE),
        assigned(BOB, 5, ALICE),
    ]);
    let channel = Act::CreateChannel {
        channel: channel_id(0),
        kind: ChannelKind::Text,
        name: title("back-office"),
        category: None,
        position: 0,
    };
    house.accept(&Command::by(ALICE, channel)).expect("she may");
    house
}

fn hide() -> Act {
    Act::SetOverride {
        channel: channel_id(0),
        target: Target::Role(SpaceRoleId::everyone(SPACE)),
        set: Override {
            allow: Permissions::NONE,
            deny: Permissions::of(&[Permission::ViewChannel]),
        },
        were: None,
    }
}

#[test]
fn nobody_gives_what_they_do_not_have_nor_touches_who_stands_as_high() {
    let give = |user, number| Act::AssignRole {
        user,
        role: role(number),
    };
    for (act, refusal) in [
        (give(CAROL, 2), Refused::PermissionNotHeld),
        (give(CAROL, 5), Refused::RankTooLow),
        (give(CAROL, 6), Refused::RankTooLow),
        (give(CAROL, 7), Refused::RoleNotFound),
        (give(CAROL, SPACE.0.as_u128()), Refused::RoleNotFound),
        (Act::Kick { user: ALICE }, Refused::RankTooLow),
        (Act::Transfer { to: BOB }, Refused::NotTheOwner),
        (
            Act::Archive,
            Refused::PermissionMissing(Permission::ManageSpace),
        ),
    ] {
        house().when(Command::by(BOB, act)).then_refused(refusal);
    }
    let everyone = SpaceRoleId::everyone(SPACE);
    let assign = Act::AssignRole {
        user: CAROL,
        role: everyone,
    };
    house()
        .when(Command::by(ALICE, assign))
        .then_refused(Refused::RoleOfEveryone);
    house()
        .when(Command::by(ALICE, Act::Leave))
        .then_refused(Refused::OwnerMustStay);
}

#[test]
fn a_role_that_opens_a_hidden_channel_is_given_by_those_who_see_it() {
    let mut house = house();
    house.accept(&Command::by(ALICE, hide())).expect("she may");
    let open = Act::SetOverride {
        channel: channel_id(0),
        target: Target::Role(role(1)),
        set: Override {
            allow: Permissions::of(&[Permission::ViewChannel]),
            deny: Permissions::NONE,
        },
        were: None,
    };
    let define = Act::DefineRole {
        role: role(1),
        name: title("Cooks"),
        permissions: Permissions::NONE,
        rank: 1,
    };
    house.accept(&Command::by(ALICE, define)).expect("she may");
    let refused = house.accept(&Command::by(BOB, open.clone()));
    assert_eq!(refused, Err(Refused::ChannelNotFound));
    house.accept(&Command::by(ALICE, open)).expect("she may");
    let cook = |user| Act::AssignRole {
        user,
        role: role(1),
    };
    let refused = house.accept(&Command::by(BOB, cook(BOB)));
    assert_eq!(refused, Err(Refused::PermissionNotHeld));
    house
        .accept(&Command::by(ALICE, cook(CAROL)))
        .expect("she may");
    let space = house.state.space.expect("there is one");
    let viewers: BTreeSet<UserId> = space.viewers(channel_id(0));
    assert_eq!(viewers, [ALICE, CAROL].into());
    let explained = space
        .explain(BOB, Some(channel_id(0)), None)
        .expect("it is there");
    assert!(explained.iter().all(|it| !it.allowed));
    assert_eq!(
        explained[0].because,
        Because::RoleOverride {
            role: SpaceRoleId::everyone(SPACE)
        }
    );
    assert_eq!(explained[1].because, Because::ChannelNotSeen);
}

#[test]
fn who_runs_the_server_keeps_order_where_they_are_but_sees_nothing_more() {
    let mut house = house();
    house.accept(&Command::by(ALICE, hide())).expect("she may");
    let as_admin = |act| Command {
        by: CAROL,
        act,
        inherited: Some(Role::Admin),
    };
    let open = Act::SetOverride {
        channel: channel_id(0),
        target: Target::Member(CAROL),
        set: Override {
            allow: Permissions::of(&[Permission::ViewChannel]),
            deny: Permissions::NONE,
        },
        were: None,
    };
    let admin = Act::DefineRole {
        role: role(9),
        name: title("All"),
        permissions: Permissions::of(&[Permission::Administrator]),
        rank: 9,
    };
    for (act, refusal) in [
        (open, Refused::ChannelNotFound),
        (admin, Refused::PermissionNotHeld),
        (Act::Transfer { to: CAROL }, Refused::NotTheOwner),
        (Act::Kick { user: ALICE }, Refused::RankTooLow),
    ] {
        let refused = house.accept(&as_admin(act));
        assert_eq!(refused, Err(refusal));
    }
    house
        .accept(&as_admin(Act::Kick { user: BOB }))
        .expect("an admin may");
    let as_owner = Command {
        inherited: Some(Role::Owner),
        ..as_admin(Act::Transfer { to: CAROL })
    };
    house.accept(&as_owner).expect("an owner of the server may");
    let again = house.accept(&Command::by(ALICE, Act::Kick { user: CAROL }));
    assert!(again.is_err(), "she is the owner now");
}

#[test]
fn who_is_banned_is_out_and_does_not_come_back_until_unbanned() {
    let mut house = house();
    let ban = Act::Ban {
        user: CAROL,
        reason: None,
    };
    assert_eq!(
        house
            .accept(&Command::by(BOB, ban.clone()))
            .map(|it| it.len()),
        Ok(1)
    );
    assert_eq!(house.accept(&Command::by(BOB, ban)), Ok(vec![]));
    let open = Act::SetJoining {
        joining: Joining::Open,
    };
    house.accept(&Command::by(ALICE, open)).expect("she may");
    let join = Command::by(CAROL, Act::Join);
    assert_eq!(house.accept(&join), Err(Refused::Banned));
    let unban = Act::Unban { user: CAROL };
    house.accept(&Command::by(BOB, unban)).expect("he may");
    assert_eq!(house.accept(&join).map(|it| it.len()), Ok(1));
    assert_eq!(house.accept(&join), Ok(vec![]));
}

#[test]
fn a_join_asks_of_who_joins_and_of_nobody_else() {
    let mut house = house();
    let open = Act::SetJoining {
        joining: Joining::Open,
    };
    house.accept(&Command::by(ALICE, open)).expect("she may");
    let followed = house.state.version;
    house
        .accept(&Command::by(user(9), Act::Join))
        .expect("it is open");
    let few = |house: &Given<SpaceRules>| {
        let space = house.state.space.as_ref().expect("there is one");
        space.changed_since(channel_id(0), followed)
    };
    assert_eq!(few(&house), Some([(user(9), true)].into()));
    for number in 10..=10 + crate::space::Sights::REMEMBERED_MAX as u128 {
        house
            .accept(&Command::by(user(number), Act::Join))
            .expect("it is open");
    }
    assert_eq!(few(&house), None, "that is too long ago");
    house.accept(&Command::by(ALICE, hide())).expect("she may");
    assert_eq!(few(&house), None, "everybody may see it otherwise");
}

#[test]
fn members_times_channels_are_bounded() {
    let channels = SpaceRules::SEATS_MAX / SpaceRules::MEMBERS_MAX;
    let created = (0..channels as u128).map(|number| {
        SpaceEvent::ChannelCreated(ChannelCreated {
            channel: channel_id(number),
            kind: ChannelKind::Text,
            name: Personal::new(ALICE, title("news")),
            category: None,
            position: 0,
        })
    });
    let others = (1..SpaceRules::MEMBERS_MAX as u128).map(|number| joined(user(number)));
    let house = given([space_of(ALICE)].into_iter().chain(others).chain(created));
    let one_more = Act::CreateChannel {
        channel: channel_id(1_000),
        kind: ChannelKind::Text,
        name: title("news"),
        category: None,
        position: 0,
    };
    house
        .when(Command::by(ALICE, one_more))
        .then_refused(Refused::TooManyChannels);
}

#[test]
fn who_does_not_know_what_others_changed_changes_nothing() {
    let mut house = house();
    let pin = Permissions::of(&[Permission::PinMessages]);
    let speak = Permissions::of(&[Permission::Speak]);
    let change = |permissions, permissions_were| {
        let act = Act::ChangeRole {
            role: role(2),
            name: None,
            permissions: Some(permissions),
            permissions_were: Some(permissions_were),
            rank: None,
        };
        Command::by(ALICE, act)
    };
    let had = Permissions::of(&[Permission::ManageChannels]);
    house.accept(&change(pin, had)).expect("nobody was before");
    assert_eq!(house.accept(&change(pin, had)), Ok(vec![]), "it is so");
    let late = house.accept(&change(speak, had));
    assert_eq!(late, Err(Refused::ChangedMeanwhile));
    let denying = |deny, were| {
        let (allow, none) = (Permissions::NONE, Permissions::NONE);
        let act = Act::SetOverride {
            channel: channel_id(0),
            target: Target::Member(CAROL),
            set: Override { allow, deny },
            were: Some(Override {
                allow: none,
                deny: were,
            }),
        };
        Command::by(ALICE, act)
    };
    house
        .accept(&denying(pin, Permissions::NONE))
        .expect("nobody was before");
    let late = house.accept(&denying(speak, Permissions::NONE));
    assert_eq!(late, Err(Refused::ChangedMeanwhile));
    house.accept(&denying(speak, pin)).expect("she knows");
}

/// Bob, who sees all channels and has a role above Carol, may by `only` alone; Alice's are an invite, a
/// channel and a role below his.
fn house_of_one(only: Permission) -> Given<SpaceRules> {
    let everyone = SpaceEvent::RoleChanged(RoleSet {
        role: SpaceRoleId::everyone(SPACE),
        name: Personal::new(ALICE, title("everyone")),
        permissions: Permissions::of(&[Permission::ViewChannel]),
        rank: 0,
        by: ALICE,
    });
    let mut house = given([
        space_of(ALICE),
        everyone,
        joined(BOB),
        joined(CAROL),
        defined(5, &[only], ALICE),
        defined(1, &[], ALICE),
        assigned(BOB, 5, ALICE),
    ]);
    for act in [create_channel(0), create_invite(0)] {
        house.accept(&Command::by(ALICE, act)).expect("she may");
    }
    house
}

fn create_channel(number: u128) -> Act {
    Act::CreateChannel {
        channel: channel_id(number),
        kind: ChannelKind::Text,
        name: title("news"),
        category: None,
        position: 0,
    }
}

fn create_invite(number: u128) -> Act {
    Act::CreateInvite {
        invite: InviteId(Uuid::from_u128(number)),
        hash: number.to_string(),
        at: moment(0),
        expires_at: None,
        uses_max: None,
    }
}

/// Each act with the one permission that it needs.
fn acts_by_permission() -> Vec<(Act, Permission)> {
    let (channel, carol, waiter) = (channel_id(0), CAROL, role(1));
    let name = title("other");
    let of_channels = [
        create_channel(1),
        Act::RenameChannel {
            channel,
            name: name.clone(),
        },
        Act::MoveChannel {
            channel,
            category: None,
            position: 9,
        },
        Act::RemoveChannel { channel },
        Act::CreateCategory {
            category: CategoryId(Uuid::from_u128(1)),
            name: name.clone(),
            position: 0,
        },
    ];
    let of_roles = [
        Act::SetOverride {
            channel,
            target: Target::Member(carol),
            set: Override {
                allow: Permissions::NONE,
                deny: Permissions::of(&[Permission::ViewChannel]),
            },
            were: None,
        },
        Act::DefineRole {
            role: role(2),
            name: name.clone(),
            permissions: Permissions::NONE,
            rank: 2,
        },
        Act::ChangeRole {
            role: waiter,
            name: Some(name.clone()),
            permissions: None,
            permissions_were: None,
            rank: None,
        },
        Act::RemoveRole { role: waiter },
        Act::AssignRole {
            user: carol,
            role: waiter,
        },
        Act::WithdrawRole {
            user: carol,
            role: waiter,
        },
    ];
    let of_space = [
        Act::Rename { name },
        Act::SetJoining {
            joining: Joining::Open,
        },
        Act::Archive,
        Act::RevokeInvite {
            invite: InviteId(Uuid::from_u128(0)),
        },
    ];
    let ban = Act::Ban {
        user: carol,
        reason: None,
    };
    let needs = |permission| move |act| (act, permission);
    let channels = of_channels.map(needs(Permission::ManageChannels));
    let roles = of_roles.map(needs(Permission::ManageRoles));
    let space = of_space.map(needs(Permission::ManageSpace));
    let others = [
        (create_invite(1), Permission::CreateInvites),
        (Act::Kick { user: carol }, Permission::KickMembers),
        (ban, Permission::BanMembers),
        (Act::Unban { user: carol }, Permission::BanMembers),
    ];
    let all = channels.into_iter().chain(roles).chain(space);
    all.chain(others).collect()
}

#[test]
fn each_permission_alone_opens_exactly_what_needs_it() {
    for only in Permission::ALL {
        for (act, needed) in acts_by_permission() {
            let answer = house_of_one(only).accept(&Command::by(BOB, act.clone()));
            if only == needed || only == Permission::Administrator {
                assert!(answer.is_ok(), "{only:?} {act:?}: {answer:?}");
            } else {
                let missing = Refused::PermissionMissing(needed);
                assert_eq!(answer, Err(missing), "{only:?} {act:?}");
            }
        }
    }
}
