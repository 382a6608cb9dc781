//! Spaces in the log, and the rows that they become.

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::{
    ChannelOf, ConversationEvent, HistoryVisibility, Kind, MemberRole, Mention, MessageSent, Role,
    Started,
};
use domain::space::{
    CategoryRemoved, CategorySet, ChannelCreated, ChannelKind, ChannelMoved, ChannelRemoved,
    ChannelRenamed, Created, InviteCreated, InviteRevoked, InviteUsed, Joining, JoiningChanged,
    OverrideSet, OwnershipTransferred, Permission, Permissions, RoleGiven, RoleRemoved, RoleSet,
    SpaceArchiveChanged, SpaceEvent, SpaceMemberBanned, SpaceMemberJoined, SpaceMemberKicked,
    SpaceMemberLeft, SpaceMemberUnbanned, SpaceRenamed, Target,
};
use domain::values::{Reason, Title};
use domain::{
    CategoryId, ConversationId, InviteId, Personal, Seq, SpaceId, SpaceRoleId, StreamName, UserId,
    Version,
};
use infra::database::Database;
use infra::read_models::messages::notices::{self, NoticeKind};
use infra::read_models::messages::unseen::{Window, unseen};
use infra::read_models::{Snapshot, conversations, spaces};
use uuid::Uuid;

use crate::harness::{ALL, BOTH, Log, Room, Running, Scratch, dump, start_of_time, user};

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

pub(crate) fn role(number: u8) -> SpaceRoleId {
    SpaceRoleId(id(0x401e, number))
}

fn invite(number: u8) -> InviteId {
    InviteId(id(0x1417, number))
}

fn name(text: &str) -> Personal<Title> {
    Personal::new(user(0), Title::parse(text).unwrap())
}

fn moment(number: u8) -> DateTime<Utc> {
    start_of_time() + TimeDelta::seconds(number.into())
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

/// A space of the user 0 with the roles 0 to 2, and a channel of it; both have these members, too.
pub(crate) async fn house<'a>(log: &'a Log, members: &[UserId]) -> Room<'a> {
    happen(log, 1, created(1)).await;
    for user in members {
        happen(log, 1, joined(*user)).await;
    }
    for number in 0..3 {
        // One of the sort that defines a role.
        happen(log, 1, event(1, 11, number, number + 1)).await;
    }
    let room = log.room(channel(0));
    let member = |user| MemberRole {
        user,
        role: Role::Member,
    };
    let all = std::iter::once(user(0)).chain(members.iter().copied());
    room.say(ConversationEvent::Started(Started {
        kind: Kind::Channel,
        title: Some(name("general")),
        creator: Some(user(0)),
        members: all.map(member).collect(),
        history_visibility: HistoryVisibility::Start,
        channel: Some(ChannelOf {
            space: space(1),
            kind: ChannelKind::Text,
            space_version: Version(1),
        }),
    }))
    .await;
    room
}

fn given(who: UserId, number: u8) -> RoleGiven {
    RoleGiven {
        user: who,
        role: role(number),
        by: user(0),
    }
}

pub(crate) async fn give(log: &Log, who: UserId, number: u8) {
    happen(log, 1, SpaceEvent::RoleAssigned(given(who, number))).await;
}

/// A message that calls these roles.
pub(crate) async fn call(room: &Room<'_>, author: UserId, roles: &[u8]) -> Seq {
    let roles = roles.iter().map(|it| Mention::SpaceRole(role(*it)));
    let call = |sent: &mut MessageSent| sent.mentions = roles.collect();
    room.say_as(author, "dinner?", call).await
}

/// The messages that call `who`: how many are counted, which are listed, and how many are said to be missed.
async fn calls(database: &Database, who: UserId) -> (u64, Vec<Seq>, u64) {
    let mut snapshot = Snapshot::of(database, &ALL).await.unwrap();
    let listed = conversations::of_member(&mut snapshot, who, None, 10).await;
    let counted = listed.unwrap().iter().map(|it| it.mentions).sum();
    let notices = notices::list(&mut snapshot, who, None, 10).await.unwrap();
    let unread = notices::unread(&mut snapshot, who, domain::Position::ZERO);
    let are_unread = notices.iter().filter(|it| !it.is_read);
    assert_eq!(unread.await.unwrap(), are_unread.count() as u64);
    let notices = notices.into_iter().map(|it| it.notice);
    let mentions = notices.filter(|it| it.kind == NoticeKind::Mention);
    let mentions: Vec<Seq> = mentions.map(|it| it.message).collect();
    let window = Window::since(start_of_time());
    let missed = unseen(&mut snapshot, who, window, 10).await.unwrap();
    let missed = missed.iter().map(|it| it.calls).sum();
    (counted, mentions, missed)
}

#[tokio::test]
async fn a_role_calls_those_who_have_it_now() {
    for kind in BOTH {
        let log = Log::new();
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        let running = Running::start(&log, &database);
        let (anna, bob, carol) = (user(0), user(1), user(2));
        let room = house(&log, &[bob, carol]).await;
        give(&log, bob, 0).await;
        give(&log, bob, 1).await;
        let first = call(&room, anna, &[0, 1]).await;
        let second = call(&room, anna, &[2]).await;
        call(&room, bob, &[0]).await;
        let told = async |who| {
            running.caught_up(&log).await;
            calls(&database, who).await
        };
        let none = || (0, vec![], 0);
        assert_eq!(told(bob).await, (1, vec![first], 1), "once, and not by bob");
        assert_eq!(told(carol).await, none());
        // Who gets a role is called by what they have not seen.
        give(&log, carol, 2).await;
        assert_eq!(told(carol).await, (1, vec![second], 1));
        happen(&log, 1, SpaceEvent::RoleWithdrawn(given(bob, 1))).await;
        assert_eq!(told(bob).await, (1, vec![first], 1), "by the other role");
        happen(&log, 1, SpaceEvent::RoleWithdrawn(given(bob, 0))).await;
        assert_eq!(told(bob).await, none());
        give(&log, bob, 1).await;
        // A role that is removed calls nobody, also where something else happens to who had it.
        let removed = RoleRemoved {
            role: role(2),
            by: anna,
        };
        happen(&log, 1, SpaceEvent::RoleRemoved(removed)).await;
        give(&log, carol, 1).await;
        let (of_bob, of_carol) = (told(bob).await, told(carol).await);
        assert_eq!(of_bob, (1, vec![first], 1));
        assert_eq!(of_carol, of_bob);
        let live = dump(&database).await;
        running.projector.rebuild("spaces").unwrap().done().await;
        assert_eq!(told(bob).await, of_bob);
        assert_eq!(dump(&database).await, live);
        // Who is put out has no role when they come back.
        let kicked = SpaceMemberKicked {
            user: carol,
            by: anna,
        };
        happen(&log, 1, SpaceEvent::MemberKicked(kicked)).await;
        happen(&log, 1, joined(carol)).await;
        assert_eq!(told(carol).await, none());
        room.seen(bob, first).await;
        let (counted, _, missed) = told(bob).await;
        assert_eq!((counted, missed), (0, 0));
        running.stop().await.unwrap();
        database.close().await;
    }
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
