//! Clients that lose their connection all the time while everything happens at once: each sees
//! exactly what the log has for it, in the log's order.

use std::sync::Arc;
use std::time::Duration;

use domain::Version;
use gateway::Limits;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::world::{Seen, User, World, append_many, position_of};

const WRITERS: u64 = 4;
const ROUNDS: usize = 150;
const CONVERSATIONS: usize = 5;

/// Runs the storm; `seed` decides who does what, not who comes first.
async fn storm(world: World, seed: u64) {
    let world = Arc::new(world);
    let mut users = Vec::new();
    for name in ["ada", "bob", "cid", "dan", "eve"] {
        users.push(world.user(name).await);
    }
    let everybody: Vec<&User> = users.iter().collect();
    let mut chats = Vec::new();
    for _ in 0..CONVERSATIONS {
        chats.push(world.start(&everybody).await);
    }

    // The first user stays in, so that somebody is there for all of it.
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (world, users, chats) = (Arc::clone(&world), users.clone(), chats.clone());
        let mut random = StdRng::seed_from_u64(seed * 100 + writer);
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let chat = chats[random.random_range(0..chats.len())];
                let other = &users[random.random_range(1..users.len())];
                match random.random_range(0..20) {
                    0 => drop(world.remove(chat, &users[0], other).await),
                    1 | 2 => drop(world.add(chat, &users[0], other).await),
                    // Enough that others come while the hub is at work on them.
                    6 => append_many(&world, chat, &users[0], 50).await,
                    3 | 4 => drop(world.see(chat, other, Version(1)).await),
                    5 if round % 5 == 0 => {
                        world.start(&[&users[0], other]).await;
                    }
                    _ => drop(
                        world
                            .say(chat, &users[0], &format!("{writer}.{round}"))
                            .await,
                    ),
                }
                if random.random_range(0..4) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }));
    }

    let mut clients = Vec::new();
    for (index, user) in users.iter().enumerate() {
        for device in 0..2 {
            let (world, user) = (Arc::clone(&world), user.clone());
            let random = StdRng::seed_from_u64(seed * 1_000 + index as u64 * 10 + device);
            clients.push(tokio::spawn(cut_again_and_again(world, user, random)));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    world.say(chats[0], &users[0], "The end").await;
    for client in clients {
        client.await.unwrap();
    }
}

/// Follows with many short connections until everything was seen, and compares.
async fn cut_again_and_again(world: Arc<World>, user: User, mut random: StdRng) {
    let (client, ready) = world.live(&user).await;
    drop(client);
    let start = position_of(ready["cursor"].as_str().unwrap());
    let mut cursor = ready["cursor"].as_str().unwrap().to_owned();
    let mut seen: Vec<Seen> = Vec::new();
    let mut cuts = 0;
    loop {
        let mut client = world.connect().await;
        client
            .send(json!({"op": "identify", "token": user.token, "cursor": cursor}))
            .await;
        let frames = random.random_range(1..120);
        let mut is_over = false;
        for _ in 0..frames {
            let next = tokio::time::timeout(Duration::from_millis(400), client.next()).await;
            let Ok(frame) = next else { break };
            if frame["op"] == "event" {
                seen.push(Seen::of(&frame));
                frame["cursor"].as_str().unwrap().clone_into(&mut cursor);
                is_over = frame["data"]["body"] == "The end";
            }
            if frame["op"] == "caught_up" {
                // A member who is out by now never hears of the end: the log says when it is over.
                let reached = position_of(frame["cursor"].as_str().unwrap());
                let ended = world.has_ended().await;
                is_over = ended.is_some_and(|end| reached >= end);
            }
            if is_over {
                break;
            }
        }
        drop(client);
        cuts += 1;
        if is_over {
            break;
        }
    }
    assert!(cuts > 1, "nothing was cut");
    for pair in seen.windows(2) {
        assert!(pair[0].position < pair[1].position, "{pair:?}");
    }
    assert_eq!(seen, world.visible(&user, start).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_room_on_the_rings() {
    storm(World::new().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tiny_rings_and_batches() {
    let limits = Limits {
        ring_entries_max: 2,
        rings_entries_max: 5,
        batch_events_max: 3,
        ..Limits::default()
    };
    storm(World::with(limits).await, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_rings_at_all() {
    let limits = Limits {
        rings_bytes_max: 0,
        batch_events_max: 1,
        ..Limits::default()
    };
    storm(World::with(limits).await, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_memberships_that_lag() {
    let world = World::with_old_memberships(Limits::default()).await;
    storm(world, 4).await;
}
