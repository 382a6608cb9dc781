//! Joining, leaving, being removed, and looking as an auditor, while connected.

use domain::user::SystemRole;
use domain::{StreamName, Version};
use infra::event_store::Direction;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn joining_starts_the_stream_and_removal_ends_it() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada]).await;
    let (mut client, ready) = world.live(&bob).await;
    assert_eq!(ready["conversations"], json!([]));
    world.say(chat, &ada, "Before Bob").await;

    for _ in 0..3 {
        let joined = world.add(chat, &ada, &bob).await;
        let event = client.expect_quietly("event").await;
        assert_eq!(
            (&event["type"], &event["seq"]),
            (&json!("member-added"), &json!(joined))
        );
        let said = world.say(chat, &ada, "Welcome").await;
        assert_eq!(client.expect_quietly("event").await["seq"], json!(said));
        let removed = world.remove(chat, &ada, &bob).await;
        world.say(chat, &ada, "He is gone").await;
        assert_eq!(client.expect_quietly("event").await["seq"], json!(removed));
        let reset = client.expect_quietly("reset").await;
        assert_eq!(
            (&reset["conversation"], &reset["reason"]),
            (&json!(chat), &json!("removed"))
        );
        world.say(chat, &ada, "Long gone").await;
        client.is_quiet().await;
    }
}

#[tokio::test]
async fn a_new_conversation_comes_by_itself_and_leaving_ends_it() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mut client, _) = world.live(&bob).await;
    let chat = world.start(&[&ada, &bob]).await;
    let event = client.expect("event").await;
    assert_eq!(event["type"], "conversation-started");
    assert_eq!(event["data"]["title"], "A group");
    world.leave(chat, &bob).await;
    assert_eq!(client.expect("event").await["type"], "member-left");
    assert_eq!(client.expect("reset").await["reason"], "left");
    world.say(chat, &ada, "Alone").await;
    client.is_quiet().await;
}

#[tokio::test]
async fn a_member_asks_for_more_of_a_conversation_within_what_they_may_see() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada]).await;
    world.say(chat, &ada, "Before Bob").await;
    let joined = world.add(chat, &ada, &bob).await;
    let said = world.say(chat, &ada, "Welcome").await;
    let (mut client, ready) = world.live(&bob).await;
    client
        .send(json!({"op": "subscribe", "conversation": chat, "after_seq": 0}))
        .await;
    for seq in [joined, said] {
        let event = client.expect("event").await;
        assert_eq!(event["seq"], json!(seq));
        assert_eq!(event["cursor"], ready["cursor"]);
    }
    let caught_up = client.expect("caught_up").await;
    assert_eq!(caught_up["conversation"], json!(chat));

    client
        .send(json!({"op": "unsubscribe", "conversation": chat}))
        .await;
    client.is_quiet().await;
    world.say(chat, &ada, "Not here").await;
    let head = *world.store.head().borrow();
    crate::world::eventually(|| world.gateway.status().position == head).await;
    client.is_quiet().await;
    client
        .send(json!({"op": "subscribe", "conversation": chat, "after_seq": said}))
        .await;
    assert_eq!(client.expect("event").await["seq"], json!(said.next()));
    client.expect("caught_up").await;
    client
        .send(json!({"op": "subscribe", "conversation": chat, "after_seq": u64::MAX}))
        .await;
    client.expect("caught_up").await;
    world.say(chat, &ada, "Here again").await;
    assert_eq!(client.expect("event").await["seq"], json!(said.plus(2)));
}

#[tokio::test]
async fn an_auditor_looks_on_the_record_until_the_role_is_gone() {
    let world = World::new().await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let chat = world.start(&[&ada]).await;
    let (mut client, _) = world.live(&eve).await;
    client
        .send(json!({"op": "subscribe", "conversation": chat, "after_seq": 0}))
        .await;
    client.expect_error("conversation_not_found").await;

    world.role(&eve, SystemRole::Auditor, true).await;
    client
        .send(json!({"op": "subscribe", "conversation": chat, "after_seq": 0}))
        .await;
    assert_eq!(client.expect("event").await["seq"], 1);
    client.expect("caught_up").await;
    let audit = StreamName::audit();
    let record = world
        .store
        .read_stream(&audit, Version(1), Direction::Forward, 10);
    let record = record.await.unwrap();
    assert_eq!(record.len(), 1);
    assert_eq!(record[0].event_type.as_ref(), "log-replayed");
    assert_eq!(
        record[0].metadata().unwrap().actor,
        domain::Actor::User(eve.id)
    );
    world.say(chat, &ada, "Is somebody there?").await;
    assert_eq!(client.expect("event").await["seq"], 2);
    client
        .send(json!({"op": "typing", "conversation": chat}))
        .await;
    client.expect_error("conversation_not_found").await;

    world.role(&eve, SystemRole::Auditor, false).await;
    assert_eq!(client.expect("reset").await["reason"], "role_revoked");
    world.say(chat, &ada, "Nobody, it seems").await;
    client.is_quiet().await;
    client
        .send(json!({"op": "subscribe", "conversation": uuid::Uuid::nil(), "after_seq": 0}))
        .await;
    client.expect_error("conversation_not_found").await;
}
