//! Spaces in the log, and the rows that they become.

use chrono::{DateTime, TimeDelta, Utc};
use domain::space::{
    CategoryRemoved, CategorySet, ChannelCreated, ChannelKind, ChannelMoved, ChannelRemoved,
    ChannelRenamed, Created, InviteCreated, InviteRevoked, InviteUsed, Joining, JoiningChanged,
    OverrideSet, OwnershipTransferred, Permission, Permissions, RoleGiven, RoleRemoved, RoleSet,
    SpaceArchiveChanged, SpaceEvent, SpaceMemberBanned, SpaceMemberJoined, SpaceMemberKicked,
    SpaceMemberLeft, SpaceMemberUnbanned, SpaceRenamed, Target,
};
use domain::values::{Reason, Title};
use domain::{
    CategoryId, ConversationId, InviteId, Personal, SpaceId, SpaceRoleId, StreamName, UserId,
};
use infra::read_models::{Snapshot, spaces};
use uuid::Uuid;

use crate::harness::{BOTH, Log, Running, Scratch, user};

pub(crate) fn space(number: u8) -> SpaceId {
    SpaceId(Uuid::from_u128(0x59_0000 + u128::from(number)))
}

fn id(kind: u128, number: u8) -> Uuid {
    Uuid::from_u128((kind << 64) + u128::from(number % 3))
}

pub(crate) fn channel(number: u8) -> ConversationId {
    ConversationId(id(0xc4, number))
}

fn category(number: u8) -> CategoryId {
    CategoryId(id(0xca, number))
}

fn role(number: u8) -> SpaceRoleId {
    SpaceRoleId(id(0x401e, number))
}

fn invite(number: u8) -> InviteId {
    InviteId(id(0x1417, number))
}

fn name(text: &str) -> Personal<Title> {
    Personal::new(user(0), Title::parse(text).unwrap())
}

fn moment(number: u8) -> DateTime<Utc> {
    crate::harness::start_of_time() + TimeDelta::seconds(number.into())
}

/// How many sorts of events [`event`] makes.
pub(crate) const SORTS: u8 = 26;

/// An event of the sort `sort`, about the `one`th and the `other`th of whatever it is about. It need not
/// make sense.
#[expect(clippy::too_many_lines, reason = "a table, by sort")]
pub(crate) fn event(of: u8, sort: u8, one: u8, other: u8) -> SpaceEvent {
    let by = user(0);
    let who = user(u128::from(one));
    let view = Permissions::of(&[Permission::ViewChannel]);
    let position = u16::from(other);
    let text = format!("named {other}");
    let set = CategorySet {
        category: category(one),
        name: name(&text),
        position,
    };
    let is = RoleSet {
        role: role(one),
        name: name(&text),
        permissions: view,
        rank: position,
        by,
    };
    let given = RoleGiven {
        user: who,
        role: role(other),
        by,
    };
    match sort {
        0 => SpaceEvent::Renamed(SpaceRenamed { name: name(&text) }),
        1 => SpaceEvent::JoiningChanged(JoiningChanged {
            joining: Joining::Open,
            by,
        }),
        2 => SpaceEvent::Archived(SpaceArchiveChanged { by }),
        3 => SpaceEvent::Unarchived(SpaceArchiveChanged { by }),
        4 => SpaceEvent::ChannelCreated(ChannelCreated {
            channel: channel(one),
            kind: ChannelKind::Text,
            name: name(&text),
            category: Some(category(other)),
            position,
        }),
        5 => SpaceEvent::ChannelRenamed(ChannelRenamed {
            channel: channel(one),
            name: name(&text),
        }),
        6 => SpaceEvent::ChannelMoved(ChannelMoved {
            channel: channel(one),
            category: None,
            position,
            by,
        }),
        7 => SpaceEvent::ChannelRemoved(ChannelRemoved {
            channel: channel(one),
            kind: ChannelKind::Text,
            creator: by,
            by,
        }),
        8 => SpaceEvent::CategoryCreated(set),
        9 => SpaceEvent::CategoryChanged(set),
        10 => SpaceEvent::CategoryRemoved(CategoryRemoved {
            category: category(one),
            by,
        }),
        11 => SpaceEvent::RoleDefined(is),
        12 => SpaceEvent::RoleChanged(is),
        13 => SpaceEvent::RoleRemoved(RoleRemoved {
            role: role(one),
            by,
        }),
        14 => SpaceEvent::RoleAssigned(given),
        15 => SpaceEvent::RoleWithdrawn(given),
        16 => SpaceEvent::OverrideSet(OverrideSet {
            channel: channel(one),
            target: Target::Role(role(other)),
            allow: Permissions::NONE,
            deny: if other.is_multiple_of(2) {
                view
            } else {
                Permissions::NONE
            },
            by,
        }),
        17 => SpaceEvent::MemberLeft(SpaceMemberLeft { user: who }),
        18 => SpaceEvent::MemberKicked(SpaceMemberKicked { user: who, by }),
        19 => SpaceEvent::MemberBanned(SpaceMemberBanned {
            user: who,
            by,
            reason: Some(Personal::new(by, Reason::parse("spam").unwrap())),
        }),
        20 => SpaceEvent::MemberUnbanned(SpaceMemberUnbanned { user: who, by }),
        21 => SpaceEvent::InviteCreated(InviteCreated {
            invite: invite(one),
            hash: "00".to_owned(),
            by,
            at: moment(other),
            expires_at: one.is_multiple_of(2).then(|| moment(one)),
            uses_max: Some(2),
        }),
        22 => SpaceEvent::InviteUsed(InviteUsed {
            invite: invite(one),
            user: who,
        }),
        23 => SpaceEvent::InviteRevoked(InviteRevoked {
            invite: invite(one),
            by,
        }),
        24 => SpaceEvent::OwnershipTransferred(OwnershipTransferred { to: who, by }),
        25 => created(of),
        _ => joined(who),
    }
}

