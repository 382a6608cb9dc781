//! Saying hello, being let in, getting events, being put out.

use std::time::Duration;

use chrono::TimeDelta;
use domain::user::{Deactivated, Suspended, UserEvent};
use domain::{Actor, Position, ServiceId, Version};
use gateway::Limits;
use infra::clock::fresh_id;
use serde_json::json;

use crate::world::{Seen, World};

#[tokio::test]
async fn a_client_is_greeted_identified_and_gets_events() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;

    let mut client = world.connect_raw(Some("verbatim.v1.json")).await.unwrap();
    let hello = client.expect("hello").await;
    assert_eq!(hello["heartbeat_ms"], 30_000);
    client
        .send(json!({"op": "identify", "token": ada.token}))
        .await;
    let ready = client.expect("ready").await;
    assert_eq!(ready["user"], json!(ada.id));
    assert_eq!(ready["conversations"], json!([chat]));

    world.say(chat, &bob, "Good morning").await;
    let event = client.expect("event").await;
    assert_eq!(
        Seen::of(&event),
        world.visible(&ada, Position::ZERO).await[1]
    );
    assert_eq!(event["type"], "message-sent");
    assert_eq!(event["actor"], format!("user:{}", bob.id));
    assert_eq!(
        event["data"],
        json!({"author": bob.id, "body": "Good morning"})
    );
    let fields: Vec<_> = event.as_object().unwrap().keys().collect();
    let known = [
        "actor",
        "at",
        "conversation",
        "cursor",
        "data",
        "op",
        "seq",
        "type",
    ];
    assert_eq!(fields, known);

    let receipt = world.see(chat, &bob, Version(2)).await;
    let event = client.expect("event").await;
    assert_eq!(
        (&event["type"], receipt),
        (&json!("seen-up-to"), Version(1))
    );
    assert_eq!(event["data"], json!({"member": bob.id, "seq": 2}));
}

#[tokio::test]
async fn others_conversations_stay_with_them() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let own = world.start(&[&bob]).await;
    let (mut client, ready) = world.live(&ada).await;
    assert_eq!(ready["conversations"], json!([]));
    world.say(own, &bob, "Nobody hears me").await;
    client.is_quiet().await;
    client
        .send(json!({"op": "subscribe", "conversation": own, "after_seq": 0}))
        .await;
    client.expect_error("conversation_not_found").await;
    client
        .send(json!({"op": "typing", "conversation": own}))
        .await;
    client.expect_error("conversation_not_found").await;
    client.is_quiet().await;
}

#[tokio::test]
async fn only_our_subprotocol_is_spoken_and_none_means_ours() {
    let world = World::new().await;
    assert!(world.connect_raw(Some("verbatim.v9.xml")).await.is_err());
    let mut client = world.connect_raw(None).await.unwrap();
    client.expect("hello").await;
    let plain = reqwest::get(format!("http://{}/v1/stream", world.address)).await;
    let plain = plain.unwrap();
    assert_eq!(plain.status(), 400);
    let problem: serde_json::Value = plain.json().await.unwrap();
    assert_eq!(problem["code"], "websocket_required");
}

#[tokio::test]
async fn who_does_not_identify_is_closed_and_nothing_else_is_taken_before() {
    let world = World::with(Limits {
        identify_within: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut client = world.connect().await;
    client.send(json!({"op": "send_message", "id": "1"})).await;
    client.expect_error("not_identified").await;
    client
        .send(json!({"op": "unsubscribe", "conversation": uuid::Uuid::nil()}))
        .await;
    client.expect_error("not_identified").await;
    client.is_quiet().await;
    assert_eq!(client.closed_with().await, 4408);
}

#[tokio::test]
async fn silence_closes_and_a_heartbeat_is_no_silence() {
    let heartbeat_every = Duration::from_millis(250);
    let world = World::with(Limits {
        heartbeat_every,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (mut client, _) = world.live(&ada).await;
    let started = tokio::time::Instant::now();
    while started.elapsed() < heartbeat_every * 4 {
        client.is_quiet().await;
        tokio::time::sleep(heartbeat_every / 2).await;
    }
    assert_eq!(client.closed_with().await, 4408);
}

#[tokio::test]
async fn a_token_that_is_worth_nothing_closes() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let old = world.login(ada.id, TimeDelta::seconds(-10)).await;
    let out = world.login(ada.id, TimeDelta::days(1)).await;
    world.log_out(&out).await;
    let cases = [
        (String::from("garbage"), "token_invalid"),
        (old.token, "token_expired"),
        (out.token, "session_ended"),
    ];
    for (token, code) in cases {
        let mut client = world.connect().await;
        client.send(json!({"op": "identify", "token": token})).await;
        client.expect_error(code).await;
        assert_eq!(client.closed_with().await, 4401);
    }
    world.live(&ada).await;
}

#[tokio::test]
async fn a_login_that_ends_takes_its_connections_along() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let phone = world.login(ada.id, TimeDelta::days(1)).await;
    let (mut one, _) = world.live(&phone).await;
    let (mut other, _) = world.live(&ada).await;
    world.log_out(&phone).await;
    assert_eq!(one.closed_with().await, 4401);
    other.is_quiet().await;
}

#[tokio::test]
async fn a_way_in_that_ends_makes_connections_come_again() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mut client, _) = world.live(&ada).await;
    let (mut other, _) = world.live(&bob).await;
    world.unlink(&ada).await;
    assert_eq!(client.closed_with().await, 1013);
    other.is_quiet().await;
    world.live(&ada).await;
}

