//! Spaces as their members see them, and nobody else.

use domain::conversation::{
    ChannelKind, ChannelOf, ConversationEvent, HistoryVisibility, Mention, MessageSent, Started,
};
use domain::space::{
    ChannelCreated, Created, InviteCreated, Joining, OverrideSet, Permission, Permissions,
    RoleGiven, RoleSet, SpaceEvent, SpaceMemberBanned, SpaceMemberJoined, Target,
};
use domain::user::SystemRole;
use domain::values::{Reason, Title};
use domain::{
    ConversationId, InviteId, Personal, SpaceId, SpaceRoleId, StreamName, UserId, Version,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::door::{Door, each};
use crate::harness::{BOTH, user};

const SPACE: SpaceId = SpaceId(Uuid::from_u128(0x59));
const OPEN: ConversationId = ConversationId(Uuid::from_u128(0xc1));
const HIDDEN: ConversationId = ConversationId(Uuid::from_u128(0xc2));
const COOKS: SpaceRoleId = SpaceRoleId(Uuid::from_u128(0x401e));

fn name(text: &str) -> Personal<Title> {
    Personal::new(user(1), Title::parse(text).unwrap())
}

fn override_of(role: SpaceRoleId, allow: &[Permission], deny: &[Permission]) -> SpaceEvent {
    SpaceEvent::OverrideSet(OverrideSet {
        channel: HIDDEN,
        target: Target::Role(role),
        allow: Permissions::of(allow),
        deny: Permissions::of(deny),
        by: user(1),
    })
}

/// A space of Alice's: Bob is a cook, and cooks see the kitchen; Carol is in it; Dave is banned.
async fn house(door: &Door) {
    let (alice, bob, carol, dave) = (user(1), user(2), user(3), user(4));
    let channel = |channel, text: &str, position| {
        SpaceEvent::ChannelCreated(ChannelCreated {
            channel,
            kind: ChannelKind::Text,
            name: name(text),
            category: None,
            position,
        })
    };
    let joined = |user| SpaceEvent::MemberJoined(SpaceMemberJoined { user, invite: None });
    let view = [Permission::ViewChannel];
    let events = [
        SpaceEvent::Created(Created {
            space: SPACE,
            name: name("Tea house"),
            owner: alice,
            joining: Joining::Invite,
            everyone: Permissions::OF_EVERYONE,
        }),
        joined(bob),
        joined(carol),
        channel(OPEN, "general", 1),
        channel(HIDDEN, "kitchen", 0),
        SpaceEvent::RoleDefined(RoleSet {
            role: COOKS,
            name: name("Cooks"),
            permissions: Permissions::of(&[Permission::BanMembers]),
            rank: 3,
            by: alice,
        }),
        SpaceEvent::RoleAssigned(RoleGiven {
            user: bob,
            role: COOKS,
            by: alice,
        }),
        override_of(SpaceRoleId::everyone(SPACE), &[], &view),
        override_of(COOKS, &view, &[]),
        SpaceEvent::MemberBanned(SpaceMemberBanned {
            user: dave,
            by: alice,
            reason: Some(Personal::new(alice, Reason::parse("spam").unwrap())),
        }),
        SpaceEvent::InviteCreated(InviteCreated {
            invite: InviteId(Uuid::from_u128(0x14)),
            hash: "00".to_owned(),
            by: alice,
            at: door.log.clock.now(),
            expires_at: None,
            uses_max: Some(3),
        }),
    ];
    for event in events {
        door.log.append(StreamName::space(SPACE), event).await;
    }
    let started = ConversationEvent::Started(Started {
        kind: domain::conversation::Kind::Channel,
        title: Some(name("general")),
        creator: Some(alice),
        members: [alice, bob, carol]
            .map(|user| domain::conversation::MemberRole {
                user,
                role: domain::conversation::Role::Member,
            })
            .to_vec(),
        history_visibility: HistoryVisibility::Start,
        channel: Some(ChannelOf {
            space: SPACE,
            kind: ChannelKind::Text,
            space_version: Version(4),
        }),
    });
    door.log.room(OPEN).say(started).await;
}

fn at(path: &str) -> String {
    format!("/v1/spaces/{SPACE}{path}")
}

/// What decided about a permission of `who` in the hidden channel.
async fn why(door: &Door, asker: UserId, who: UserId, permission: &str) -> Value {
    let path = at(&format!("/members/{who}/permissions?channel={HIDDEN}"));
    let explained = door.get(asker, &path).await;
    let all = explained["permissions"].as_array().unwrap().clone();
    let found = all.into_iter().find(|it| it["permission"] == permission);
    found.unwrap()
}

#[tokio::test]
async fn a_member_sees_the_channels_that_are_shown_to_them() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        house(&door).await;
        let (alice, bob, carol, dave) = (user(1), user(2), user(3), user(4));
        for (who, channels) in [
            (alice, vec!["kitchen", "general"]),
            (bob, vec!["kitchen", "general"]),
            (carol, vec!["general"]),
        ] {
            let space = door.get(who, &at("")).await;
            assert_eq!(each(&space["channels"], "name"), channels);
            assert_eq!(space["member_count"], 3);
            assert_eq!(each(&space["roles"], "rank"), [3, 0]);
        }
        let kitchen = door.get(alice, &at("")).await["channels"][0].clone();
        assert_eq!(
            kitchen["overrides"]["roles"][COOKS.to_string()]["allow"],
            json!(["view_channel"])
        );
        let cook = door.get(bob, &at("")).await;
        assert!(
            cook["channels"][0].get("overrides").is_none(),
            "they are for those who set them"
        );
        assert_eq!(cook["my_roles"], json!([COOKS]));
        let may = cook["permissions"].as_array().unwrap();
        assert!(may.contains(&json!("ban_members")), "{may:?}");
        let not_found = (404, "space_not_found".to_owned());
        for path in ["", "/members", "/bans", "/invites"] {
            assert_eq!(door.problem(dave, &at(path)).await, not_found, "{path}");
        }
        let listed = door.get(carol, "/v1/spaces").await;
        assert_eq!(each(&listed["spaces"], "name"), ["Tea house"]);
        assert_eq!(door.get(dave, "/v1/spaces").await["spaces"], json!([]));
        let members = door.get(carol, &at("/members?limit=2")).await;
        assert_eq!(
            each(&members["members"], "user"),
            [json!(alice), json!(bob)]
        );
        let next = members["next"].as_str().unwrap();
        let path = at(&format!("/members?limit=2&after={next}"));
        let members = door.get(carol, &path).await;
        assert_eq!(each(&members["members"], "user"), [json!(carol)]);
        assert!(members.get("next").is_none());

        let bans = door.get(bob, &at("/bans")).await;
        assert_eq!(each(&bans["bans"], "reason"), ["spam"]);
        let missing = (403, "permission_missing".to_owned());
        assert_eq!(door.problem(carol, &at("/bans")).await, missing);
        let invites = door.get(alice, &at("/invites")).await;
        assert_eq!(each(&invites["invites"], "uses_max"), [3]);
        assert_eq!(door.get(bob, &at("/invites")).await["invites"], json!([]));

        let path = format!("/v1/conversations/{OPEN}");
        let channel = door.get(carol, &path).await;
        assert_eq!(
            (&channel["kind"], &channel["space"]),
            (&json!("channel"), &json!(SPACE))
        );
        assert_eq!(channel["channel_kind"], "text");
        door.close().await;
    }
}

