//! What browsers are told on every answer, and which pages may use the API.

use reqwest::{Client, Method, Response};
use serde_json::json;
use tests::{Person, ServerProcess};

use super::text;
use crate::PROGRAM;

const APP: &str = "https://app.example.org";

async fn ask(
    server: &ServerProcess,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let url = format!("{}{path}", server.url());
    let mut request = Client::new().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer")
}

/// Checks what is on every answer of the API.
#[track_caller]
fn is_guarded(answer: &Response, status: u16) {
    assert_eq!(answer.status(), status, "{}", answer.url());
    let headers = answer.headers();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
        ("strict-transport-security", ""),
    ] {
        assert_eq!(
            text(headers, name),
            value,
            "{status} {}: {name}",
            answer.url()
        );
    }
    if answer.url().path().starts_with("/v1/") {
        assert_eq!(
            text(headers, "cache-control"),
            "no-store",
            "{}",
            answer.url()
        );
    }
    assert!(!text(headers, "traceparent").is_empty(), "{}", answer.url());
}

#[tokio::test]
async fn every_kind_of_answer_is_guarded() {
    let limits = [
        "--limit-registration-address=1/1h",
        "--request-seconds-max=2",
    ];
    let server = ServerProcess::start_with(PROGRAM, &limits).await;
    let alice = Person::register(&server.url(), "alice").await;
    let bearer = format!("Bearer {}", alice.token);
    let logged_in = [("authorization", bearer.as_str())];
    let get = |path: &'static str| ask(&server, Method::GET, path, &logged_in);
    is_guarded(&get("/v1/conversations").await, 200);
    is_guarded(&get("/health/live").await, 200);
    is_guarded(&get("/openapi.json").await, 200);
    is_guarded(&get("/v1/nothing").await, 404);
    is_guarded(&get("/nothing").await, 404);
    is_guarded(&ask(&server, Method::PUT, "/v1/users", &[]).await, 405);
    is_guarded(&ask(&server, Method::GET, "/v1/users/me", &[]).await, 401);
    // Longer than the answer may take; the read model never comes so far.
    is_guarded(&get("/v1/conversations?min_position=1000000").await, 408);
    let post = |body: String| {
        let request = Client::new().post(format!("{}/v1/users", server.url()));
        request
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    is_guarded(&post("{}".to_owned()).await.expect("an answer"), 429);
    let message = format!("{}/v1/conversations", server.url());
    let large = Client::new()
        .post(message)
        .bearer_auth(&alice.token)
        .json(&json!({ "title": "x".repeat(300_000) }));
    is_guarded(&large.send().await.expect("an answer"), 413);
}

#[tokio::test]
async fn an_answer_that_is_our_fault_is_guarded() {
    let server = ServerProcess::start(PROGRAM).await;
    let alice = Person::register(&server.url(), "alice").await;
    let bearer = format!("Bearer {}", alice.token);
    let path = "/v1/conversations?min_position=1000000";
    let headers = [("authorization", bearer.as_str())];
    is_guarded(&ask(&server, Method::GET, path, &headers).await, 503);
}

#[tokio::test]
async fn the_page_about_the_api_has_what_it_needs_and_no_more() {
    let server = ServerProcess::start(PROGRAM).await;
    let page = ask(&server, Method::GET, "/docs/", &[]).await;
    assert_eq!(page.status(), 200);
    let policy = text(page.headers(), "content-security-policy").to_owned();
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert!(policy.contains("connect-src 'self'"), "{policy}");
    let page = page.text().await.expect("a page");
    // What the policy would keep from running is not there: a script has an address, and it is ours.
    let scripts = page.matches("<script").count();
    assert!(
        scripts > 0 && page.matches("<script src=\"./").count() == scripts,
        "{page}"
    );
    assert!(!page.contains("<style") && !page.contains("http://") && !page.contains("https://"));
    let script = ask(&server, Method::GET, "/docs/swagger-initializer.js", &[]).await;
    assert_eq!(script.status(), 200);
    assert!(text(script.headers(), "content-type").contains("javascript"));
    assert_eq!(text(script.headers(), "x-content-type-options"), "nosniff");
}

/// What a browser asks before it lets a page of `origin` send a message.
async fn preflight(server: &ServerProcess, origin: &str) -> Response {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,idempotency-key",
        ),
    ];
    ask(server, Method::OPTIONS, "/v1/conversations", &headers).await
}

#[tokio::test]
async fn pages_of_named_origins_may_use_the_api() {
    let origins = format!("--cors-origins={APP},capacitor://localhost");
    let limit = "--limit-reads-address=1/1h";
    let server = ServerProcess::start_with(PROGRAM, &[&origins, limit]).await;
    let answer = preflight(&server, APP).await;
    let headers = answer.headers();
    assert_eq!(answer.status(), 200);
    assert_eq!(text(headers, "access-control-allow-origin"), APP);
    assert_eq!(text(headers, "access-control-allow-credentials"), "");
    assert!(text(headers, "access-control-allow-methods").contains("POST"));
    let allowed = text(headers, "access-control-allow-headers");
    assert!(
        allowed.contains("idempotency-key") && allowed.contains("authorization"),
        "{allowed}"
    );
    let other = preflight(&server, "https://evil.example.org").await;
    assert_eq!(text(other.headers(), "access-control-allow-origin"), "");

    // A page can read what it is refused with, too.
    for status in [401, 429] {
        let answer = ask(&server, Method::GET, "/v1/users/me", &[("origin", APP)]).await;
        assert_eq!(answer.status(), status);
        let headers = answer.headers();
        assert_eq!(text(headers, "access-control-allow-origin"), APP);
        let exposed = text(headers, "access-control-expose-headers");
        for name in [
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "traceparent",
        ] {
            assert!(exposed.split(',').any(|header| header == name), "{exposed}");
        }
        assert!(text(headers, "vary").contains("origin"), "{headers:?}");
    }
}

#[tokio::test]
async fn pages_of_all_origins_come_without_credentials_and_unnamed_ones_not_at_all() {
    let server = ServerProcess::start_with(PROGRAM, &["--cors-origins=*"]).await;
    let answer = preflight(&server, APP).await;
    assert_eq!(text(answer.headers(), "access-control-allow-origin"), "*");
    assert_eq!(
        text(answer.headers(), "access-control-allow-credentials"),
        ""
    );
    let server = ServerProcess::start(PROGRAM).await;
    let answer = preflight(&server, APP).await;
    assert_eq!(text(answer.headers(), "access-control-allow-origin"), "");
}