#[tokio::test]
async fn a_login_that_expires_takes_its_connections_along() {
    let world = World::new().await;
    let ada = world.user_until("ada", TimeDelta::milliseconds(700)).await;
    let (mut client, _) = world.live(&ada).await;
    assert_eq!(client.closed_with().await, 4401);
}

#[tokio::test]
async fn who_is_shut_out_loses_every_connection() {
    let world = World::new().await;
    let suspended = UserEvent::Suspended(Suspended {
        by: Actor::Operator,
        until: None,
        why: None,
    });
    let deactivated = UserEvent::Deactivated(Deactivated {});
    for (event, code) in [
        (suspended, "account_suspended"),
        (deactivated, "session_ended"),
    ] {
        let ada = world.user("ada").await;
        let phone = world.login(ada.id, TimeDelta::days(1)).await;
        let (mut one, _) = world.live(&ada).await;
        let (mut other, _) = world.live(&phone).await;
        world.happens_to(ada.id, event).await;
        assert_eq!(one.closed_with().await, 4401);
        assert_eq!(other.closed_with().await, 4401);
        let mut again = world.connect().await;
        let identify = json!({"op": "identify", "token": ada.token});
        again.send(identify).await;
        again.expect_error(code).await;
        assert_eq!(again.closed_with().await, 4401);
    }
}

#[tokio::test]
async fn all_logins_but_one_that_end_together_take_their_connections_along_on_every_node() {
    let world = World::new().await;
    let other_node = world.another_node(Limits::default()).await;
    let (phone, bob) = (world.user("ada").await, world.user("bob").await);
    let laptop = world.login(phone.id, TimeDelta::days(1)).await;
    let (mut kept, _) = world.live(&phone).await;
    let (mut of_bob, _) = world.live(&bob).await;
    let (mut here, _) = world.live(&laptop).await;
    let (mut there, _) = other_node.live(&laptop).await;
    world.log_out_everywhere(&phone, 1, Some(&phone)).await;
    assert_eq!(here.closed_with().await, 4401);
    assert_eq!(there.closed_with().await, 4401);
    kept.is_quiet().await;
    of_bob.is_quiet().await;
    let mut late = world.connect().await;
    let identify = json!({"op": "identify", "token": laptop.token});
    late.send(identify).await;
    late.expect_error("session_ended").await;
    assert_eq!(late.closed_with().await, 4401);
    world.log_out_everywhere(&phone, 2, None).await;
    assert_eq!(kept.closed_with().await, 4401);
    of_bob.is_quiet().await;
}

#[tokio::test]
async fn a_connection_with_a_newer_token_goes_on_and_one_without_ends() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let short = world.token(&ada, TimeDelta::seconds(3));
    let identify = json!({"op": "identify", "token": short});
    let mut renewed = world.connect().await;
    let mut left = world.connect().await;
    for client in [&mut renewed, &mut left] {
        client.send(identify.clone()).await;
        client.expect("ready").await;
    }
    renewed
        .send(json!({"op": "renew", "id": "r", "token": ada.token}))
        .await;
    let answer = renewed.expect("renewed").await;
    let until: chrono::DateTime<chrono::Utc> =
        answer["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(until > infra::clock::Clock::system().now() + TimeDelta::hours(23));
    // An older one takes nothing back.
    renewed.send(json!({"op": "renew", "token": short})).await;
    assert_eq!(
        renewed.expect("renewed").await["expires_at"],
        answer["expires_at"]
    );
    assert_eq!(left.closed_with().await, 4401);
    renewed.is_quiet().await;
}

