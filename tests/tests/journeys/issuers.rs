//! People come in on the word of other services: an `OpenID` provider and a GitHub as processes of their
//! own, which sign with another implementation and check what they are sent.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, IssuerProcess, Listener, Person, ServerProcess};

use crate::PROGRAM;

const CALLBACK: &str = "http://127.0.0.1:3000/callback";

/// 32 bytes, as an issuer shows them.
const WEBHOOK_SECRET: &str = "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";

/// A server whom an issuer's word is good for, under three names.
struct Site {
    issuer: IssuerProcess,
    server: ServerProcess,
    /// Somebody who is nobody yet.
    client: Person,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let issuer = IssuerProcess::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("verbatim.toml");
        std::fs::write(&config, configuration(&issuer.url())).expect("it can be written");
        let config = config.to_str().expect("UTF-8").to_owned();
        let server = ServerProcess::start_with(PROGRAM, &["--config", &config]).await;
        Self {
            client: Person::with_token(&server.url(), "", ""),
            issuer,
            server,
            _folder: folder,
        }
    }

    async fn begin(&self, name: &str) -> Value {
        let path = format!("/v1/logins/{name}");
        self.client.post(&path, json!({})).await.ok()
    }

    /// Logs `user` in by the issuer `name`.
    async fn try_log_in(&self, name: &str, user: &str, extra: &str) -> Answer {
        let begun = self.begin(name).await;
        let brought = self.issuer.browse(&begun, user, extra).await;
        self.finish(name, &brought).await
    }

    async fn finish(&self, name: &str, brought: &Value) -> Answer {
        let path = format!("/v1/logins/{name}/callback");
        self.client.post(&path, brought.clone()).await
    }

    async fn log_in(&self, name: &str, user: &str) -> Person {
        self.person(&self.try_log_in(name, user, "").await.ok())
    }

    fn person(&self, session: &Value) -> Person {
        let text = |name: &str| session[name].as_str().expect("text").to_owned();
        Person::with_token(&self.server.url(), &text("user"), &text("token"))
    }

    /// Somebody with an access token of the issuer.
    async fn with_access_token(&self, claims: Value, how: &str) -> Person {
        let token = self.issuer.signs(claims, how).await;
        Person::with_token(&self.server.url(), "", &token)
    }

    /// The profile of somebody, once the read model has it.
    async fn profile(&self, person: &Person, position: &Value) -> Value {
        let path = format!("/v1/users/me?min_position={position}");
        person.get(&path).await.ok()
    }

    /// Sends a webhook of the issuer, signed now by the tests.
    async fn tell(&self, id: &str, event: Value) -> Answer {
        let signed = self.issuer.webhook(WEBHOOK_SECRET, id, &event).await;
        let headers: Vec<(&str, &str)> = signed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let path = "/v1/issuers/hosted/webhook";
        self.client
            .ask(Method::POST, path, Some(event), &headers)
            .await
    }
}

fn configuration(url: &str) -> String {
    let client = format!(
        "client_id = \"{}\"\nclient_secret = \"{}\"\nredirect_uris = [\"{CALLBACK}\"]",
        IssuerProcess::CLIENT,
        IssuerProcess::SECRET
    );
    format!(
        "[[issuer]]\nname = \"provider\"\nkind = \"oidc\"\nissuer = \"{url}\"\n{client}\n\
         [[issuer]]\nname = \"octo\"\nkind = \"github\"\nissuer = \"{url}\"\n{client}\n\
         [[issuer]]\nname = \"hosted\"\nkind = \"oidc\"\nissuer = \"{url}\"\n\
         accept_access_tokens = true\naudience = \"api\"\n\
         webhook_secrets = [\"{WEBHOOK_SECRET}\"]\n"
    )
}

#[tokio::test]
async fn somebody_comes_in_by_an_openid_provider() {
    let site = Site::start().await;
    let begun = site.begin("provider").await;
    let brought = site.issuer.browse(&begun, "alice", "").await;
    let session = site.finish("provider", &brought).await.ok();
    let alice = site.person(&session);
    let me = site.profile(&alice, &session["position"]).await;
    assert_eq!(me["handle"], "alice");
    assert_eq!(me["display_name"], "Alice Liddell");
    assert_eq!(me["email"], "alice@id.example");
    let conversation = alice.starts_group("Tea", &[]).await;
    alice.says(&conversation, "hello").await;

    let again = site.finish("provider", &brought).await.ok();
    assert_eq!(again["session"], session["session"], "a retry");
    let other = site.log_in("provider", "alice").await;
    assert_eq!(other.id, alice.id, "another login");
    // An issuer that tells no more than whom it means in the id token.
    let told = site.try_log_in("provider", "bob", "&told=userinfo").await;
    let told = told.ok();
    let bob = site.person(&told);
    let me = site.profile(&bob, &told["position"]).await;
    assert_eq!(me["email"], "bob@id.example");
}

