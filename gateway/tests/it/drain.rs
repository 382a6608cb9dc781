//! The end of a server.

use std::time::Duration;

use gateway::Limits;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn draining_tells_all_then_closes_them() {
    let world = World::with(Limits {
        drain_grace: Duration::from_millis(200),
        reconnect_jitter_max: Duration::from_millis(900),
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let chat = world.start(&[&ada]).await;
    let (mut one, _) = world.live(&ada).await;
    let mut other = world.connect().await;
    let gateway = world.gateway.clone();
    let drained = tokio::spawn(async move { gateway.drain().await });
    for client in [&mut one, &mut other] {
        let reconnect = client.expect("reconnect").await;
        assert!(reconnect["after_ms"].as_u64().unwrap() <= 900);
    }
    assert!(world.connect_raw(None).await.is_err());
    world.say(chat, &ada, "Still served").await;
    one.send(json!({"op": "send_message", "id": "1", "conversation": chat, "body": "Last"}))
        .await;
    let mut ops = Vec::new();
    for _ in 0..3 {
        ops.push(one.next().await["op"].as_str().unwrap().to_owned());
    }
    ops.sort_unstable();
    assert_eq!(ops, ["ack", "event", "event"]);
    assert_eq!(one.closed_with().await, 1012);
    assert_eq!(other.closed_with().await, 1012);
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test]
async fn draining_waits_no_longer_than_it_may() {
    let world = World::with(Limits {
        drain_grace: Duration::from_mins(1),
        drain_within: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    assert_eq!(world.gateway.drain().await, 1);
    client.expect("reconnect").await;
}
