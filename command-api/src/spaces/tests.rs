//! Spaces through the routes: what channels follow, what is cut short and gone on with, and what races.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::conversation::{Command, ConversationEvent, Mention};
use domain::space::{self, Act, Permissions};
use domain::values::Title;
use domain::{
    Actor, CommandId, ConversationId, Event, EventId, Metadata, SpaceId, SpaceRoleId, StreamName,
    UserId, Version,
};
use infra::clock::fresh_id;
use infra::event_store::{EventStore as _, Expected, NewEvent};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Following;
use super::step::Change;
use crate::execute::{COMMANDS_REMEMBERED_MAX, Envelope};
use crate::testing::{OWNER_CODE, World, problem};

impl World {
    async fn space(&self, owner: &str) -> String {
        let create = self
            .post(owner, "/v1/spaces")
            .body(json!({"name": "Tea house"}));
        let (status, answer) = create.send().await;
        assert_eq!(status, 201, "{answer}");
        text(&answer["id"])
    }

    async fn channel(&self, owner: &str, space: &str, name: &str) -> String {
        let path = format!("/v1/spaces/{space}/channels");
        let create = self
            .post(owner, &path)
            .body(json!({"name": name, "kind": "text"}));
        let (status, answer) = create.send().await;
        assert_eq!(status, 201, "{answer}");
        text(&answer["id"])
    }

    /// A code of an invite to the space.
    async fn invite(&self, who: &str, space: &str, invite: Value) -> String {
        let path = format!("/v1/spaces/{space}/invites");
        let (status, answer) = self.post(who, &path).body(invite).send().await;
        assert_eq!(status, 201, "{answer}");
        text(&answer["code"])
    }

    async fn bring(&self, host: &str, space: &str, guests: &[&str]) {
        let code = self.invite(host, space, json!({})).await;
        for guest in guests {
            let used = self
                .post(guest, &format!("/v1/invites/{code}"))
                .send()
                .await;
            assert_eq!(used.0, 200, "{}", used.1);
        }
    }

    async fn role(&self, owner: &str, space: &str, rank: u16, permissions: Value) -> String {
        let path = format!("/v1/spaces/{space}/roles");
        let role = json!({"name": "Waiters", "rank": rank, "permissions": permissions});
        let (status, answer) = self.post(owner, &path).body(role).send().await;
        assert_eq!(status, 201, "{answer}");
        text(&answer["id"])
    }