#[tokio::test]
async fn an_id_token_that_does_not_hold_lets_nobody_in() {
    let site = Site::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a time").as_secs();
    for lies in [
        json!({ "how": "none" }),
        json!({ "how": "public_key_as_secret" }),
        json!({ "how": "other_key" }),
        json!({ "how": "tampered" }),
        json!({ "nonce": "another" }),
        json!({ "aud": "another" }),
        json!({ "aud": ["verbatim", "another"] }),
        json!({ "azp": "another" }),
        json!({ "iss": "https://another.example" }),
        json!({ "exp": now - 61 }),
        json!({ "nbf": now + 3600 }),
    ] {
        site.issuer.control(json!({ "lies": lies })).await;
        let refused = site.try_log_in("provider", "alice", "").await;
        assert_eq!(refused.status, 401, "{lies}: {}", refused.body);
        refused.problem(401, "login_refused");
    }
    site.issuer.control(json!({})).await;
    site.log_in("provider", "alice").await;
}

#[tokio::test]
async fn a_new_key_is_looked_for_and_an_issuer_is_not_flooded() {
    let site = Site::start().await;
    let alice = site.log_in("provider", "alice").await;
    site.issuer.control(json!({ "rotate": "ES256" })).await;
    assert_eq!(site.log_in("provider", "alice").await.id, alice.id);
    assert_eq!(site.issuer.requests("/keys").await, 2);
    // Whoever makes up keys does not make the server ask for each.
    for _ in 0..5 {
        site.issuer
            .control(json!({ "lies": { "how": "unknown_key" } }))
            .await;
        let refused = site.try_log_in("provider", "alice", "").await;
        refused.problem(401, "login_refused");
    }
    assert_eq!(site.issuer.requests("/keys").await, 2);
    // The other names have keys of their own to look for.
    site.issuer
        .control(json!({ "rotate": "EdDSA", "keep": true }))
        .await;
    let claims = json!({ "sub": "sub-carol", "sid": "s-1" });
    let carol = site.with_access_token(claims, "").await;
    carol.starts_group("Tea", &[]).await;
}

#[tokio::test]
async fn an_issuer_that_is_away_or_slow_holds_nobody_up() {
    let mut site = Site::start().await;
    let bob = Person::register(&site.server.url(), "bob").await;
    let begun = site.begin("provider").await;
    let brought = site.issuer.browse(&begun, "alice", "").await;
    site.issuer.kill().await;
    let away = site.finish("provider", &brought).await;
    let away = away.problem(503, "issuer_unavailable");
    assert!(away["retry_after_s"].is_u64(), "{away}");
    bob.starts_group("Tea", &[]).await;

    site.issuer.start_again().await;
    site.issuer.control(json!({ "slow_s": 60 })).await;
    let begun = std::time::Instant::now();
    let slow = site.finish("provider", &brought).await;
    slow.problem(503, "issuer_unavailable");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    site.issuer.control(json!({ "slow_s": 0 })).await;
    // The code went with the process that gave it.
    let gone = site.finish("provider", &brought).await;
    gone.problem(401, "login_refused");
    site.log_in("provider", "alice").await;
}

#[tokio::test]
async fn github_lets_in_and_can_be_linked() {
    let site = Site::start().await;
    let octo = site.log_in("octo", "alice").await;
    let own = octo.get("/v1/users/me/identities").await.ok();
    let expected = json!({ "issuer": "octo", "subject": "7", "email": "alice@id.example" });
    assert_eq!(own["identities"], json!([expected]));
    // The provider knows the same address, which alone leads nowhere.
    assert_ne!(site.log_in("provider", "alice").await.id, octo.id);

    let bob = Person::register(&site.server.url(), "robert").await;
    let path = "/v1/users/me/identities/octo";
    let begun = bob.post(path, json!({})).await.ok();
    let brought = site.issuer.browse(&begun, "bob", "").await;
    let finish = format!("{path}/callback");
    octo.post(&finish, brought.clone())
        .await
        .problem(422, "invalid_body");
    bob.post(&finish, brought).await.ok();
    let through = site.log_in("octo", "bob").await;
    assert_eq!(through.id, bob.id);
    // To the address that the issuer verified codes are mailed, which is another way in.
    octo.ask(Method::DELETE, path, None, &[]).await.ok();
    bob.ask(Method::DELETE, path, None, &[]).await.ok();
    let own = through.get("/v1/users/me/identities").await;
    own.problem(401, "session_ended");
}