fn created(of: u8) -> SpaceEvent {
    SpaceEvent::Created(Created {
        space: space(of),
        name: name("Tea house"),
        owner: user(0),
        joining: Joining::Invite,
        everyone: Permissions::OF_EVERYONE,
    })
}

fn joined(user: UserId) -> SpaceEvent {
    SpaceEvent::MemberJoined(SpaceMemberJoined { user, invite: None })
}

pub(crate) async fn happen(log: &Log, of: u8, event: SpaceEvent) {
    log.append(StreamName::space(space(of)), event).await;
}

/// The rows are as much of the space as decides what its members may.
#[tokio::test]
async fn the_rows_of_a_space_decide_as_its_stream_does() {
    for kind in BOTH {
        let log = Log::new();
        happen(&log, 1, created(1)).await;
        let sorts = [26, 11, 4, 14, 16, 8, 21, 22, 19, 26, 4, 16];
        for (index, sort) in sorts.into_iter().enumerate() {
            let one = u8::try_from(index % 4).unwrap();
            happen(&log, 1, event(1, sort, one, one + 1)).await;
        }
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        running.caught_up(&log).await;
        running.stop().await.unwrap();

        let mut state = domain::space::State::default();
        let stream = StreamName::space(space(1));
        let direction = infra::event_store::Direction::Forward;
        let read = infra::event_store::EventStore::read_stream(
            &*log.store,
            &stream,
            domain::Version(1),
            direction,
            100,
        );
        for recorded in read.await.unwrap() {
            let domain::Event::Space(event) = recorded.event().unwrap() else {
                panic!("{recorded:?}");
            };
            state = <domain::space::SpaceRules as domain::Decider>::evolve(
                state,
                recorded.version,
                &event,
            );
        }
        let expected = state.space.unwrap();
        let mut snapshot = Snapshot::of(&database, &[&spaces::MODEL]).await.unwrap();
        let row = spaces::one(&mut snapshot, space(1)).await.unwrap().unwrap();
        let roles = spaces::roles(&mut snapshot, space(1)).await.unwrap();
        let channels = spaces::channels(&mut snapshot, space(1)).await.unwrap();
        let members = spaces::members(&mut snapshot, space(1), None, 100);
        let members = members.await.unwrap();
        let decides = spaces::rules(&row, &roles, &channels, &members).unwrap();
        assert_eq!(row.member_count, expected.members.len() as u64);
        assert!(decides.members.keys().eq(expected.members.keys()));
        assert!(decides.channels.keys().eq(expected.channels.keys()));
        for who in (0..5).map(user) {
            let scopes = expected.channels.keys().map(|id| Some(*id)).chain([None]);
            for scope in scopes {
                let told = decides.permissions(who, scope, None);
                assert_eq!(told, expected.permissions(who, scope, None), "{scope:?}");
            }
        }
        let bans = spaces::bans(&mut snapshot, space(1), None, 10)
            .await
            .unwrap();
        let bans: Vec<UserId> = bans.iter().map(|ban| ban.banned).collect();
        assert_eq!(bans, Vec::from_iter(expected.banned));
        drop(snapshot);
        database.close().await;
    }
}
