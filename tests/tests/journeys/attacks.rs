//! What attackers try on tokens, codes and sockets. With the rest of "What is answered to attacks" in
//! docs/security.md it is all that issue 4 names: forged requests and replayed refresh tokens are in
//! `sessions`, requests whose end is a matter of opinion, bodies and slow clients in `edges`, guessed
//! passwords in `edges::limits`.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use infra::keys::Secret;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Inbox, Listener, Person, ServerProcess, password};

use crate::mail::{LOG_IN, ask_for_code, log_in_by_code, verifies_address};
use crate::{PROGRAM, owned_server};

/// How long a key signs, in seconds.
const KEY_PERIOD_S: i64 = 30 * 24 * 60 * 60;

/// What a form of a page says that it sends.
const FORM_TYPES: [&str; 3] = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
];

/// Somebody who takes tokens apart and puts them together again, with all keys that there are.
struct Forger {
    header: Value,
    claims: Value,
    signature: Vec<u8>,
    /// The server's own.
    key: Ed25519KeyPair,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The JSON object with some fields set; those that are null are taken away.
fn with(object: &Value, fields: Value) -> Value {
    let mut object = object.as_object().expect("an object").clone();
    let Value::Object(fields) = fields else {
        panic!("{fields} is no object");
    };
    object.extend(fields);
    object.retain(|_, value| !value.is_null());
    Value::Object(object)
}

impl Forger {
    /// Knows `token`, and the secret of the `server` that made it.
    fn new(server: &ServerProcess, token: &str) -> Self {
        let parts: Vec<Vec<u8>> = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"))
            .collect();
        let [header, claims, signature] = parts.as_slice() else {
            panic!("three parts: {token}");
        };
        let json = |part| serde_json::from_slice::<Value>(part).expect("JSON");
        let claims = json(claims);
        let period = claims["iat"].as_i64().expect("a time") / KEY_PERIOD_S;
        let secret = Secret::read(&server.data_dir().join("keys/secret")).expect("a secret");
        let seed = secret.derive(&format!("token-signing 0 {period}"));
        Self {
            header: json(header),
            claims,
            signature: signature.clone(),
            key: Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key"),
        }
    }

    /// A token that says this, with a signature that `sign` makes.
    fn forged(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// One that is signed with the server's own key.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        Self::forged(header, claims, |it| self.key.sign(it).as_ref().to_vec())
    }

    /// The claims of the token, with some of them otherwise.
    fn saying(&self, claims: Value) -> String {
        self.signed(&self.header, &with(&self.claims, claims))
    }

    /// The claims of the token under another header, with the server's own signature.
    fn under(&self, header: Value) -> String {
        self.signed(&with(&self.header, header), &self.claims)
    }

    /// Tokens that are not signed with our key, whatever they say of themselves.
    fn not_ours(&self) -> Vec<String> {
        let mut tokens = Vec::new();
        for algorithm in ["none", "None", "NONE", ""] {
            let header = with(&self.header, json!({ "alg": algorithm }));
            tokens.push(Self::forged(&header, &self.claims, |_| vec![]));
            tokens.push(Self::forged(&header, &self.claims, |_| {
                self.signature.clone()
            }));
        }
        // Our public key is known to everybody: as a shared secret it is none.
        let public = self.key.public_key().as_ref();
        for secret in [public, URL_SAFE_NO_PAD.encode(public).as_bytes()] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let header = with(&self.header, json!({ "alg": "HS256" }));
            tokens.push(Self::forged(&header, &self.claims, |it| {
                hmac::sign(&secret, it).as_ref().to_vec()
            }));
        }
        // A key of one's own, also where the token brings it along.
        let own = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        let own_public = URL_SAFE_NO_PAD.encode(own.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": own_public, "kid": "own" });
        for header in [
            json!({}),
            json!({ "jwk": jwk }),
            json!({ "jwk": jwk, "kid": "own" }),
            json!({ "jku": "https://evil.example/jwks.json", "kid": "own" }),
        ] {
            let header = with(&self.header, header);
            tokens.push(Self::forged(&header, &self.claims, |it| {
                own.sign(it).as_ref().to_vec()
            }));
        }
        // What was changed after it was signed, and what was cut.
        let sub = json!({ "sub": "0190d0f0-0000-7000-8000-000000000000" });
        for claims in [sub, json!({ "exp": i64::MAX })] {
            let claims = with(&self.claims, claims);
            tokens.push(Self::forged(&self.header, &claims, |_| {
                self.signature.clone()
            }));
        }
        let mut signature = self.signature.clone();
        signature[0] ^= 1;
        for signature in [signature, self.signature[..63].to_vec()] {
            tokens.push(Self::forged(&self.header, &self.claims, |_| signature));
        }
        tokens
    }