#[tokio::test]
async fn access_tokens_of_an_issuer_open_every_door() {
    let site = Site::start().await;
    let claims = json!({
        "sub": "sub-carol", "sid": "s-1", "preferred_username": "carol", "name": "Carol",
    });
    let carol = site.with_access_token(claims.clone(), "").await;
    let conversation = carol.starts_group("Tea", &[]).await;
    let (mut listener, ready) = Listener::live(&carol).await;
    carol.says(&conversation, "hello").await;
    listener.wait_for_event("message-sent").await;
    // The next token of the same login.
    let next = site.with_access_token(claims.clone(), "").await;
    let me = next.get("/v1/users/me").await.ok();
    assert_eq!(
        (&me["id"], &me["handle"]),
        (&ready["user"], &json!("carol"))
    );

    for how in ["none", "public_key_as_secret", "other_key", "tampered"] {
        let forged = site.with_access_token(claims.clone(), how).await;
        let refused = forged.get("/v1/users/me").await;
        refused.problem(401, "token_invalid");
    }
    for (name, value, code) in [
        ("aud", json!("verbatim"), "token_invalid"),
        ("exp", json!(1), "token_expired"),
        ("sub", json!(""), "token_invalid"),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let refused = site.with_access_token(claims, "").await;
        refused.get("/v1/users/me").await.problem(401, code);
    }

    carol
        .ask(Method::DELETE, "/v1/sessions/current", None, &[])
        .await
        .ok();
    assert_eq!(listener.try_next().await, None, "its connections end");
    next.get("/v1/users/me").await.problem(401, "session_ended");
    let mut claims = claims;
    claims["sid"] = "s-2".into();
    let back = site.with_access_token(claims, "").await;
    back.says(&conversation, "hello again").await;
}

#[tokio::test]
async fn an_issuer_tells_who_comes_changes_and_goes() {
    let site = Site::start().await;
    let record = |updated_at: &str, name: &str| {
        json!({
            "id": "sub-carol", "username": "carol", "name": name, "updated_at": updated_at,
            "email": "carol@id.example", "email_verified": true,
        })
    };
    let told = |kind: &str, data: Value| json!({ "type": kind, "data": data });
    let created = told("user.created", record("2026-01-01T10:00:00Z", "Carol"));
    let answer = site.tell("w-1", created.clone()).await.ok();
    assert_eq!(answer["effect"], "stored");
    let claims = json!({ "sub": "sub-carol", "sid": "s-1" });
    let carol = site.with_access_token(claims, "").await;
    let conversation = carol.starts_group("Tea", &[]).await;

    let newer = told("user.updated", record("2026-01-03T10:00:00Z", "Caroline"));
    assert_eq!(site.tell("w-3", newer).await.ok()["effect"], "stored");
    let older = told("user.updated", record("2026-01-02T10:00:00Z", "Caro"));
    assert_eq!(site.tell("w-2", older).await.ok()["effect"], "none");
    site.tell("w-1", created.clone()).await.ok();
    let sent = carol.says(&conversation, "hello").await;
    assert!(sent > 0);
    let path = format!("/v1/conversations/{conversation}/messages");
    let position = carol.post(&path, json!({ "body": "and so on" })).await.ok();
    let me = site.profile(&carol, &position["position"]).await;
    assert_eq!(me["display_name"], "Caroline");
    assert_eq!(me["email"], "carol@id.example");

    let forged = site
        .client
        .post("/v1/issuers/hosted/webhook", created)
        .await;
    forged.problem(401, "webhook_refused");

    let (mut listener, _) = Listener::live(&carol).await;
    let gone = json!({ "id": "sub-carol", "deleted_at": "2026-01-04T10:00:00Z" });
    let gone = site.tell("w-4", told("user.deleted", gone)).await.ok();
    assert_eq!(gone["effect"], "stored");
    assert_eq!(listener.try_next().await, None, "its connections end");
    let refused = carol.get("/v1/users/me").await;
    refused.problem(403, "identity_closed");
}