#[tokio::test]
async fn a_connection_is_renewed_with_a_token_of_its_own_login_only() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let elsewhere = world.login(ada.id, TimeDelta::days(1)).await;
    let out = world.login(ada.id, TimeDelta::days(1)).await;
    world.log_out(&out).await;
    let short = world.token(&ada, TimeDelta::seconds(3));
    let mut client = world.connect().await;
    client
        .send(json!({"op": "renew", "token": ada.token}))
        .await;
    client.expect_error("not_identified").await;
    client.send(json!({"op": "identify", "token": short})).await;
    client.expect("ready").await;
    for (token, code) in [
        (bob.token.as_str(), "token_of_another"),
        (&elsewhere.token, "token_of_another"),
        (&out.token, "session_ended"),
        ("garbage", "token_invalid"),
    ] {
        let renew = json!({"op": "renew", "id": "r", "token": token});
        client.send(renew).await;
        let error = client.expect_error(code).await;
        assert_eq!(error["id"], "r");
    }
    client.send(json!({"op": "renew"})).await;
    let error = client.expect_error("invalid_body").await;
    assert_eq!(error["problem"]["errors"][0]["pointer"], "/token");
    assert_eq!(
        client.closed_with().await,
        4401,
        "at the end of its own token"
    );
}

#[tokio::test]
async fn a_cookie_identifies_pages_of_the_same_host_only() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let cookie = format!("theme=dark; verbatim_token={}", ada.token);
    let own = format!("http://{}", world.address);
    let identify = json!({"op": "identify"});
    let mut page = world
        .connect_with(&[("cookie", &cookie), ("origin", &own)])
        .await
        .unwrap();
    page.expect("hello").await;
    page.send(identify.clone()).await;
    assert_eq!(page.expect("ready").await["user"], json!(ada.id));

    let other = [
        ("cookie", cookie.as_str()),
        ("origin", "https://evil.example"),
    ];
    for (headers, code) in [
        (&other[..], "origin_not_allowed"),
        (&[("cookie", cookie.as_str())], "origin_not_allowed"),
        (&[("origin", own.as_str())], "unauthenticated"),
    ] {
        let mut client = world.connect_with(headers).await.unwrap();
        client.expect("hello").await;
        client.send(identify.clone()).await;
        client.expect_error(code).await;
        client
            .send(json!({"op": "identify", "token": ada.token}))
            .await;
        client.expect_quietly("ready").await;
    }
}

#[tokio::test]
async fn a_bot_follows_until_its_token_is_replaced_and_other_services_do_not() {
    let world = World::new().await;
    let bot = world.user("bot").await;
    let service = ServiceId(fresh_id());
    let token = world.service_token(service, Some(bot.id), 1).await;
    let (mut client, ready) = world.live(&bot.with_token(token)).await;
    assert_eq!(ready["user"], json!(bot.id));
    world.service_token(service, Some(bot.id), 2).await;
    assert_eq!(client.closed_with().await, 4401);

    let auditor = ServiceId(fresh_id());
    let token = world.service_token(auditor, None, 1).await;
    let mut client = world.connect().await;
    client.send(json!({"op": "identify", "token": token})).await;
    client.expect_error("service_not_allowed").await;
    assert_eq!(client.closed_with().await, 4401);
}

#[tokio::test]
async fn one_connection_too_many_replaces_the_oldest() {
    let world = World::with(Limits {
        sessions_per_user_max: 2,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (mut first, _) = world.live(&ada).await;
    let (mut second, _) = world.live(&ada).await;
    let (mut third, _) = world.live(&ada).await;
    assert_eq!(first.closed_with().await, 4409);
    second.is_quiet().await;
    third.is_quiet().await;
}

#[tokio::test]
async fn a_full_server_says_so() {
    let world = World::with(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let (client, _) = world.live(&ada).await;
    assert_eq!(world.gateway.status().connections, 1);
    assert_eq!(world.gateway.status().sessions, 1);
    assert!(world.connect_raw(None).await.is_err());
    drop(client);
    world.until_nobody_is_connected().await;
    assert_eq!(world.gateway.status().sessions, 0);
    world.live(&ada).await;
}

#[tokio::test]
async fn the_frames_are_documented() {
    let world = World::new().await;
    let openapi = serde_json::to_value(&world.openapi).unwrap();
    let schemas = &openapi["components"]["schemas"];
    for frame in ["ClientFrame", "ServerFrame", "EventFrame", "Problem"] {
        assert!(schemas[frame].is_object(), "{frame}");
    }
    let mut paths: Vec<_> = openapi["paths"].as_object().unwrap().keys().collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/v1/stream", "/v1/stream/sse"]);
}
