//! Commands over the socket.

use std::sync::atomic::Ordering;

use gateway::Limits;
use serde_json::json;

use crate::world::{World, eventually};

#[tokio::test]
async fn a_command_is_acknowledged_and_its_event_comes() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let (mut client, _) = world.live(&ada).await;
    client
        .send(json!({"op": "send_message", "id": "one", "conversation": chat, "body": "Hi"}))
        .await;
    let frames = [client.next().await, client.next().await];
    let of = |op: &str| frames.iter().find(|frame| frame["op"] == op).unwrap();
    let ack = of("ack");
    assert_eq!((&ack["id"], &ack["seq"]), (&json!("one"), &json!(2)));
    assert_eq!(ack["target"], json!(chat));
    assert_eq!(ack["position"], json!(*world.store.head().borrow()));
    assert_eq!(of("event")["seq"], ack["seq"]);
}

#[tokio::test]
async fn commands_that_are_wrong_are_errors_with_their_id() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    client.send(json!({"op": "make_coffee", "id": "1"})).await;
    let error = client.expect_error("unknown_op").await;
    assert_eq!(error["id"], "1");
    assert!(error["problem"]["trace_id"].is_string());
    client
        .send(json!({"op": "send_message", "id": "2", "conversation": 7}))
        .await;
    let error = client.expect_error("invalid_body").await;
    assert_eq!(error["problem"]["errors"][0]["pointer"], "/conversation");
    for id in [json!(null), json!(""), json!("x".repeat(201))] {
        client.send(json!({"op": "send_message", "id": id})).await;
        let error = client.expect_error("invalid_body").await;
        assert_eq!(error["problem"]["errors"][0]["pointer"], "/id");
    }
}

#[tokio::test]
async fn while_too_many_commands_run_nothing_more_is_read() {
    let world = World::with(Limits {
        commands_in_flight_max: 2,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    for id in ["1", "2", "3"] {
        client.send(json!({"op": "wait", "id": id})).await;
    }
    client.send(json!({"op": "heartbeat"})).await;
    let running = || world.door.running.load(Ordering::SeqCst);
    eventually(|| running() == 2).await;
    world.door.gate.add_permits(1);
    assert_eq!(client.expect("ack").await["id"], "1");
    eventually(|| running() == 2).await;
    world.door.gate.add_permits(2);
    let mut ops = Vec::new();
    for _ in 0..3 {
        ops.push(client.next().await["op"].as_str().unwrap().to_owned());
    }
    ops.sort_unstable();
    assert_eq!(ops, ["ack", "ack", "heartbeat_ack"]);
}

#[tokio::test]
async fn a_command_goes_on_when_its_connection_ends() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    client.send(json!({"op": "wait", "id": "1"})).await;
    let running = || world.door.running.load(Ordering::SeqCst);
    eventually(|| running() == 1).await;
    drop(client);
    world.until_nobody_is_connected().await;
    assert_eq!(running(), 1);
    world.door.gate.add_permits(1);
    eventually(|| running() == 0).await;
    assert_eq!(world.door.gate.available_permits(), 0);
}

#[tokio::test]
async fn who_sends_too_fast_is_told_then_closed() {
    let world = World::with(Limits {
        frames_per_second_max: 2,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    for id in 0..3 {
        client
            .send(json!({"op": "make_coffee", "id": id.to_string()}))
            .await;
        client.expect_error("unknown_op").await;
    }
    client.send(json!({"op": "make_coffee", "id": "3"})).await;
    let error = client.expect_error("rate_limited").await;
    assert_eq!(error["id"], "3");
    for _ in 0..8 {
        client.send(json!({"op": "heartbeat"})).await;
    }
    assert_eq!(client.closed_with().await, 4429);
}