    /// Tokens that our key signed, but that say what is not so.
    fn not_for_us(&self) -> Vec<String> {
        let (issued, expires) = (&self.claims["iat"], &self.claims["exp"]);
        vec![
            self.saying(json!({ "aud": "another" })),
            self.saying(json!({ "aud": ["another"] })),
            self.saying(json!({ "aud": null })),
            self.saying(json!({ "iss": "another" })),
            self.saying(json!({ "iss": "https://evil.example" })),
            self.saying(json!({ "iss": null })),
            self.saying(json!({ "nbf": expires })),
            self.saying(json!({ "nbf": null })),
            self.saying(json!({ "exp": null })),
            self.saying(json!({ "exp": "never", "iat": issued })),
            self.under(json!({ "kid": "unknown" })),
            self.under(json!({ "kid": "../../keys/secret" })),
            self.under(json!({ "kid": null })),
            self.under(json!({ "typ": "JWT" })),
            self.under(json!({ "typ": null })),
            self.under(json!({ "alg": "ES256" })),
        ]
    }
}

/// What each door says to `token`: the code of the problem, or `let in`.
async fn answers(person: &Person, token: &str) -> [String; 4] {
    let mut person = person.clone();
    token.clone_into(&mut person.token);
    let code = |body: &Value| body["code"].as_str().unwrap_or("let in").to_owned();
    let read = person.get("/v1/users/me").await;
    let group = json!({ "kind": "group", "title": "Theirs", "members": [] });
    let command = person.post("/v1/conversations", group).await;
    let cookie = format!("verbatim_token={token}");
    let by_cookie = reqwest::Client::new()
        .get(format!("{}/v1/sessions", person.server()))
        .header("cookie", cookie);
    let by_cookie = by_cookie.send().await.expect("an answer").json().await;
    let mut listener = Listener::connect(person.server()).await;
    let identify = json!({ "op": "identify", "token": token });
    listener.send(identify).await;
    let frame = listener.next().await;
    [
        code(&read.body),
        code(&command.body),
        code(&by_cookie.expect("JSON")),
        code(&frame["problem"]),
    ]
}

#[tokio::test]
async fn no_door_takes_a_token_that_somebody_else_made() {
    let server = ServerProcess::start(PROGRAM).await;
    let alice = Person::register(&server.url(), "alice").await;
    let group = json!({ "kind": "group", "title": "Ours", "members": [] });
    let started = alice.post("/v1/conversations", group).await.ok();
    let path = format!("/v1/users/me?min_position={}", started["position"]);
    alice.get(&path).await.ok();
    let forger = Forger::new(&server, &alice.token);
    // With the server's secret it can be done; so what follows fails for what it says.
    let same = forger.saying(json!({}));
    assert_eq!(answers(&alice, &same).await, ["let in"; 4]);
    for token in forger.not_ours() {
        assert_eq!(
            answers(&alice, &token).await,
            ["token_invalid"; 4],
            "{token}"
        );
    }
    for token in forger.not_for_us() {
        assert_eq!(
            answers(&alice, &token).await,
            ["token_invalid"; 4],
            "{token}"
        );
    }
    let over = forger.saying(json!({ "exp": forger.claims["iat"] }));
    assert_eq!(answers(&alice, &over).await, ["token_expired"; 4]);
    // Tokens of other kinds are no access tokens, and those are none of theirs.
    let refresh = &alice.refresh_token;
    assert_eq!(answers(&alice, refresh).await, ["token_invalid"; 4]);
    let exchange = json!({ "refresh_token": alice.token });
    let exchanged = alice.post("/v1/sessions/refresh", exchange).await;
    exchanged.problem(401, "refresh_invalid");
    alice.get("/v1/users/me").await.ok();
}

#[tokio::test]
async fn guesses_at_the_same_time_are_no_more_tries_than_one_after_the_other() {
    let (server, olga) = owned_server().await;
    let inbox = Inbox::at(&server.data_dir().join("mail"));
    let address = "bob@example.org";
    let bob = Person::register(&server.url(), "bob").await;
    verifies_address(&bob, &inbox).await;
    let challenge = ask_for_code(&bob, "log_in", address).await;
    let code = inbox.wait_for(address, LOG_IN).await.code();
    let right: u32 = code.parse().expect("digits");
    let guesses: Vec<String> = (1..=40)
        .map(|guess| format!("{:08}", (right + guess) % 100_000_000))
        .collect();
    let guesses = guesses.iter();
    let guesses = guesses.map(|guess| log_in_by_code(&bob, address, &challenge, guess));
    for answer in join_all(guesses).await {
        answer.problem(401, "wrong_code");
    }
    let too_late = log_in_by_code(&bob, address, &challenge, &code).await;
    too_late.problem(401, "wrong_code");
    let refused = olga.replays("/v1/audit/events?type=code-refused").await;
    assert_eq!(refused.len(), 5, "{refused:?}");
}

#[tokio::test]
async fn a_page_of_another_site_posts_nothing_and_opens_no_socket_with_the_cookies() {
    let server = ServerProcess::start(PROGRAM).await;
    let alice = Person::register(&server.url(), "alice").await;
    // What a form can send; it is good JSON, and would log the browser in as somebody else.
    let login = json!({ "login": "alice", "password": password("alice"), "cookies": true });
    for content_type in FORM_TYPES {
        let form = reqwest::Client::new()
            .post(format!("{}/v1/sessions", server.url()))
            .header("content-type", content_type)
            .header("origin", "https://evil.example")
            .body(login.to_string());
        let refused = form.send().await.expect("an answer");
        assert_eq!(refused.status(), 415, "{content_type}");
        assert!(
            !refused.headers().contains_key("set-cookie"),
            "{content_type}"
        );
    }
    let cookie = format!("verbatim_token={}", alice.token);
    for origin in ["https://evil.example", "null"] {
        let mut socket = Listener::connect_from_page_of(&server.url(), origin, &cookie).await;
        socket.send(json!({ "op": "identify" })).await;
        let refused = socket.next().await;
        let code = &refused["problem"]["code"];
        assert_eq!(code, "origin_not_allowed", "{origin}: {refused}");
    }
    let mut own = Listener::connect_from_page(&server.url(), &cookie).await;
    own.send(json!({ "op": "identify" })).await;
    own.wait_for("ready").await;
}

#[tokio::test]
async fn frames_that_nest_are_refused_and_streams_take_no_token_from_their_address() {
    let server = ServerProcess::start(PROGRAM).await;
    let alice = Person::register(&server.url(), "alice").await;
    let (mut listener, _) = Listener::live(&alice).await;
    let nested = (0..2_000).fold(json!(1), |inner, _| json!([inner]));
    let frame = json!({ "op": "send_message", "id": "deep", "body": &nested });
    listener.send(frame).await;
    let refused = listener.next().await;
    assert_eq!(refused["op"], "error", "{refused}");
    assert_eq!(refused["problem"]["code"], "malformed_body", "{refused}");
    // Likewise over HTTP, where there is no type that it is not of.
    let preferences = json!({ "theme": nested });
    let path = "/v1/users/me/preferences";
    let refused = alice.ask(Method::PUT, path, Some(preferences), &[]).await;
    refused.problem(400, "malformed_body");
    for path in ["/v1/stream", "/v1/stream/sse", "/v1/conversations"] {
        for parameter in ["token", "access_token"] {
            let path = format!("{path}?{parameter}={}", alice.token);
            alice.get(&path).await.problem(400, "token_in_url");
        }
    }
    alice.get("/v1/conversations").await.ok();
}
