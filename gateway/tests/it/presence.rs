//! As what people are shown, and what they keep to themselves.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use domain::user::{Shown, SystemRole};
use gateway::Limits;
use serde_json::{Value, json};

use crate::world::{Client, User, World, eventually};

fn limits() -> Limits {
    Limits {
        offline_after: Duration::from_millis(300),
        drain_grace: Duration::from_millis(10),
        ..Limits::default()
    }
}

fn presence(of: &User, state: &str) -> Value {
    json!({
        "op": "signal", "type": "presence", "actor": format!("user:{}", of.id),
        "data": {"state": state},
    })
}

fn turned(state: &str) -> Value {
    json!({"op": "presence", "state": state})
}

#[tokio::test]
async fn who_does_something_on_any_device_is_online() {
    let world = World::with(limits()).await;
    let (ada, bob, cid) = (
        world.user("ada").await,
        world.user("bob").await,
        world.user("cid").await,
    );
    world.start(&[&ada, &bob, &cid]).await;
    let (mut watching, _) = world.live(&ada).await;
    let (mut phone, ready) = world.live(&bob).await;
    assert_eq!(ready["presence"], json!({ ada.id.to_string(): "online" }));
    assert_eq!(watching.next().await, presence(&bob, "online"));
    let (mut laptop, _) = world.live(&bob).await;
    phone.send(turned("idle")).await;
    phone.is_quiet().await;
    watching.is_quiet().await;
    laptop.send(turned("idle")).await;
    assert_eq!(watching.next().await, presence(&bob, "idle"));
    let (_cid, ready) = world.live(&cid).await;
    let both = json!({ ada.id.to_string(): "online", bob.id.to_string(): "idle" });
    assert_eq!(ready["presence"], both);
    assert_eq!(ready["online"].as_array().map(Vec::len), Some(2));
    assert_eq!(watching.next().await, presence(&cid, "online"));
    phone.send(turned("online")).await;
    assert_eq!(watching.next().await, presence(&bob, "online"));
    // The device on which something was done goes; the other is idle.
    drop(phone);
    assert_eq!(watching.next().await, presence(&bob, "idle"));
    drop(laptop);
    assert_eq!(watching.next().await, presence(&bob, "offline"));
}

#[tokio::test]
async fn a_wrong_state_is_answered_and_the_connection_lives() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    for wrong in [json!({"op": "presence"}), turned("away"), turned("offline")] {
        client.send(wrong).await;
        client.expect_error("invalid_body").await;
    }
    let mut stranger = world.connect().await;
    stranger.send(turned("idle")).await;
    stranger.expect_error("not_identified").await;
}

#[tokio::test]
async fn what_somebody_chose_is_shown_on_every_node_whatever_their_devices_say() {
    let one = World::with(limits()).await;
    let (ada, bob) = (one.user("ada").await, one.user("bob").await);
    let chat = one.start(&[&ada, &bob]).await;
    let (mut watching, _) = one.live(&ada).await;
    let two = one.another_node(limits()).await;
    let is_there = |ready: &Value| ready["online"] == json!([ada.id]);
    let mut phone = two.live_where(&bob, is_there).await;
    assert_eq!(watching.next().await, presence(&bob, "online"));
    phone.send(turned("idle")).await;
    assert_eq!(watching.next().await, presence(&bob, "idle"));

    one.choose(&bob, Shown::Away).await;
    assert_eq!(watching.next().await, presence(&bob, "away"));
    one.choose(&bob, Shown::Invisible).await;
    assert_eq!(watching.next().await, presence(&bob, "offline"));
    // They get everything, and nothing is heard of them.
    let typing = json!({"op": "typing", "conversation": chat});
    phone.send(typing.clone()).await;
    one.say(chat, &ada, "Are you there?").await;
    assert_eq!(phone.expect("event").await["type"], "message-sent");
    phone.is_quiet().await;
    watching.expect("event").await;
    let (_tablet, _) = one.live(&bob).await;
    let cid = one.user("cid").await;
    one.start(&[&cid, &bob]).await;
    for node in [&one, &two] {
        let (_, ready) = node.live(&cid).await;
        assert_eq!(ready["online"], json!([]));
    }
    phone.expect_quietly("event").await;
    phone.send(turned("online")).await;
    phone.send(json!({"op": "heartbeat"})).await;
    phone.expect_quietly("heartbeat_ack").await;
    one.choose(&bob, Shown::Automatic).await;
    assert_eq!(watching.next().await, presence(&bob, "online"));
    // What came after the choice is there: so is the choice, on the phone's node too.
    one.say(chat, &ada, "There you are").await;
    phone.expect_quietly("event").await;
    watching.expect("event").await;
    // Of one connection typing is heard every so often only.
    let (mut laptop, _) = two.live(&bob).await;
    laptop.send(typing).await;
    assert_eq!(watching.next().await["type"], "typing");
}