    /// Denies or allows a role to see a channel.
    async fn show(&self, owner: &str, (space, channel): (&str, &str), role: &str, shows: bool) {
        let path = format!("/v1/spaces/{space}/channels/{channel}/overrides/roles/{role}");
        let what = if shows { "allow" } else { "deny" };
        let set = self
            .put(owner, &path)
            .body(json!({ what: ["view_channel"] }));
        let (status, answer) = set.send().await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn give(&self, owner: &str, space: &str, who: &str, role: &str) {
        let path = format!("/v1/spaces/{space}/members/{}/roles/{role}", self.id(who));
        let (status, answer) = self.put(owner, &path).send().await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Who is in a channel by its own stream.
    async fn within(&self, channel: &str) -> Vec<UserId> {
        let mut members = Vec::new();
        let stream = StreamName::conversation(channel.parse().unwrap());
        for recorded in self.events(&stream).await {
            match recorded.event().unwrap() {
                Event::Conversation(ConversationEvent::Started(started)) => {
                    members.extend(started.members.iter().map(|member| member.user));
                }
                Event::Conversation(ConversationEvent::MemberAdded(added)) => {
                    assert!(!members.contains(&added.user), "nobody is in twice");
                    members.push(added.user);
                }
                Event::Conversation(ConversationEvent::MemberRemoved(removed)) => {
                    members.retain(|user| *user != removed.user);
                }
                Event::Conversation(ConversationEvent::MemberLeft(left)) => {
                    members.retain(|user| *user != left.user);
                }
                _ => {}
            }
        }
        members.sort_unstable();
        members
    }

    fn ids(&self, names: &[&str]) -> Vec<UserId> {
        let mut ids: Vec<_> = names.iter().map(|name| self.id(name)).collect();
        ids.sort_unstable();
        ids
    }

    /// Asks something of a space as a process does that ends before the channels follow.
    async fn cut_short(&self, who: &str, space: &str, act: Act) -> Version {
        let by = self.id(who);
        let id = CommandId(fresh_id());
        let envelope = Envelope::new(Actor::User(by), id, &"cut short").unwrap();
        let stream = StreamName::space(space.parse().unwrap());
        let command = space::Command::by(by, act);
        let done = self.api.spaces().execute(&stream, envelope, command).await;
        done.unwrap().seq
    }
}

impl World {
    /// Puts an event into a stream that nobody can read.
    async fn spoil(&self, stream: &StreamName, event_type: &'static str) {
        let metadata = Metadata {
            actor: Actor::System,
            command_id: CommandId(fresh_id()),
            command_hash: String::new(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent {
            id: EventId::of(metadata.command_id, 0),
            event_type: event_type.into(),
            schema: 1,
            data: "{}".into(),
            metadata: serde_json::to_vec(&metadata).unwrap().into(),
        };
        let appended = self.store.append(stream, Expected::Any, vec![event]);
        appended.await.unwrap();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn say(world: &World, who: &str, channel: &str) -> (u16, String, String) {
    let path = format!("/v1/conversations/{channel}/messages");
    let send = world.post(who, &path).body(json!({"body": "hello"}));
    send.problem().await
}

#[tokio::test]
async fn who_sees_a_channel_is_in_it_and_hears_of_it_in_its_own_stream() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let space = world.space("alice").await;
    let open = world.channel("alice", &space, "general").await;
    let hidden = world.channel("alice", &space, "kitchen").await;
    world.show("alice", (&space, &hidden), &space, false).await;
    world.bring("alice", &space, &["bob", "carol"]).await;
    assert_eq!(
        world.within(&open).await,
        world.ids(&["alice", "bob", "carol"])
    );
    assert_eq!(world.within(&hidden).await, world.ids(&["alice"]));

    let cooks = world.role("alice", &space, 3, json!([])).await;
    world.show("alice", (&space, &hidden), &cooks, true).await;
    world.give("alice", &space, "bob", &cooks).await;
    assert_eq!(world.within(&hidden).await, world.ids(&["alice", "bob"]));
    assert_eq!(say(&world, "bob", &hidden).await.0, 201);
    let outside = problem(404, "conversation_not_found", "");
    assert_eq!(say(&world, "carol", &hidden).await, outside);

    let rename = format!("/v1/spaces/{space}/channels/{hidden}");
    let renamed = world
        .patch("alice", &rename)
        .body(json!({"name": "pantry"}));
    assert_eq!(renamed.send().await.0, 200);
    let role = format!("/v1/spaces/{space}/roles/{cooks}");
    assert_eq!(world.delete("alice", &role).send().await.0, 200);
    assert_eq!(world.within(&hidden).await, world.ids(&["alice"]));
    let kick = format!("/v1/spaces/{space}/members/{}", world.id("carol"));
    assert_eq!(world.delete("alice", &kick).send().await.0, 200);
    let leave = format!("/v1/spaces/{space}/members/{}", world.id("bob"));
    assert_eq!(world.delete("bob", &leave).send().await.0, 200);
    assert_eq!(world.within(&open).await, world.ids(&["alice"]));
    let stream = StreamName::conversation(open.parse().unwrap());
    let expected = [
        "conversation-started",
        "member-added",
        "space-followed",
        "member-added",
        "space-followed",
        "member-removed",
        "space-followed",
        "member-left",
        "space-followed",
    ];
    assert_eq!(world.types(&stream).await, expected);
    let stream = StreamName::conversation(hidden.parse().unwrap());
    let types = world.types(&stream).await;
    assert!(
        types.contains(&"conversation-renamed".to_owned()),
        "{types:?}"
    );

    let removed = world.delete("alice", &rename).send().await;
    assert_eq!(removed.0, 200, "{}", removed.1);
    assert_eq!(world.within(&hidden).await, []);
    assert_eq!(say(&world, "alice", &hidden).await, outside);
}

#[tokio::test]
async fn an_answer_is_at_the_position_of_what_followed_and_a_retry_changes_nothing() {
    let world = World::with(&["alice", "bob"]).await;
    let space = world.space("alice").await;
    let path = format!("/v1/spaces/{space}/channels");
    let create = || {
        let body = json!({"name": "general", "kind": "voice"});
        world.post("alice", &path).key("k").body(body)
    };
    let (status, first) = create().send().await;
    assert_eq!(status, 201);
    let head = world.all_types().await.len();
    assert_eq!(
        first["position"],
        json!(head),
        "the channel's start is the last event"
    );
    assert_eq!(create().send().await, (201, first.clone()));
    let other = world
        .post("alice", &path)
        .key("k")
        .body(json!({"name": "x", "kind": "text"}));
    assert_eq!(
        other.problem().await,
        problem(422, "idempotency_key_reused", "")
    );
    assert_eq!(world.all_types().await.len(), head);
    let world = world.restarted().await;
    let again = world.post("alice", &path).key("k");
    let again = again.body(json!({"name": "general", "kind": "voice"}));
    assert_eq!(again.send().await, (201, first.clone()));
    assert_eq!(world.all_types().await.len(), head);
}

#[tokio::test]
async fn permissions_decide_in_channels_and_the_channel_itself_changes_nothing() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let space = world.space("alice").await;
    let channel = world.channel("alice", &space, "news").await;
    world.bring("alice", &space, &["bob", "carol"]).await;
    let everyone = format!("/v1/spaces/{space}/channels/{channel}/overrides/roles/{space}");
    let deny = json!({"deny": ["send_messages"]});
    assert_eq!(world.put("alice", &everyone).body(deny).send().await.0, 200);
    let missing = problem(403, "permission_missing", "");
    assert_eq!(say(&world, "bob", &channel).await, missing);
    assert_eq!(say(&world, "alice", &channel).await.0, 201);
    let own = format!(
        "/v1/spaces/{space}/channels/{channel}/overrides/members/{}",
        world.id("bob")
    );
    let allow = json!({"allow": ["send_messages", "pin_messages"]});
    assert_eq!(world.put("alice", &own).body(allow).send().await.0, 200);
    let seq = world.say("bob", &channel, "hello").await;
    let message = format!("/v1/conversations/{channel}/messages/{seq}");
    assert_eq!(
        world.put("bob", &format!("{message}/pin")).send().await.0,
        200
    );
    assert_eq!(world.delete("carol", &message).problem().await, missing);
    assert_eq!(world.delete("alice", &message).send().await.0, 200);

    let here = format!("/v1/conversations/{channel}");
    let run_by_space = problem(409, "run_by_space", "");
    let title = world.patch("alice", &here).body(json!({"title": "Mine"}));
    assert_eq!(title.problem().await, run_by_space);
    let leave = format!("{here}/members/{}", world.id("bob"));
    assert_eq!(world.delete("bob", &leave).problem().await, run_by_space);
    let add = world.post("alice", &format!("{here}/members"));
    let add = add.body(json!({"user": world.id("carol")}));
    assert_eq!(add.problem().await, run_by_space);
    let archive = world.put("alice", &format!("{here}/archived"));
    assert_eq!(archive.problem().await, run_by_space);
    let slow = || json!({"slow_mode_s": 30});
    assert_eq!(
        world.patch("bob", &here).body(slow()).problem().await,
        missing
    );
    assert_eq!(world.patch("alice", &here).body(slow()).send().await.0, 200);

    let archived = format!("/v1/spaces/{space}/archived");
    assert_eq!(world.put("alice", &archived).send().await.0, 200);
    let refused = problem(409, "conversation_archived", "");
    assert_eq!(say(&world, "alice", &channel).await, refused);
    let more = world.post("alice", &format!("/v1/spaces/{space}/channels"));
    let more = more.body(json!({"name": "x", "kind": "text"}));
    assert_eq!(more.problem().await, problem(409, "space_archived", ""));
    assert_eq!(world.delete("alice", &archived).send().await.0, 200);
    assert_eq!(say(&world, "alice", &channel).await.0, 201);
}

#[tokio::test]
async fn a_message_calls_roles_that_the_space_has_now() {
    let world = World::with(&["alice", "bob"]).await;
    let space = world.space("alice").await;
    let channel = world.channel("alice", &space, "kitchen").await;
    world.bring("alice", &space, &["bob"]).await;
    let cooks = world.role("alice", &space, 3, json!([])).await;
    let call = async |who: &str, conversation: &str, roles: &[&str]| {
        let mention = |role: &&str| json!({ "space_role": role });
        let mentions: Vec<Value> = roles.iter().map(mention).collect();
        let path = format!("/v1/conversations/{conversation}/messages");
        let body = json!({"body": "dinner?", "mentions": mentions});
        world.post(who, &path).body(body).problem().await
    };
    assert_eq!(call("alice", &channel, &[&cooks]).await.0, 201);
    let missing = problem(403, "permission_missing", "");
    assert_eq!(call("bob", &channel, &[&cooks]).await, missing);
    let not_found = problem(404, "role_not_found", "");
    let nowhere = fresh_id().to_string();
    for none in [&nowhere, &space] {
        assert_eq!(call("alice", &channel, &[&cooks, none]).await, not_found);
    }
    let elsewhere = world.space("alice").await;
    let others = world.role("alice", &elsewhere, 3, json!([])).await;
    assert_eq!(call("alice", &channel, &[&others]).await, not_found);
    let group = world.group("alice", &["bob"]).await;
    let not_here = problem(422, "no_space_roles_here", "");
    assert_eq!(call("alice", &group, &[&cooks]).await, not_here);

    // What another node has done is looked up where it matters, however fresh what is known is.
    let role = SpaceRoleId(fresh_id());
    let define = Act::DefineRole {
        role,
        name: Title::parse("Waiters").unwrap(),
        permissions: Permissions::NONE,
        rank: 2,
    };
    assert_eq!(say(&world, "alice", &channel).await.0, 201);
    world.cut_short("alice", &space, define).await;
    let waiters = role.to_string();
    assert_eq!(call("alice", &channel, &[&waiters]).await.0, 201);
    let messages = world
        .events(&StreamName::conversation(channel.parse().unwrap()))
        .await;
    let Event::Conversation(ConversationEvent::MessageSent(sent)) =
        messages.last().unwrap().event().unwrap()
    else {
        panic!("{messages:?}")
    };
    assert_eq!(sent.mentions, [Mention::SpaceRole(role)].into());
    let remove = format!("/v1/spaces/{space}/roles/{cooks}");
    assert_eq!(world.delete("alice", &remove).send().await.0, 200);
    let gone = call("alice", &channel, &[&cooks]).await;
    assert_eq!(gone, not_found);
}

#[tokio::test]
async fn nobody_is_told_of_a_space_that_they_are_not_in() {
    let world = World::with(&["alice", "bob"]).await;
    let space = world.space("alice").await;
    let hidden = world.channel("alice", &space, "kitchen").await;
    let nowhere = fresh_id().to_string();
    let not_found = problem(404, "space_not_found", "");
    for space in [&space, &nowhere] {
        let channels = world.post("bob", &format!("/v1/spaces/{space}/channels"));
        let channels = channels.body(json!({"name": "x", "kind": "text"}));
        assert_eq!(channels.problem().await, not_found);
        let join = world.post("bob", &format!("/v1/spaces/{space}/join"));
        assert_eq!(join.problem().await, not_found);
        let ban = world.put(
            "bob",
            &format!("/v1/spaces/{space}/bans/{}", world.id("alice")),
        );
        assert_eq!(ban.problem().await, not_found);
    }
    let open = world.patch("alice", &format!("/v1/spaces/{space}"));
    assert_eq!(open.body(json!({"joining": "open"})).send().await.0, 200);
    world.show("alice", (&space, &hidden), &space, false).await;
    let join = world.post("bob", &format!("/v1/spaces/{space}/join"));
    assert_eq!(join.send().await.0, 200);
    let rename = world.patch("bob", &format!("/v1/spaces/{space}/channels/{hidden}"));
    let rename = rename.body(json!({"name": "mine"})).problem().await;
    assert_eq!(rename, problem(404, "channel_not_found", ""));
}

#[tokio::test]
async fn an_invite_is_good_for_a_while_and_for_so_many_and_not_for_who_is_banned() {
    let world = World::with(&["alice", "bob", "carol", "dave"]).await;
    let space = world.space("alice").await;
    let gone = problem(404, "invite_not_found", "");
    let take = async |who: &str, code: &str| {
        let taken = world.post(who, &format!("/v1/invites/{code}"));
        taken.problem().await
    };
    let once = json!({"uses_max": 1, "expires_in_s": 60});
    let code = world.invite("alice", &space, once.clone()).await;
    assert_eq!(take("bob", &code).await.0, 200);
    assert_eq!(take("carol", &code).await, gone);
    let expiring = world.invite("bob", &space, once).await;
    world.later(TimeDelta::seconds(60));
    assert_eq!(take("carol", &expiring).await, gone);
    for wrong in ["vi_", "x", &code[..code.len() - 1], &expiring[1..]] {
        assert_eq!(take("carol", wrong).await, gone);
    }
    let ban = format!("/v1/spaces/{space}/bans/{}", world.id("carol"));
    let banned = world.put("alice", &ban).body(json!({"reason": "spam"}));
    assert_eq!(banned.send().await.0, 200);
    let code = world.invite("alice", &space, json!({})).await;
    assert_eq!(take("carol", &code).await, problem(403, "banned", ""));
    assert_eq!(world.delete("alice", &ban).send().await.0, 200);
    assert_eq!(take("carol", &code).await.0, 200);

    let path = format!("/v1/spaces/{space}/invites");
    let make = || {
        world
            .post("alice", &path)
            .key("k")
            .body(json!({"expires_in_s": 60}))
    };
    let (status, invite) = make().send().await;
    assert_eq!(status, 201);
    world.later(TimeDelta::seconds(1));
    assert_eq!(
        make().send().await,
        (201, invite.clone()),
        "a retry is told the same"
    );
    let stored = world
        .events(&StreamName::space(space.parse().unwrap()))
        .await;
    let code = text(&invite["code"]);
    for event in stored {
        assert!(!String::from_utf8_lossy(&event.data).contains(&code));
    }
    let revoke = format!("{path}/{}", text(&invite["id"]));
    let refused = world.delete("bob", &revoke).problem().await;
    assert_eq!(refused, problem(403, "permission_missing", ""));
    assert_eq!(world.delete("alice", &revoke).send().await.0, 200);
    assert_eq!(take("dave", &code).await, gone);
    for wrong in [json!({"uses_max": 0}), json!({"expires_in_s": 0})] {
        let refused = world.post("alice", &path).body(wrong).problem().await;
        assert_eq!((refused.0, refused.1.as_str()), (422, "invalid_body"));
    }
}

#[tokio::test]
async fn who_runs_the_server_keeps_order_in_spaces_they_are_in_but_sees_no_more() {
    let world = World::with(&["alice", "bob", "olga"]).await;
    let claim = world
        .post("olga", "/v1/owner")
        .body(json!({ "code": OWNER_CODE }));
    assert_eq!(claim.send().await.0, 200);
    let space = world.space("alice").await;
    let open = world.channel("alice", &space, "general").await;
    let hidden = world.channel("alice", &space, "kitchen").await;
    world.show("alice", (&space, &hidden), &space, false).await;
    let rename = format!("/v1/spaces/{space}");
    let name = || json!({"name": "Coffee house"});
    let refused = world.patch("olga", &rename).body(name()).problem().await;
    assert_eq!(refused, problem(404, "space_not_found", ""));
    world.bring("alice", &space, &["bob", "olga"]).await;
    assert_eq!(
        world.patch("olga", &rename).body(name()).send().await.0,
        200
    );
    assert_eq!(world.within(&hidden).await, world.ids(&["alice"]));
    let seq = world.say("bob", &open, "spam").await;
    let message = format!("/v1/conversations/{open}/messages/{seq}");
    assert_eq!(world.delete("olga", &message).send().await.0, 200);
    let owner = format!("/v1/spaces/{space}/owner");
    let to = |who: &str| json!({ "user": world.id(who) });
    let refused = world.put("bob", &owner).body(to("bob")).problem().await;
    assert_eq!(refused, problem(403, "not_the_owner", ""));
    assert_eq!(
        world.put("olga", &owner).body(to("bob")).send().await.0,
        200
    );
    assert_eq!(world.within(&hidden).await, world.ids(&["bob"]));
}

#[tokio::test]
async fn what_a_crash_cut_short_is_gone_on_with() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let space = world.space("alice").await;
    let channel = world.channel("alice", &space, "general").await;
    world.bring("alice", &space, &["bob", "carol"]).await;
    let later = ConversationId(fresh_id());
    world
        .cut_short(
            "alice",
            &space,
            Act::Kick {
                user: world.id("bob"),
            },
        )
        .await;
    let create = Act::CreateChannel {
        channel: later,
        kind: space::ChannelKind::Text,
        name: domain::values::Title::parse("later").unwrap(),
        category: None,
        position: 0,
    };
    world.cut_short("alice", &space, create).await;
    let both = world.ids(&["alice", "carol"]);
    assert_ne!(world.within(&channel).await, both);

    let world = Arc::new(world.restarted().await);
    let stop = CancellationToken::new();
    let following = Following::new(world.api.clone());
    let run = tokio::spawn({
        let stop = stop.clone();
        async move { following.run(stop).await }
    });
    let followed = async {
        let later = later.to_string();
        while world.within(&channel).await != both || world.within(&later).await != both {
            tokio::task::yield_now().await;
        }
    };
    let within = Duration::from_mins(1);
    tokio::time::timeout(within, followed)
        .await
        .expect("they follow");
    stop.cancel();
    run.await.unwrap();

    // What was followed already is followed again, from the beginning, and nothing changes.
    let before = world.all_types().await.len();
    let since = Change {
        space: space.parse().unwrap(),
        since: Version::ZERO,
        cause: (CommandId(fresh_id()), CommandId(fresh_id())),
    };
    let followed = world.api.keep_in_step(since, &[]).await;
    assert!(followed.late.is_none(), "{followed:?}");
    assert_eq!(world.all_types().await.len(), before);
}

#[tokio::test]
async fn what_is_stored_is_answered_though_a_channel_cannot_follow() {
    let world = World::with(&["alice", "bob"]).await;
    let space = world.space("alice").await;
    let broken = world.channel("alice", &space, "broken").await;
    let good = world.channel("alice", &space, "good").await;
    let stream = StreamName::conversation(broken.parse().unwrap());
    world.spoil(&stream, "conversation-renamed").await;
    let world = world.restarted().await;
    world.bring("alice", &space, &["bob"]).await;
    assert_eq!(world.within(&good).await, world.ids(&["alice", "bob"]));
}

#[tokio::test]
async fn a_space_that_cannot_be_read_keeps_no_other_waiting() {
    let world = World::with(&["alice", "bob"]).await;
    let broken = world.space("alice").await;
    let good = world.space("alice").await;
    let stream = StreamName::space(broken.parse().unwrap());
    world.spoil(&stream, "space-renamed").await;
    let channel = ConversationId(fresh_id());
    let create = Act::CreateChannel {
        channel,
        kind: space::ChannelKind::Voice,
        name: domain::values::Title::parse("later").unwrap(),
        category: None,
        position: 0,
    };
    world.cut_short("alice", &good, create).await;
    let remove = Act::RemoveChannel { channel };
    world.cut_short("alice", &good, remove).await;
    let world = Arc::new(world.restarted().await);
    let stop = CancellationToken::new();
    let following = Following::new(world.api.clone());
    let run = tokio::spawn({
        let stop = stop.clone();
        async move { following.run(stop).await }
    });
    let stream = StreamName::conversation(channel);
    let begun = async {
        while world.events(&stream).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), begun)
        .await
        .expect("the other follows");
    stop.cancel();
    run.await.unwrap();
    // What was removed before it began says who made it, of which kind, and who removed it.
    let events = world.events(&stream).await;
    let metadata = events[0].metadata().unwrap();
    assert_eq!(metadata.actor, Actor::User(world.id("alice")));
    let Event::Conversation(ConversationEvent::Started(started)) = events[0].event().unwrap()
    else {
        panic!("it does not begin")
    };
    assert_eq!(started.creator, Some(world.id("alice")));
    let kind = started.channel.map(|it| it.kind);
    assert_eq!(kind, Some(space::ChannelKind::Voice));
}

#[tokio::test]
async fn a_late_retry_of_an_invite_tells_the_same_and_who_used_it_up_is_in() {
    let world = World::with(&["alice", "bob"]).await;
    let space = world.space("alice").await;
    let path = format!("/v1/spaces/{space}/invites");
    let make = || {
        let once = json!({"expires_in_s": 60, "uses_max": 1});
        world.post("alice", &path).key("k").body(once)
    };
    let (status, invite) = make().send().await;
    assert_eq!(status, 201, "{invite}");
    let rename = format!("/v1/spaces/{space}");
    for number in 0..=COMMANDS_REMEMBERED_MAX {
        let name = json!({"name": format!("Tea house {number}")});
        let renamed = world.patch("alice", &rename).body(name).send().await;
        assert_eq!(renamed.0, 200);
    }
    world.later(TimeDelta::seconds(1));
    let (status, late) = make().send().await;
    assert_eq!(status, 201, "{late}");
    for field in ["id", "code", "expires_at"] {
        assert_eq!(late[field], invite[field], "{field}");
    }
    let code = format!("/v1/invites/{}", text(&invite["code"]));
    assert_eq!(world.post("bob", &code).send().await.0, 200);
    assert_eq!(world.post("bob", &code).send().await.0, 200);
}

#[tokio::test]
async fn of_two_nodes_the_one_that_is_late_brings_nobody_back() {
    let world = World::with(&["alice", "bob"]).await;
    let space: SpaceId = world.space("alice").await.parse().unwrap();
    let named = space.to_string();
    let channel = world.channel("alice", &named, "general").await;
    world.bring("alice", &named, &["bob"]).await;
    // A node has read the space while Bob was in it, and is slow.
    let slow = world.api.space_now(space).await.unwrap();
    let stale = slow.channel_now(channel.parse().unwrap()).unwrap();
    let kick = format!("/v1/spaces/{space}/members/{}", world.id("bob"));
    assert_eq!(world.delete("alice", &kick).send().await.0, 200);
    assert_eq!(world.within(&channel).await, world.ids(&["alice"]));
    let stream = StreamName::conversation(channel.parse().unwrap());
    let before = world.events(&stream).await.len();
    let envelope = Envelope::new(Actor::System, CommandId(fresh_id()), &"late").unwrap();
    let late = Command::Follow(Box::new(stale));
    let done = world.api.conversations().execute(&stream, envelope, late);
    assert!(!done.await.unwrap().changed);
    assert_eq!(world.events(&stream).await.len(), before);
    assert_eq!(
        say(&world, "bob", &channel).await,
        problem(404, "conversation_not_found", "")
    );
}

#[tokio::test]
async fn many_changes_at_a_time_end_where_the_space_does() {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let world = World::with(&names).await;
    let space = world.space("alice").await;
    let channel = world.channel("alice", &space, "general").await;
    let hidden = world.channel("alice", &space, "kitchen").await;
    world.show("alice", (&space, &hidden), &space, false).await;
    let cooks = world.role("alice", &space, 3, json!([])).await;
    world.show("alice", (&space, &hidden), &cooks, true).await;
    world.bring("alice", &space, &names[1..]).await;
    let acts = names[1..].iter().enumerate().flat_map(|(index, name)| {
        let given = format!(
            "/v1/spaces/{space}/members/{}/roles/{cooks}",
            world.id(name)
        );
        let member = format!("/v1/spaces/{space}/members/{}", world.id(name));
        let give = world.put("alice", &given);
        let take = world.delete("alice", &given);
        let kick = (index % 2 == 0).then(|| world.delete("alice", &member));
        [Some(give), Some(take), kick].into_iter().flatten()
    });
    futures::future::join_all(acts.map(crate::testing::Asked::send)).await;
    let state = world.api.space_now(space.parse().unwrap()).await.unwrap();
    let rules = state.space.as_ref().unwrap();
    for channel in [&channel, &hidden] {
        let viewers = rules.viewers(channel.parse().unwrap());
        assert_eq!(world.within(channel).await, Vec::from_iter(viewers));
    }
}

/// The clock stands still, so that whatever a node has read is fresh for ever.
#[tokio::test]
async fn what_is_given_on_one_node_counts_at_once_on_another() {
    let one = World::with(&["alice", "bob"]).await;
    let other = one.another_node();
    let space = one.space("alice").await;
    let channel = one.channel("alice", &space, "general").await;
    assert_eq!(
        say(&other, "alice", &channel).await.0,
        201,
        "the other node has read the space"
    );
    one.bring("alice", &space, &["bob"]).await;
    let seq = other.say("bob", &channel, "hello").await;
    let pin = format!("/v1/conversations/{channel}/messages/{seq}/pin");
    let missing = problem(403, "permission_missing", "");
    assert_eq!(other.put("bob", &pin).problem().await, missing);
    let role = one.role("alice", &space, 3, json!(["pin_messages"])).await;
    one.give("alice", &space, "bob", &role).await;
    assert_eq!(other.put("bob", &pin).send().await.0, 200);
}

/// Whatever two nodes do at a time, and followers on both of them beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_race_end_where_the_space_does() {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let one = Arc::new(World::with(&names).await);
    let other = Arc::new(one.another_node());
    let space = one.space("alice").await;
    let open = one.patch("alice", &format!("/v1/spaces/{space}"));
    let opened = open.body(json!({"joining": "open"})).send().await;
    assert_eq!(opened.0, 200);
    let channel = one.channel("alice", &space, "general").await;
    let hidden = one.channel("alice", &space, "kitchen").await;
    one.show("alice", (&space, &hidden), &space, false).await;
    let cooks = one.role("alice", &space, 3, json!([])).await;
    one.show("alice", (&space, &hidden), &cooks, true).await;
    let stop = CancellationToken::new();
    let followers = [&one, &other].map(|world| {
        let (following, stop) = (Following::new(world.api.clone()), stop.clone());
        tokio::spawn(async move { following.run(stop).await })
    });
    let racing = [(&one, 0), (&other, 1)].map(|(world, offset)| {
        let (world, space, cooks) = (Arc::clone(world), space.clone(), cooks.clone());
        tokio::spawn(async move {
            for round in 0..12 {
                let who = names[1 + (round + offset) % 4];
                let member = format!("/v1/spaces/{space}/members/{}", world.id(who));
                let given = format!("{member}/roles/{cooks}");
                let join = format!("/v1/spaces/{space}/join");
                // What one does the other may undo meanwhile: any answer of the rules will do.
                for asked in [
                    world.post(who, &join),
                    world.put("alice", &given),
                    world.delete("alice", &member),
                    world.post(who, &join),
                ] {
                    let (status, answer) = asked.send().await;
                    assert!([200, 404].contains(&status), "{status} {answer}");
                }
            }
        })
    });
    for task in racing {
        task.await.unwrap();
    }
    stop.cancel();
    for follower in followers {
        follower.await.unwrap();
    }
    let state = one.api.space_now(space.parse().unwrap()).await.unwrap();
    let rules = state.space.as_ref().unwrap();
    for channel in [&channel, &hidden] {
        let viewers = rules.viewers(channel.parse().unwrap());
        assert_eq!(one.within(channel).await, Vec::from_iter(viewers));
    }
}
