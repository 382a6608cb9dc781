//! Server-Sent Events.

use std::time::Duration;

use futures::StreamExt as _;
use gateway::Limits;
use serde_json::{Value, json};

use crate::world::{User, World};

/// Reads a stream of events, as the specification of `EventSource` says.
struct Events {
    response: reqwest::Response,
    text: String,
}

/// What came: an id without anything else, or an event.
#[derive(Debug, Default)]
struct Came {
    id: Option<String>,
    name: Option<String>,
    data: Option<Value>,
    retry: Option<u64>,
}

impl Events {
    async fn next(&mut self) -> Option<Came> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut came = Came::default();
                for line in block.lines() {
                    let (field, value) = line.split_once(": ").unwrap();
                    match field {
                        "id" => came.id = Some(value.to_owned()),
                        "event" => came.name = Some(value.to_owned()),
                        "data" => came.data = Some(serde_json::from_str(value).unwrap()),
                        "retry" => came.retry = Some(value.parse().unwrap()),
                        other => panic!("unknown field {other}"),
                    }
                }
                self.text = String::from(rest);
                return Some(came);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("nothing came").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn expect(&mut self, name: &str) -> Came {
        let came = self.next().await.unwrap();
        assert_eq!(came.name.as_deref(), Some(name), "{came:?}");
        assert_eq!(came.data.as_ref().unwrap()["op"], name);
        came
    }
}

async fn get(world: &World, user: &User, cursor: Option<&str>) -> reqwest::Response {
    let url = format!("http://{}/v1/stream/sse", world.address);
    let mut request = reqwest::Client::new().get(url).bearer_auth(&user.token);
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    request.send().await.unwrap()
}

async fn follow(world: &World, user: &User, cursor: Option<&str>) -> Events {
    let response = get(world, user, cursor).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events {
        response,
        text: String::new(),
    }
}

#[tokio::test]
async fn the_same_events_come_with_their_cursors_as_ids() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let mut events = follow(&world, &ada, None).await;
    let ready = events.expect("ready").await;
    let start = ready.id.unwrap();
    world.say(chat, &bob, "Line one\nline two").await;
    let event = events.expect("event").await;
    let data = event.data.unwrap();
    assert_eq!(data["data"]["body"], "Line one\nline two");
    assert_eq!(data["cursor"], json!(event.id));
    drop(events);
    world.until_nobody_is_connected().await;

    world.say(chat, &bob, "Meanwhile").await;
    for (cursor, seqs) in [(start, vec![2, 3]), (event.id.unwrap(), vec![3])] {
        let mut events = follow(&world, &ada, Some(&cursor)).await;
        events.expect("resumed").await;
        for seq in seqs {
            assert_eq!(events.expect("event").await.data.unwrap()["seq"], seq);
        }
        events.expect("caught_up").await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_with_a_problem() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut of_bob = follow(&world, &bob, None).await;
    let cursor = of_bob.expect("ready").await.id.unwrap();
    let mut unknown = ada.clone();
    unknown.token = String::from("garbage");
    for (user, cursor, status, code) in [
        (&ada, Some(cursor.as_str()), 422, "cursor_invalid"),
        (&unknown, None, 401, "token_invalid"),
    ] {
        let response = get(&world, user, cursor).await;
        assert_eq!(response.status(), status);
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
    let url = format!("http://{}/v1/stream/sse", world.address);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_cookie_lets_in_what_cannot_send_headers() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let url = format!("http://{}/v1/stream/sse", world.address);
    let request = reqwest::Client::new().get(url);
    let cookie = format!("verbatim_token={}", ada.token);
    let response = request.header("cookie", cookie).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut events = Events {
        response,
        text: String::new(),
    };
    events.expect("ready").await;
}

#[tokio::test]
async fn a_cursor_that_is_no_text_is_refused() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let url = format!("http://{}/v1/stream/sse", world.address);
    let cursor = reqwest::header::HeaderValue::from_bytes(b"1.\xff").unwrap();
    let request = reqwest::Client::new().get(url).bearer_auth(&ada.token);
    let request = request.header("last-event-id", cursor);
    let response = request.send().await.unwrap();
    assert_eq!(
        response.status(),
        422,
        "not live from now, as if nothing was missed"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "cursor_invalid");
}

