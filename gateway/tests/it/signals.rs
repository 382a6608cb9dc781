//! Typing and presence.

use std::time::Duration;

use domain::user::SystemRole;
use gateway::Limits;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn typing_reaches_the_other_members_at_most_once_a_second() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let cid = world.user("cid").await;
    let chat = world.start(&[&ada, &bob]).await;
    let (mut from, _) = world.live(&ada).await;
    let (mut to, _) = world.live(&bob).await;
    let (mut stranger, _) = world.live(&cid).await;
    from.expect("signal").await;
    let typing = json!({"op": "typing", "conversation": chat});
    for _ in 0..5 {
        from.send(typing.clone()).await;
    }
    let signal = to.expect("signal").await;
    let wanted = json!({
        "op": "signal", "type": "typing", "conversation": chat,
        "actor": format!("user:{}", ada.id),
    });
    assert_eq!(signal, wanted);
    from.is_quiet().await;
    to.is_quiet().await;
    stranger.is_quiet().await;
}

#[tokio::test]
async fn presence_is_of_the_user_not_of_each_connection() {
    let world = World::with(Limits {
        offline_after: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stranger = world.user("cid").await;
    world.start(&[&ada, &bob]).await;
    world.start(&[&stranger]).await;
    let (mut watching, ready) = world.live(&ada).await;
    let (mut elsewhere, _) = world.live(&stranger).await;
    assert_eq!(ready["online"], json!([]));

    let presence = |state: &str| {
        json!({
            "op": "signal", "type": "presence", "actor": format!("user:{}", bob.id),
            "data": {"state": state},
        })
    };
    let (phone, ready) = world.live(&bob).await;
    assert_eq!(ready["online"], json!([ada.id]));
    assert_eq!(watching.next().await, presence("online"));
    let (laptop, _) = world.live(&bob).await;
    drop(phone);
    crate::world::eventually(|| world.gateway.status().sessions == 3).await;
    watching.is_quiet().await;
    drop(laptop);
    assert_eq!(watching.next().await, presence("offline"));
    elsewhere.is_quiet().await;

    // Back before anybody noticed: nothing is told.
    let (phone, _) = world.live(&bob).await;
    assert_eq!(watching.next().await, presence("online"));
    drop(phone);
    crate::world::eventually(|| world.gateway.status().sessions == 2).await;
    let (phone, _) = world.live(&bob).await;
    watching.is_quiet().await;
    drop(phone);
    assert_eq!(watching.next().await, presence("offline"));
}

#[tokio::test]
async fn who_was_put_out_is_not_told_to_those_who_stay() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let (client, ready) = world.live(&bob).await;
    drop(client);
    world.until_nobody_is_connected().await;
    world.remove(chat, &ada, &bob).await;
    let (mut watching, _) = world.live(&ada).await;
    let (mut back, resumed) = world.back(&bob, ready["cursor"].as_str().unwrap()).await;
    assert_eq!(resumed["conversations"], json!([]));
    assert_eq!(resumed["online"], json!([]));
    assert_eq!(back.expect("event").await["type"], "member-removed");
    back.expect("reset").await;
    back.expect("caught_up").await;
    watching.is_quiet().await;
}

#[tokio::test]
async fn an_auditor_who_looks_is_not_seen_and_sees_no_signals() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let auditor = world.user("cid").await;
    world.role(&auditor, SystemRole::Auditor, true).await;
    let chat = world.start(&[&ada, &bob]).await;
    let (mut looking, _) = world.live(&auditor).await;
    looking
        .send(json!({"op": "subscribe", "conversation": chat}))
        .await;
    looking.expect("caught_up").await;

    let (mut of_ada, ready) = world.live(&ada).await;
    assert_eq!(ready["online"], json!([]));
    of_ada
        .send(json!({"op": "typing", "conversation": chat}))
        .await;
    of_ada.is_quiet().await;
    looking.is_quiet().await;

    // Once they are in it, they are as everybody.
    world.add(chat, &ada, &auditor).await;
    looking.expect_quietly("event").await;
    let (_bob, ready) = world.live(&bob).await;
    let mut online: Vec<_> = ready["online"].as_array().unwrap().clone();
    online.sort_by_key(ToString::to_string);
    assert_eq!(online, [json!(ada.id), json!(auditor.id)]);
}

#[tokio::test]
async fn nodes_tell_one_another_who_types_and_who_is_there() {
    let limits = || Limits {
        offline_after: Duration::from_millis(300),
        drain_grace: Duration::from_millis(10),
        ..Limits::default()
    };
    let one = World::with(limits()).await;
    let (ada, bob) = (one.user("ada").await, one.user("bob").await);
    let chat = one.start(&[&ada, &bob]).await;
    let presence = |state: &str| {
        json!({
            "op": "signal", "type": "presence", "actor": format!("user:{}", bob.id),
            "data": {"state": state},
        })
    };

    // The second node is new: it asks the first who is there.
    let (mut watching, _) = one.live(&ada).await;
    let two = one.another_node(limits()).await;
    let mut phone = two
        .live_where(&bob, |ready| ready["online"] == json!([ada.id]))
        .await;
    assert_eq!(watching.next().await, presence("online"));

    phone
        .send(json!({"op": "typing", "conversation": chat}))
        .await;
    assert_eq!(watching.next().await["type"], "typing");

    // On both nodes, then on one of them: online all the time.
    let (tablet, _) = one.live(&bob).await;
    drop(tablet);
    crate::world::eventually(|| one.gateway.status().sessions == 1).await;
    watching.is_quiet().await;

    drop(phone);
    assert_eq!(watching.next().await, presence("offline"));
    let (phone, _) = two.live(&bob).await;
    assert_eq!(watching.next().await, presence("online"));
    two.gateway.drain().await;
    drop(phone);
    assert_eq!(watching.next().await, presence("offline"));
}
