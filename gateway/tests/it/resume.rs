//! Coming back with a cursor, of any age.

use domain::{Position, Version};
use gateway::Limits;
use serde_json::{Value, json};

use crate::world::{Client, Seen, World, position_of};

/// Reads what was missed, up to `caught_up`.
async fn missed(client: &mut Client) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let frame = client.next().await;
        match frame["op"].as_str().unwrap() {
            "event" => seen.push(Seen::of(&frame)),
            "caught_up" => return seen,
            "reset" => {}
            _ => assert_eq!(frame["type"], "presence", "{frame}"),
        }
    }
}

#[tokio::test]
async fn a_cursor_of_any_age_yields_exactly_what_came_after_it() {
    let world = World::with(Limits {
        batch_events_max: 7,
        ..Limits::default()
    })
    .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (_client, ready) = world.live(&ada).await;
    let start = ready["cursor"].as_str().unwrap().to_owned();
    let mut chats = Vec::new();
    for round in 0..40 {
        if round % 10 == 0 {
            chats.push(world.start(&[&ada, &bob]).await);
        }
        let chat = chats[round % chats.len()];
        let seq = world.say(chat, &bob, &format!("Message {round}")).await;
        if round % 3 == 0 {
            world.see(chat, &ada, seq).await;
        }
        if round == 25 {
            world.leave(chats[0], &ada).await;
        }
        if round == 33 {
            world.add(chats[0], &bob, &ada).await;
        }
    }
    let all = world.visible(&ada, Position::ZERO).await;
    assert!(all.len() > 40);
    let tag = start.split_once('.').unwrap().1;
    for after in (position_of(&start).0..=world.store.head().borrow().0).map(Position) {
        let (mut client, resumed) = world.back(&ada, &format!("{after}.{tag}")).await;
        let wanted: Vec<_> = all.iter().filter(|s| s.position > after).cloned().collect();
        assert_eq!(resumed["missed"], wanted.len() as u64, "after {after}");
        assert_eq!(missed(&mut client).await, wanted, "after {after}");
    }
}

#[tokio::test]
async fn after_a_restart_the_cursor_is_still_good() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let chat = world.start(&[&ada]).await;
    let (_client, ready) = world.live(&ada).await;
    let cursor = ready["cursor"].as_str().unwrap();
    world.say(chat, &ada, "Before").await;
    let again = World::over(world.store.clone(), Limits::default()).await;
    again.say(chat, &ada, "After").await;
    let (mut client, resumed) = again.back(&ada, cursor).await;
    assert_eq!(resumed["missed"], 2);
    let seqs: Vec<_> = missed(&mut client).await.iter().map(|s| s.seq).collect();
    assert_eq!(seqs, [Version(2), Version(3)]);
    again.say(chat, &ada, "Live").await;
    assert_eq!(client.expect("event").await["seq"], 4);
}

#[tokio::test]
async fn the_cursor_of_another_is_refused_and_one_may_go_on_without() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (_client, ready) = world.live(&bob).await;
    let (_own, own) = world.live(&ada).await;
    let (_, tag) = own["cursor"].as_str().unwrap().split_once('.').unwrap();
    let beyond = format!("4000000000.{tag}");
    let mut client = world.connect().await;
    for cursor in [ready["cursor"].as_str().unwrap(), "nonsense", "", &beyond] {
        client
            .send(json!({"op": "identify", "token": ada.token, "cursor": cursor}))
            .await;
        client.expect_error("cursor_invalid").await;
    }
    client
        .send(json!({"op": "identify", "token": ada.token}))
        .await;
    client.expect("ready").await;
    client
        .send(json!({"op": "identify", "token": ada.token}))
        .await;
    client.expect_error("already_identified").await;
}

#[tokio::test]
async fn a_heartbeat_brings_a_newer_cursor() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&bob]).await;
    let (mut client, ready) = world.live(&ada).await;
    world.say(chat, &bob, "Not for Ada").await;
    let head = *world.store.head().borrow();
    crate::world::eventually(|| world.gateway.status().position == head).await;
    client.send(json!({"op": "heartbeat"})).await;
    let ack = client.expect("heartbeat_ack").await;
    let newer = |value: &Value| position_of(value["cursor"].as_str().unwrap());
    assert!(newer(&ack) > newer(&ready));
    assert_eq!(newer(&ack), head);
    let (mut client, resumed) = world.back(&ada, ack["cursor"].as_str().unwrap()).await;
    assert_eq!(resumed["missed"], 0);
    client.expect("caught_up").await;
}

#[tokio::test]
async fn a_connection_that_falls_off_the_ring_reads_the_log() {
    let world = World::with(Limits {
        ring_entries_max: 2,
        batch_events_max: 5,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let chats = [world.start(&[&ada]).await, world.start(&[&ada]).await];
    let (mut client, ready) = world.live(&ada).await;
    let after = position_of(ready["cursor"].as_str().unwrap());
    for round in 0..500 {
        let text = format!("Message {round}");
        world.say(chats[round % 2], &ada, &text).await;
    }
    let wanted = world.visible(&ada, after).await;
    for wanted in wanted {
        assert_eq!(Seen::of(&client.expect("event").await), wanted);
    }
}