#[tokio::test]
async fn who_comes_unseen_is_not_shown_until_they_choose_otherwise() {
    let world = World::with(limits()).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    world.start(&[&ada, &bob]).await;
    world.choose(&bob, Shown::Invisible).await;
    let (mut watching, _) = world.live(&ada).await;
    let (phone, _) = world.live(&bob).await;
    watching.is_quiet().await;
    let (_, ready) = world.live(&ada).await;
    assert_eq!(ready["online"], json!([]));
    drop(phone);
    eventually(|| world.gateway.status().sessions == 1).await;
    let (_phone, _) = world.live(&bob).await;
    watching.is_quiet().await;
    world.choose(&bob, Shown::Away).await;
    assert_eq!(watching.next().await, presence(&bob, "away"));
}

#[tokio::test]
async fn who_left_a_conversation_is_not_shown_there() {
    let world = World::with(limits()).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let (mut watching, _) = world.live(&ada).await;
    let (mut phone, _) = world.live(&bob).await;
    watching.expect("signal").await;
    world.leave(chat, &bob).await;
    phone.expect("event").await;
    phone.expect("reset").await;
    watching.expect("event").await;
    phone.send(turned("idle")).await;
    phone.is_quiet().await;
    drop(phone);
    eventually(|| world.gateway.status().sessions == 1).await;
    watching.is_quiet().await;
}

#[tokio::test]
async fn who_comes_into_a_conversation_is_shown_there_and_sees_who_is_there() {
    let world = World::with(limits()).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mut of_ada, _) = world.live(&ada).await;
    let (mut of_bob, ready) = world.live(&bob).await;
    assert_eq!(ready["online"], json!([]));
    let chat = world.start(&[&ada, &bob]).await;
    shown_with_an_event(&mut of_ada, &bob).await;
    shown_with_an_event(&mut of_bob, &ada).await;
    // From another node as well.
    let two = world.another_node(limits()).await;
    let cid = world.user("cid").await;
    let (mut of_cid, _) = two.live(&cid).await;
    world.add(chat, &ada, &cid).await;
    shown_with_an_event(&mut of_ada, &cid).await;
    shown_with_an_event(&mut of_bob, &cid).await;
    let mut frames = [(); 3].map(|()| json!(null));
    for frame in &mut frames {
        *frame = of_cid.next().await;
    }
    for other in [&ada, &bob] {
        let shown = presence(other, "online");
        assert!(frames.contains(&shown), "{frames:?}");
    }
}

/// That the next two frames are an event and that `other` is online.
async fn shown_with_an_event(client: &mut Client, other: &User) {
    let frames = [client.next().await, client.next().await];
    let is_event = |frame: &Value| frame["op"] == "event";
    assert!(frames.iter().any(is_event), "{frames:?}");
    let shown = presence(other, "online");
    assert!(frames.contains(&shown), "{frames:?}");
}