#[tokio::test]
async fn what_is_no_parameter_is_refused_and_not_passed_over() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let url = format!("http://{}/v1/stream/sse?cursor=16.a", world.address);
    let asked = reqwest::Client::new().get(url).bearer_auth(&user.token);
    let refused = asked.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["errors"][0]["pointer"], "?cursor", "{problem}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_let_go_of() {
    let world = World::with(Limits {
        write_stalled_max: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let chat = world.start(&[&ada, &bob]).await;
    let mut slow = follow(&world, &ada, None).await;
    let start = slow.expect("ready").await.id.unwrap();
    // More than the buffers of a socket on one machine take.
    let text = "x".repeat(16 * 1024);
    let count = 1_500;
    for _ in 0..count {
        world.say(chat, &bob, &text).await;
    }
    world.until_nobody_is_connected().await;

    let mut seqs = Vec::new();
    let mut cursor = start;
    let mut take = |came: Came, cursor: &mut String| {
        if came.name.as_deref() == Some("event") {
            seqs.push(came.data.unwrap()["seq"].as_u64().unwrap());
            came.id.unwrap().clone_into(cursor);
        }
    };
    while let Some(came) = slow.next().await {
        take(came, &mut cursor);
    }
    let mut back = follow(&world, &ada, Some(&cursor)).await;
    loop {
        let came = back.next().await.unwrap();
        if came.name.as_deref() == Some("caught_up") {
            break;
        }
        take(came, &mut cursor);
    }
    assert_eq!(seqs, (2..2 + count).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_quiet_stream_gets_newer_ids_and_ends_with_a_reason() {
    let world = World::with(Limits {
        heartbeat_every: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let ada = world.user("ada").await;
    let phone = world.login(ada.id, chrono::TimeDelta::days(1)).await;
    let mut revoked = follow(&world, &phone, None).await;
    let mut drained = follow(&world, &ada, None).await;
    revoked.expect("ready").await;
    drained.expect("ready").await;
    let beat = revoked.next().await.unwrap();
    assert!(beat.id.is_some() && beat.data.is_none());

    world.log_out(&phone).await;
    let mut last = None;
    while let Some(came) = revoked.next().await {
        last = came.data.or(last);
    }
    assert_eq!(last.unwrap()["problem"]["code"], "session_ended");

    assert_eq!(world.gateway.drain().await, 0);
    let mut last = None;
    while let Some(came) = drained.next().await {
        last = Some(came);
    }
    let last = last.unwrap();
    assert_eq!(last.data.unwrap()["after_ms"], last.retry.unwrap());
}

#[tokio::test]
async fn a_stream_that_is_cut_mid_event_resumes_exactly() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let chat = world.start(&[&ada]).await;
    let mut events = follow(&world, &ada, None).await;
    let mut cursor = events.expect("ready").await.id.unwrap();
    drop(events);
    for round in 0..60 {
        world.say(chat, &ada, &format!("Message {round}")).await;
    }
    let mut seqs = Vec::new();
    while seqs.len() < 60 {
        let response = get(&world, &ada, Some(&cursor)).await;
        let mut stream = response.bytes_stream();
        let mut text = String::new();
        while text.len() < 3_000 && !text.contains("caught_up") {
            let chunk = stream.next().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        text.truncate(3_000);
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        for block in whole.split("\n\n").filter(|b| b.contains("event: event")) {
            let data = block.split_once("data: ").unwrap().1;
            let frame: Value = serde_json::from_str(data).unwrap();
            seqs.push(frame["seq"].as_u64().unwrap());
            frame["cursor"].as_str().unwrap().clone_into(&mut cursor);
        }
    }
    assert_eq!(seqs, (2..=61).collect::<Vec<u64>>());
}
