//! Frames that make no sense, and readers that do not read.

use std::time::Duration;

use domain::Position;
use gateway::Limits;
use infra::limits::Limit;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Seen, World, position_of};

#[tokio::test]
async fn what_cannot_be_read_closes_and_the_server_lives_on() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let garbage = "x".repeat(1024 * 1024);
    let cases = [
        (Message::text(garbage.clone()), 4413),
        (Message::binary(garbage.into_bytes()), 4413),
        (Message::binary(vec![1, 2, 3]), 4400),
        (Message::text("not JSON"), 4400),
        (Message::text(""), 4400),
        (Message::text("{\"op\":\"heartbeat\"} and more"), 4400),
        (Message::text("[".repeat(60_000)), 4400),
    ];
    for (message, code) in cases {
        let (mut client, _) = world.live(&ada).await;
        client.send_raw(message.clone()).await;
        assert_eq!(client.closed_with().await, code);
        let mut client = world.connect().await;
        client.send_raw(message).await;
        assert_eq!(client.closed_with().await, code);
    }
    world.live(&ada).await;
    world.until_nobody_is_connected().await;
}

#[tokio::test]
async fn what_is_only_wrong_is_an_error_that_points_at_the_field() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    let cases = [
        (json!([]), ""),
        (json!("heartbeat"), ""),
        (json!({}), "/op"),
        (json!({"op": 7}), "/op"),
        (json!({"op": "subscribe"}), "/conversation"),
        (
            json!({"op": "subscribe", "conversation": "me"}),
            "/conversation",
        ),
        (
            json!({"op": "subscribe", "conversation": uuid::Uuid::nil(), "after_seq": -1}),
            "/after_seq",
        ),
        (json!({"op": "identify", "token": {}}), "/token"),
    ];
    for (frame, pointer) in cases {
        client.send(frame.clone()).await;
        let error = client.expect_error("invalid_body").await;
        assert_eq!(
            error["problem"]["errors"][0]["pointer"], pointer,
            "{frame}: {error}"
        );
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed_and_misses_nothing() {
    let world = World::with(Limits {
        write_stalled_max: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let (mut slow, ready) = world.live(&ada).await;
    let (mut quick, _) = world.live(&bob).await;
    let start = ready["cursor"].as_str().unwrap().to_owned();
    // More than the buffers of a socket on one machine take.
    let text = "x".repeat(16 * 1024);
    let count = 1_500;
    for _ in 0..count {
        world.say(chat, &bob, &text).await;
    }
    for _ in 0..count {
        quick.expect_quietly("event").await;
    }
    drop(quick);
    world.until_nobody_is_connected().await;

    let mut seen: Vec<Seen> = Vec::new();
    let mut cursor = start.clone();
    let mut take = |frame: serde_json::Value| {
        if frame["op"] == "event" {
            seen.push(Seen::of(&frame));
            frame["cursor"].as_str().unwrap().clone_into(&mut cursor);
        }
    };
    while let Some(frame) = slow.try_next().await {
        take(frame);
    }
    let (mut slow, _) = world.back(&ada, &cursor.clone()).await;
    loop {
        let frame = slow.next().await;
        if frame["op"] == "caught_up" {
            break;
        }
        let mut taken = vec![frame];
        taken.drain(..).for_each(|frame| {
            if frame["op"] == "event" {
                seen.push(Seen::of(&frame));
            }
        });
    }
    let wanted = world.visible(&ada, position_of(&start)).await;
    assert_eq!(wanted.len(), count);
    assert_eq!(seen, wanted);
    assert!(seen[0].position > Position::ZERO);
}

#[tokio::test]
async fn all_connections_of_a_user_share_one_pace_and_others_have_their_own() {
    let world = World::with_user_pace(Limit::at(1, 3_600, 4)).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mut phone, _) = world.live(&ada).await;
    let (mut laptop, _) = world.live(&ada).await;
    for number in 0..4 {
        let client = if number % 2 == 0 {
            &mut phone
        } else {
            &mut laptop
        };
        client.send(json!({"op": "make_coffee", "id": "x"})).await;
        client.expect_error("unknown_op").await;
    }
    for client in [&mut phone, &mut laptop] {
        client.send(json!({"op": "make_coffee", "id": "x"})).await;
        let error = client.expect_error("rate_limited").await;
        assert_eq!(error["id"], "x");
        let wait = error["problem"]["retry_after_s"].as_u64();
        assert!(wait > Some(3_000) && wait <= Some(3_600), "{error}");
    }
    phone.send(json!({"op": "heartbeat"})).await;
    phone.expect("heartbeat_ack").await;
    let (mut other, _) = world.live(&bob).await;
    other.send(json!({"op": "make_coffee", "id": "y"})).await;
    other.expect_error("unknown_op").await;
}
