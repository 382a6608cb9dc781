//! Who is not in a conversation learns nothing of it, and bad input gets a clear answer.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tests::Listener;

use crate::site::Site;

pub(crate) async fn anybody_reads_the_public_keys(site: &Site) {
    let mut nobody = site.owner.clone();
    nobody.token.clear();
    let answer = nobody.get("/.well-known/jwks.json").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let keys = answer.body["keys"].as_array().expect("keys");
    assert!(!keys.is_empty(), "{}", answer.body);
}

pub(crate) async fn a_stranger_gets_404_everywhere(site: &Site) {
    let olga = &site.owner;
    let eve = site.person("eve").await;
    let conversation = olga.starts_group("Secret", &[]).await;
    let seq = olga.says(&conversation, "nobody knows").await;
    let base = format!("/v1/conversations/{conversation}");
    let reads = [
        base.clone(),
        format!("{base}/messages"),
        format!("{base}/messages/{seq}"),
        format!("{base}/messages/{seq}/receipts"),
        format!("{base}/members"),
        format!("/v1/audit/conversations/{conversation}/events"),
    ];
    for path in &reads {
        eve.get(path).await.problem(404, "conversation_not_found");
    }
    let commands = [
        (
            Method::POST,
            format!("{base}/messages"),
            json!({ "body": "hi" }),
        ),
        (
            Method::PATCH,
            format!("{base}/messages/{seq}"),
            json!({ "body": "hi" }),
        ),
        (Method::DELETE, format!("{base}/messages/{seq}"), json!({})),
        (Method::PATCH, base.clone(), json!({ "title": "Mine" })),
        (Method::PUT, format!("{base}/archived"), json!({})),
        (
            Method::POST,
            format!("{base}/members"),
            json!({ "user": eve.id }),
        ),
        (
            Method::DELETE,
            format!("{base}/members/{}", olga.id),
            json!({}),
        ),
        (
            Method::PUT,
            format!("{base}/receipts/seen"),
            json!({ "seq": seq }),
        ),
    ];
    for (method, path, body) in commands {
        let answer = eve.ask(method, &path, Some(body), &[]).await;
        answer.problem(404, "conversation_not_found");
    }
    let (mut listener, _) = Listener::live(&eve).await;
    for op in ["subscribe", "typing"] {
        listener
            .send(json!({ "op": op, "id": "1", "conversation": conversation }))
            .await;
        let error = listener.next().await;
        assert_eq!(error["op"], "error", "{error}");
        assert_eq!(
            error["problem"]["code"], "conversation_not_found",
            "{error}"
        );
    }
}

pub(crate) async fn who_was_removed_keeps_what_they_had_and_gets_nothing_more(site: &Site) {
    let olga = &site.owner;
    let bob = site.person("bob").await;
    let conversation = olga.starts_group("Team", &[&bob]).await;
    let before = olga.says(&conversation, "before").await;
    let (mut listener, _) = Listener::live(&bob).await;
    let member = format!("/v1/conversations/{conversation}/members/{}", bob.id);
    olga.ask(Method::DELETE, &member, None, &[]).await.ok();
    let after = olga.says(&conversation, "after").await;
    let removed = listener.wait_for_event("member-removed").await;
    assert!(removed["seq"].as_u64() > Some(before));
    let reset = listener.wait_for("reset").await;
    assert_eq!(reset["conversation"], conversation);
    // A signal that all that was to come has come: the answer to a heartbeat.
    listener.send(json!({ "op": "heartbeat" })).await;
    let answer = listener.next().await;
    assert_eq!(answer["op"], "heartbeat_ack");
    let cursor = answer["cursor"].as_str().expect("a cursor");
    let path = format!("/v1/conversations/{conversation}/messages");
    let page = bob.get(&format!("{path}?min_position={cursor}")).await.ok();
    let seqs: Vec<_> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .collect();
    assert_eq!(seqs.len(), 1, "{page}");
    assert_eq!(seqs[0]["seq"], before);
    bob.get(&format!("{path}/{after}"))
        .await
        .problem(404, "message_not_found");
}