#[tokio::test]
async fn why_somebody_may_is_told_to_those_who_see_the_channel() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        house(&door).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let view = why(&door, bob, bob, "view_channel").await;
        let because = json!({"source": "role_override", "role": COOKS});
        assert_eq!(
            (&view["allowed"], &view["because"]),
            (&json!(true), &because)
        );
        let view = why(&door, bob, carol, "view_channel").await;
        let because = json!({"source": "role_override", "role": SPACE});
        assert_eq!(
            (&view["allowed"], &view["because"]),
            (&json!(false), &because)
        );
        let sends = why(&door, alice, carol, "send_messages").await;
        assert_eq!(sends["because"]["source"], "channel_not_seen");
        let pins = why(&door, bob, bob, "pin_messages").await;
        assert_eq!(pins["because"]["source"], "not_given");
        door.log.grant(bob, SystemRole::Admin).await;
        let pins = why(&door, alice, bob, "pin_messages").await;
        assert_eq!(
            pins["because"],
            json!({"source": "server_role", "role": "admin"})
        );
        let path = at(&format!("/members/{alice}/permissions?channel={HIDDEN}"));
        let not_found = (404, "channel_not_found".to_owned());
        assert_eq!(door.problem(carol, &path).await, not_found);
        let path = at(&format!("/members/{}/permissions", user(4)));
        let nobody = (404, "no_such_member".to_owned());
        assert_eq!(door.problem(carol, &path).await, nobody);
        let owner = door
            .get(carol, &at(&format!("/members/{alice}/permissions")))
            .await;
        let mut sources = owner["permissions"].as_array().unwrap().iter();
        assert!(sources.all(|it| it["because"]["source"] == "owner"));
        door.close().await;
    }
}