#[tokio::test]
async fn who_was_put_out_while_away_for_a_moment_is_not_shown_there_any_more() {
    // Long enough that nobody is offline in between.
    let world = World::with(Limits {
        offline_after: Duration::from_mins(1),
        ..limits()
    })
    .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let (_watching, _) = world.live(&ada).await;
    let (phone, ready) = world.live(&bob).await;
    drop(phone);
    eventually(|| world.gateway.status().sessions == 1).await;
    world.remove(chat, &ada, &bob).await;
    let (mut phone, resumed) = world.back(&bob, ready["cursor"].as_str().unwrap()).await;
    assert_eq!(resumed["online"], json!([]));
    phone.expect("event").await;
    phone.expect("reset").await;
    let cid = world.user("cid").await;
    world.add(chat, &ada, &cid).await;
    let (_of_cid, ready) = world.live(&cid).await;
    assert_eq!(ready["online"], json!([ada.id]));
}

#[tokio::test]
async fn a_connection_may_begin_idle() {
    let world = World::with(limits()).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    world.start(&[&ada, &bob]).await;
    let (mut watching, _) = world.live(&ada).await;
    let mut phone = world.connect().await;
    let identify = |state: &str| json!({"op": "identify", "token": bob.token, "state": state});
    phone.send(identify("away")).await;
    phone.expect_error("invalid_body").await;
    phone.send(identify("idle")).await;
    phone.expect("ready").await;
    assert_eq!(watching.next().await, presence(&bob, "idle"));
    watching.is_quiet().await;
}

#[tokio::test]
async fn what_signals_lose_is_asked_for() {
    let one = World::with(limits()).await;
    let (ada, bob) = (one.user("ada").await, one.user("bob").await);
    one.start(&[&ada, &bob]).await;
    let (mut watching, _) = one.live(&ada).await;
    let two = one.another_node(limits()).await;
    let (mut phone, _) = two.live(&bob).await;
    assert_eq!(watching.next().await, presence(&bob, "online"));
    let is_there = |ready: &Value| ready["online"] == json!([bob.id]);
    let mut beside = two.live_where(&ada, is_there).await;

    one.signals.are_lost.store(true, SeqCst);
    phone.send(turned("idle")).await;
    // It was said to all nodes before it is told here.
    assert_eq!(beside.next().await, presence(&bob, "idle"));
    watching.is_quiet().await;
    one.signals.are_lost.store(false, SeqCst);
    // As many are there as before, and yet it is seen.
    assert_eq!(watching.next().await, presence(&bob, "idle"));
}

#[tokio::test]
async fn a_private_mark_is_sent_to_the_devices_of_its_member_alone() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let auditor = world.user("cid").await;
    world.role(&auditor, SystemRole::Auditor, true).await;
    let chat = world.start(&[&ada, &bob]).await;
    let seq = world.say(chat, &ada, "one").await;
    let (mut of_ada, from_ada) = world.live(&ada).await;
    let (mut of_bob, from_bob) = world.live(&bob).await;
    let (mut looking, _) = world.live(&auditor).await;
    looking
        .send(json!({"op": "subscribe", "conversation": chat}))
        .await;
    looking.expect("caught_up").await;
    world.see_as(chat, &bob, seq, true).await;
    world.say(chat, &ada, "two").await;

    for own in [&mut of_bob, &mut looking] {
        let mark = own.expect_quietly("event").await;
        assert_eq!(mark["type"], "seen-up-to");
        assert_eq!(mark["data"]["private"], true);
        assert_eq!(own.expect_quietly("event").await["type"], "message-sent");
    }
    assert_eq!(of_ada.expect_quietly("event").await["type"], "message-sent");
    // The same for those who come back.
    let cursor = from_ada["cursor"].as_str().unwrap();
    let (mut back, _) = world.back(&ada, cursor).await;
    assert_eq!(back.expect_quietly("event").await["type"], "message-sent");
    back.expect_quietly("caught_up").await;
    let cursor = from_bob["cursor"].as_str().unwrap();
    let (mut back, resumed) = world.back(&bob, cursor).await;
    assert_eq!(resumed["missed"], 2);
    assert_eq!(back.expect_quietly("event").await["type"], "seen-up-to");
    assert_eq!(back.expect_quietly("event").await["type"], "message-sent");
    back.expect_quietly("caught_up").await;
}