pub(crate) async fn bad_bodies_are_pointed_at(site: &Site) {
    let olga = &site.owner;
    let conversation = olga.starts_group("Team", &[]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let wrong_type = olga
        .post(&path, json!({ "body": 7 }))
        .await
        .problem(422, "invalid_body");
    assert_eq!(wrong_type["errors"][0]["pointer"], "/body", "{wrong_type}");
    assert!(wrong_type["trace_id"].is_string(), "{wrong_type}");
    let empty = olga
        .post(&path, json!({ "body": "  " }))
        .await
        .problem(422, "invalid_body");
    assert_eq!(empty["errors"][0]["pointer"], "/body", "{empty}");
    let long = "x".repeat(16 * 1024 + 1);
    olga.post(&path, json!({ "body": long }))
        .await
        .problem(422, "invalid_body");
    // Far more than what the kernel holds for a server that does not read it.
    let huge = "x".repeat(12 * 1024 * 1024);
    olga.post(&path, json!({ "body": huge }))
        .await
        .problem(413, "body_too_large");
    olga.get(&format!("{path}?limit=many"))
        .await
        .problem(400, "invalid_query");
    olga.get("/v1/nothing").await.problem(404, "no_route");
    olga.ask(Method::DELETE, "/v1/conversations", None, &[])
        .await
        .problem(405, "method_not_allowed");
}

pub(crate) async fn bad_frames_are_answered_and_the_connection_lives(site: &Site) {
    let olga = &site.owner;
    let bob = site.person("bob").await;
    let conversation = olga.starts_group("Team", &[&bob]).await;
    let (_, ready) = Listener::live(&bob).await;
    let foreign = ready["cursor"].as_str().expect("a cursor").to_owned();

    let mut listener = Listener::connect(site.url()).await;
    let identify = json!({ "op": "identify", "token": olga.token, "cursor": foreign });
    listener.send(identify).await;
    let error = listener.next().await;
    assert_eq!(
        (&error["op"], &error["problem"]["code"]),
        (&json!("error"), &json!("cursor_invalid"))
    );
    listener
        .send(json!({ "op": "identify", "token": olga.token }))
        .await;
    listener.wait_for("ready").await;

    listener.send(json!({ "op": "dance", "id": "1" })).await;
    assert_eq!(listener.next().await["problem"]["code"], "unknown_op");
    let bad = json!({ "op": "send_message", "id": "2", "conversation": conversation, "body": [] });
    listener.send(bad).await;
    let error = listener.next().await;
    assert_eq!(error["id"], "2");
    assert_eq!(error["problem"]["errors"][0]["pointer"], "/body", "{error}");
    listener.send(json!({ "op": "heartbeat" })).await;
    assert_eq!(listener.next().await["op"], "heartbeat_ack");
}

pub(crate) async fn without_a_good_token_there_is_no_way_in(site: &Site) {
    let mut bob = site.person("bob").await;
    let good = std::mem::replace(&mut bob.token, "not-a-token".into());
    bob.get("/v1/conversations")
        .await
        .problem(401, "token_invalid");
    bob.token.clear();
    bob.get("/v1/conversations")
        .await
        .problem(401, "unauthenticated");
    bob.token = good;
    bob.get("/v1/conversations").await.ok();
    bob.ask(Method::DELETE, "/v1/sessions/current", None, &[])
        .await
        .ok();
    // Another process may take a second to hear of it; each is asked in turn.
    let ended = async {
        let mut refused = 0;
        while refused < 4 {
            let answer = bob.get("/v1/conversations").await;
            if answer.status.is_success() {
                refused = 0;
            } else {
                answer.problem(401, "session_ended");
                refused += 1;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(1), ended).await;
    ended.expect("a token is no good a second later");
}