#[tokio::test]
async fn a_call_for_a_role_is_counted_listed_and_found_by_those_who_have_it() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        house(&door).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.room(OPEN);
        let calls =
            |role| move |sent: &mut MessageSent| sent.mentions = [Mention::SpaceRole(role)].into();
        let seq = room.say_as(alice, "dinner?", calls(COOKS)).await;
        let nobodys = SpaceRoleId(Uuid::from_u128(0x401f));
        room.say_as(alice, "breakfast?", calls(nobodys)).await;
        let told = async |who| {
            let channel = door.get(who, &format!("/v1/conversations/{OPEN}")).await;
            let list = door.get(who, "/v1/notifications").await;
            let found = door.get(who, "/v1/search?mentions=me").await;
            let hits = found["hits"].as_array().unwrap().iter();
            let hits: Vec<Value> = hits.map(|hit| hit["message"]["seq"].clone()).collect();
            let listed = each(&list["notifications"], "message");
            (channel["mention_count"].clone(), listed, hits)
        };
        let called = (json!(1), vec![json!(seq)], vec![json!(seq)]);
        let not_called = (json!(0), vec![], vec![]);
        assert_eq!(told(bob).await, called);
        assert_eq!(told(carol).await, not_called);
        let path = format!("/v1/conversations/{OPEN}/messages/{seq}");
        let message = door.get(carol, &path).await;
        assert_eq!(message["mentions"], json!([{"space_role": COOKS}]));
        let given = |user| RoleGiven {
            user,
            role: COOKS,
            by: alice,
        };
        for event in [
            SpaceEvent::RoleWithdrawn(given(bob)),
            SpaceEvent::RoleAssigned(given(carol)),
        ] {
            door.log.append(StreamName::space(SPACE), event).await;
        }
        assert_eq!(told(bob).await, not_called);
        assert_eq!(told(carol).await, called);
        door.close().await;
    }
}

#[tokio::test]
async fn who_is_banned_has_that_among_their_data_without_the_words_of_others() {
    let door = Door::open(BOTH[0]).await;
    house(&door).await;
    let dave = user(4);
    let own = SpaceEvent::OverrideSet(OverrideSet {
        channel: OPEN,
        target: Target::Member(dave),
        allow: Permissions::NONE,
        deny: Permissions::of(&[Permission::SendMessages]),
        by: user(1),
    });
    door.log.append(StreamName::space(SPACE), own).await;
    let (status, text) = door.text(dave, "/v1/users/me/export").await;
    assert_eq!(status, 200);
    for named in ["space-member-banned", "override-set"] {
        assert!(text.contains(named), "{named}: {text}");
    }
    for others in ["spam", "space-member-joined", &COOKS.to_string()] {
        assert!(!text.contains(others), "{others}: {text}");
    }
    door.close().await;
}
