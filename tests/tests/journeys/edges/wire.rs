//! Requests that no browser sends, byte by byte.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tests::{Person, ServerProcess, exchange};

use crate::PROGRAM;

/// The status of each answer in `said`.
fn statuses(said: &str) -> Vec<u16> {
    said.match_indices("HTTP/1.1 ")
        .map(|(at, before)| {
            let status = &said[at + before.len()..][..3];
            status.parse().expect("a status")
        })
        .collect()
}

#[tokio::test]
async fn a_request_whose_end_is_a_matter_of_opinion_hides_no_other() {
    let server = ServerProcess::start(PROGRAM).await;
    let hidden = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = |headers: &str| {
        format!("POST /v1/sessions HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{hidden}")
    };
    for (request, expected) in [
        // The body is read as chunked, and what follows is not read at all.
        (
            chunked("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (
            chunked("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
            400,
        ),
        (
            chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (chunked("Transfer-Encoding: gzip, chunked\r\n"), 400),
        (chunked("Transfer-Encoding: xchunked\r\n"), 400),
        (chunked("Transfer-Encoding: chunked, identity\r\n"), 400),
        (chunked("Transfer-Encoding : chunked\r\n"), 400),
        (chunked("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        (chunked("Content-Length: +5\r\n"), 400),
        (chunked("Content-Length: 5, 6\r\n"), 400),
        (
            chunked("X-Folded: one\r\n two\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (chunked("Host: b\r\nTransfer-Encoding: chunked\r\n"), 400),
        (chunked("X-\0: zero\r\nTransfer-Encoding: chunked\r\n"), 400),
        (
            format!("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{hidden}"),
            400,
        ),
        (format!("GET /health/live HTTP/1.1\r\n\r\n{hidden}"), 400),
        (
            format!("GET  /health/live HTTP/1.1\r\nHost: a\r\n\r\n{hidden}"),
            400,
        ),
        (
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            400,
        ),
    ] {
        let said = exchange(&server.url(), request.as_bytes()).await;
        assert_eq!(statuses(&said), [expected], "{request:?}: {said}");
    }
    // Where it is clear, one comes after the other.
    let clear = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: 2\r\n\r\n{}\
                 GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let said = exchange(&server.url(), clear.as_bytes()).await;
    assert_eq!(statuses(&said), [422, 200], "{said}");
}

#[tokio::test]
async fn heads_are_bounded_in_bytes_and_in_lines() {
    let server = ServerProcess::start(PROGRAM).await;
    let mut many = String::new();
    for number in 0..80 {
        write!(many, "X-{number}: 1\r\n").expect("a string");
    }
    let large = format!("X-Large: {}\r\n", "x".repeat(40_000));
    for headers in [many, large] {
        let request = format!("GET /health/live HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let said = exchange(&server.url(), request.as_bytes()).await;
        assert_eq!(statuses(&said), [431], "{said}");
    }
    let path = "x".repeat(40_000);
    let request = format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let said = exchange(&server.url(), request.as_bytes()).await;
    assert_eq!(statuses(&said), [431], "{said}");
}

#[tokio::test]
async fn who_takes_their_time_is_cut() {
    let timeouts = ["--head-seconds-max=1", "--body-seconds-max=1"];
    let server = ServerProcess::start_with(PROGRAM, &timeouts).await;
    let begun = Instant::now();
    let half = "GET /health/live HTTP/1.1\r\nHos";
    let idle = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"login\":";
    let chunk =
        "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"";
    let url = server.url();
    let (nothing, half, idle, body, chunk) = tokio::join!(
        exchange(&url, b""),
        exchange(&url, half.as_bytes()),
        exchange(&url, idle.as_bytes()),
        exchange(&url, body.as_bytes()),
        exchange(&url, chunk.as_bytes()),
    );
    assert_eq!((nothing.as_str(), half.as_str()), ("", ""));
    assert_eq!(statuses(&idle), [200], "{idle}");
    for said in [body, chunk] {
        assert_eq!(statuses(&said), [408], "{said}");
        assert!(said.contains("request_timeout"), "{said}");
        assert!(said.to_lowercase().contains("connection: close"), "{said}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_cut_and_a_stream_is_not() {
    let (server, olga) = crate::owned_server_with(&["--request-seconds-max=1"]).await;
    let late = olga.get("/v1/users/me?min_position=1000000").await;
    late.problem(408, "request_timeout");
    let mut stream = reqwest::Client::new()
        .get(format!("{}/v1/stream/sse", server.url()))
        .bearer_auth(&olga.token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(stream.status(), 200);
    let begun = Instant::now();
    // Something that takes longer than a request may, while the stream is open.
    while begun.elapsed() < Duration::from_millis(1_500) {
        olga.get("/v1/users/me?min_position=1000000").await;
    }
    let group = olga.starts_group("Lunch", &[]).await;
    olga.says(&group, "Still there?").await;
    let mut heard = String::new();
    while !heard.contains("Still there?") {
        let piece = stream.chunk().await.expect("it goes on").expect("a piece");
        heard.push_str(&String::from_utf8_lossy(&piece));
    }
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let bound = "--connections-per-address-max=3";
    let server = ServerProcess::start_with(PROGRAM, &[bound]).await;
    let place = server.url().replace("http://", "");
    let mut open = Vec::new();
    for _ in 0..3 {
        let connection = tokio::net::TcpStream::connect(&place).await;
        open.push(connection.expect("a connection"));
    }
    let request = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&server.url(), request).await, "");
    drop(open);
    while statuses(&exchange(&server.url(), request).await) != [200] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn bodies_that_nest_and_tokens_in_addresses_are_refused() {
    let server = ServerProcess::start(PROGRAM).await;
    let alice = Person::register(&server.url(), "alice").await;
    for nested in ["[", "{\"login\":["] {
        let nested = nested.replace('[', &"[".repeat(200_000));
        let request = reqwest::Client::new()
            .post(format!("{}/v1/sessions", server.url()))
            .header("content-type", "application/json")
            .body(nested);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 422);
        let problem: serde_json::Value = answer.json().await.expect("a problem");
        assert_eq!(problem["code"], "invalid_body", "{problem}");
    }
    for parameter in ["token", "access_token"] {
        let path = format!("/v1/users/me?{parameter}={}", alice.token);
        alice.get(&path).await.problem(400, "token_in_url");
    }
    alice.get("/v1/conversations").await.ok();
}
