//! What people do about themselves and each other, who runs the server about them, and what programs
//! may do that come in with a token of their own.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Listener, Person};

use crate::site::Site;

/// How long a connection may live on after its user was shut out: a second, and what a busy machine
/// adds to it.
const SHUT_OUT_WITHIN: Duration = Duration::from_secs(10);

/// How long a change may take until every node goes by it: half a second, likewise.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Before the same is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

pub(crate) async fn people_say_who_they_are_and_are_found(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let profile = json!({
        "display_name": "Zoë Ångström", "status_text": "On the train",
        "time_zone": "Europe/Stockholm", "locale": "sv-SE", "pronouns": "she/her",
    });
    let changed = patch(&anna, "/v1/users/me", profile).await.ok();
    let position = &changed["position"];
    let path = format!("/v1/users/{}?min_position={position}", anna.id);
    let seen = bob.get(&path).await.ok();
    assert_eq!(seen["display_name"], "Zoë Ångström");
    assert_eq!(seen["status_text"], "On the train");
    assert_eq!(seen["time_zone"], "Europe/Stockholm");
    assert_eq!(
        (&seen["active"], &seen["bot"]),
        (&json!(true), &json!(false))
    );
    assert!(
        seen["locale"].is_null() && seen["email"].is_null(),
        "{seen}"
    );
    let me = anna.get("/v1/users/me").await.ok();
    assert_eq!(me["locale"], "sv-SE");

    let found = bob.get("/v1/users?query=angstrom%20ZO").await.ok();
    assert_eq!(ids(&found["users"]), [anna.id.as_str()]);
    let changed = put(
        &anna,
        "/v1/users/me/preferences",
        json!({"discoverable": false, "theme": "dark"}),
    )
    .await
    .ok();
    let position = &changed["position"];
    let path = format!("/v1/users?query=angstrom&min_position={position}");
    let found = bob.get(&path).await.ok();
    assert_eq!(found["users"], json!([]));
    let path = format!("/v1/users/me/preferences?min_position={position}");
    let kept = anna.get(&path).await.ok();
    assert_eq!(kept["preferences"]["theme"], "dark");

    let cleared = json!({"status_text": null});
    let changed = patch(&anna, "/v1/users/me", cleared).await.ok();
    let path = format!("/v1/users/{}?min_position={}", anna.id, changed["position"]);
    assert!(bob.get(&path).await.ok()["status_text"].is_null());
}

pub(crate) async fn who_is_blocked_leaves_the_other_alone(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let direct = json!({"kind": "direct", "with": anna.id});
    let started = bob.post("/v1/conversations", direct).await.ok();
    let conversation = started["id"].as_str().expect("an id");
    bob.says(conversation, "Hello?").await;
    let block = format!("/v1/users/me/blocks/{}", bob.id);
    let blocked = anna.ask(Method::PUT, &block, None, &[]).await.ok();

    let messages = format!("/v1/conversations/{conversation}/messages");
    for person in [&anna, &bob] {
        let refused =
            until_refused(async || person.post(&messages, json!({"body": "Hello!"})).await).await;
        refused.problem(403, "blocked");
    }
    let group = json!({"kind": "group", "title": "Us", "members": [anna.id]});
    let start = async || bob.post("/v1/conversations", group.clone()).await;
    until_refused(start).await.problem(403, "blocked");
    let path = format!("/v1/users/me/blocks?min_position={}", blocked["position"]);
    let list = anna.get(&path).await.ok();
    assert_eq!(list["blocks"][0]["user"], bob.id.as_str());
    let query = format!("/v1/users?query=anna&min_position={}", blocked["position"]);
    let found = bob.get(&query).await.ok();
    assert!(!ids(&found["users"]).contains(&anna.id.as_str()), "{found}");

    anna.ask(Method::DELETE, &block, None, &[]).await.ok();
    until_accepted(async || bob.post(&messages, json!({"body": "Friends?"})).await).await;
}

pub(crate) async fn who_is_suspended_is_out_everywhere_until_reinstated(site: &Site) {
    let (olga, bob) = (&site.owner, site.person("bob").await);
    let conversation = olga.starts_group("Team", &[&bob]).await;
    let (mut listener, _) = Listener::live(&bob).await;
    let login = Login::of(&bob);
    let path = format!("/v1/users/{}", bob.id);
    bob.post(&format!("/v1/users/{}/suspend", olga.id), json!({}))
        .await
        .problem(403, "forbidden");
    let suspended = olga
        .post(&format!("{path}/suspend"), json!({"why": "spam"}))
        .await
        .ok();
    let closed = async { while listener.try_next().await.is_some() {} };
    tokio::time::timeout(SHUT_OUT_WITHIN, closed)
        .await
        .expect("the connection is closed");
    let refused = until_refused(async || bob.get("/v1/users/me").await).await;
    refused.problem(403, "account_suspended");
    let messages = format!("/v1/conversations/{conversation}/messages");
    let refused = until_refused(async || bob.post(&messages, json!({"body": "hi"})).await).await;
    refused.problem(403, "account_suspended");
    let refused = login.tried(&bob, json!({})).await;
    refused.problem(403, "account_suspended");
    let position = &suspended["position"];
    let seen = olga
        .get(&format!("{path}?min_position={position}"))
        .await
        .ok();
    assert_eq!(seen["active"], false);

    olga.post(&format!("{path}/reinstate"), Value::Null)
        .await
        .ok();
    login.tried(&bob, json!({})).await.ok();
    until_accepted(async || bob.post(&messages, json!({"body": "hi"})).await).await;
}

pub(crate) async fn who_deactivates_comes_back_by_logging_in(site: &Site) {
    let mut bob = site.person("bob").await;
    let login = Login::of(&bob);
    let password = json!({ "password": login.password });
    let wrong = json!({"password": "a wrong password"});
    bob.post("/v1/users/me/deactivate", wrong)
        .await
        .problem(403, "wrong_password");
    bob.post("/v1/users/me/deactivate", password).await.ok();
    let refused = until_refused(async || bob.get("/v1/users/me").await).await;
    refused.problem(401, "session_ended");
    let refused = login.tried(&bob, json!({})).await;
    refused.problem(403, "account_deactivated");
    let back = login.tried(&bob, json!({"reactivate": true})).await.ok();
    back["token"]
        .as_str()
        .expect("a token")
        .clone_into(&mut bob.token);
    let path = format!("/v1/users/me?min_position={}", back["position"]);
    let me = until_accepted(async || bob.get(&path).await).await;
    assert_eq!(me["active"], true);
}

pub(crate) async fn services_do_what_their_scopes_say_and_nothing_else(site: &Site) {
    let olga = &site.owner;
    let conversation = olga.starts_group("Team", &[]).await;
    let (auditor, _) = service(olga, json!({"name": "Archive", "scopes": ["auditor"]})).await;
    let events = format!("/v1/audit/conversations/{conversation}/events");
    let (status, text) = auditor.try_text(&events).await.expect("an answer");
    assert!(status.is_success() && text.lines().count() == 1, "{text}");
    auditor
        .post("/v1/conversations", json!({"kind": "group", "title": "A"}))
        .await
        .problem(403, "service_not_allowed");
    auditor.get("/v1/status").await.problem(403, "forbidden");
    let record = olga.text("/v1/audit/events?type=log-replayed").await;
    let by = format!("\"actor\":\"service:{}\"", auditor.id);
    assert!(record.contains(&by), "each reading is on the record");

    let (analyst, _) = service(olga, json!({"name": "Board", "scopes": ["analyst"]})).await;
    analyst.get("/v1/status").await.ok();
    let (status, _) = analyst.try_text(&events).await.expect("an answer");
    assert_eq!(status, 404);

    let rotated = olga
        .post(&format!("/v1/services/{}/rotate", analyst.id), json!({}))
        .await
        .ok();
    let refused = until_refused(async || analyst.get("/v1/status").await).await;
    refused.problem(401, "token_invalid");
    let renewed = holder(&analyst, &rotated);
    renewed.get("/v1/status").await.ok();
    let path = format!("/v1/services/{}", analyst.id);
    let ended = olga.ask(Method::DELETE, &path, None, &[]).await.ok();
    until_refused(async || renewed.get("/v1/status").await)
        .await
        .problem(401, "token_invalid");
    let path = format!("/v1/services?min_position={}", ended["position"]);
    let list = olga.get(&path).await.ok();
    let listed = list["services"].as_array().expect("services");
    let is_it = |service: &&Value| service["id"] == analyst.id.as_str();
    let ended = listed.iter().find(is_it).expect("it is listed");
    assert!(ended["revoked_at"].is_string() && ended.get("token").is_none());
}

pub(crate) async fn a_bot_is_a_member_like_others(site: &Site) {
    let (olga, anna) = (&site.owner, site.person("anna").await);
    let made = json!({"name": "Reminders", "scopes": ["bot"], "handle": "reminders"});
    let (mut bot, answer) = service(olga, made).await;
    answer["user"]
        .as_str()
        .expect("a user")
        .clone_into(&mut bot.id);
    let conversation = anna.starts_group("Tea", &[&bot]).await;
    let (mut listener, ready) = Listener::live(&bot).await;
    assert_eq!(ready["user"], bot.id.as_str());
    anna.says(&conversation, "Remind me").await;
    listener.wait_for_event("message-sent").await;
    bot.says(&conversation, "I will").await;
    let heard = listener.wait_for_event("message-sent").await;
    assert_eq!(heard["actor"], format!("user:{}", bot.id));
    let path = format!("/v1/users/{}?min_position={}", bot.id, answer["position"]);
    let seen = anna.get(&path).await.ok();
    assert_eq!(
        (&seen["bot"], &seen["handle"]),
        (&json!(true), &json!("reminders"))
    );

    let path = format!("/v1/services/{}", answer["id"].as_str().expect("an id"));
    olga.ask(Method::DELETE, &path, None, &[]).await.ok();
    let closed = async { while listener.try_next().await.is_some() {} };
    tokio::time::timeout(SHUT_OUT_WITHIN, closed)
        .await
        .expect("the connection is closed");
}

pub(crate) async fn somebody_always_owns_the_server(site: &Site) {
    let (olga, bob) = (&site.owner, site.person("bob").await);
    let role = |person: &Person| format!("/v1/users/{}/system-roles/owner", person.id);
    let take = |path: String| async move { olga.ask(Method::DELETE, &path, None, &[]).await };
    take(role(olga)).await.problem(409, "last_owner");
    olga.ask(Method::PUT, &role(&bob), None, &[]).await.ok();
    olga.post(&format!("/v1/users/{}/suspend", bob.id), json!({}))
        .await
        .problem(409, "is_owner");
    take(role(&bob)).await.ok();
    take(role(olga)).await.problem(409, "last_owner");
}

pub(crate) async fn who_runs_the_server_runs_the_groups_they_are_in(site: &Site) {
    let [alice, bob] = [site.person("alice").await, site.person("bob").await];
    let admin = format!("/v1/users/{}/system-roles/admin", bob.id);
    let inside = alice.starts_group("Lunch", &[&bob, &site.owner]).await;
    let outside = alice.starts_group("Dinner", &[]).await;
    let rename = async |group: &str| {
        let path = format!("/v1/conversations/{group}");
        patch(&bob, &path, json!({ "title": "Tea" })).await
    };
    rename(&inside).await.problem(403, "role_too_low");
    site.owner.ask(Method::PUT, &admin, None, &[]).await.ok();
    let renamed = until_accepted(async || rename(&inside).await).await;
    for (who, group) in [(&bob, &outside), (&site.owner, &outside)] {
        let path = format!("/v1/conversations/{group}");
        who.get(&path).await.problem(404, "conversation_not_found");
        let join = json!({ "user": who.id });
        let joined = who.post(&format!("{path}/members"), join).await;
        joined.problem(404, "conversation_not_found");
    }
    rename(&outside)
        .await
        .problem(404, "conversation_not_found");

    // What is shown is the role that they were given there.
    let path = format!(
        "/v1/conversations/{inside}/members?min_position={}",
        renamed["position"]
    );
    let members = bob.get(&path).await.ok();
    let shown = members["members"].as_array().expect("members").iter();
    let shown: Vec<_> = shown.filter(|member| member["role"] == "member").collect();
    assert_eq!(shown.len(), 2, "{members}");

    let heir = format!("/v1/conversations/{inside}/members/{}", bob.id);
    let owner = json!({ "role": "owner" });
    patch(&bob, &heir, owner.clone())
        .await
        .problem(403, "role_too_low");
    site.owner.ask(Method::DELETE, &admin, None, &[]).await.ok();
    let refused = until_refused(async || rename(&inside).await).await;
    refused.problem(403, "role_too_low");
    patch(&site.owner, &heir, owner).await.ok();
    rename(&inside).await.ok();
}

/// Makes a service; gives it as somebody with its token, and the answer.
async fn service(owner: &Person, body: Value) -> (Person, Value) {
    let made = owner.post("/v1/services", body).await.ok();
    let mut service = holder(owner, &made);
    made["id"]
        .as_str()
        .expect("an id")
        .clone_into(&mut service.id);
    (service, made)
}

/// `person` with the token in an answer.
fn holder(person: &Person, answer: &Value) -> Person {
    let mut holder = person.clone();
    answer["token"]
        .as_str()
        .expect("a token")
        .clone_into(&mut holder.token);
    holder
}

async fn patch(person: &Person, path: &str, body: Value) -> Answer {
    person.ask(Method::PATCH, path, Some(body), &[]).await
}

async fn put(person: &Person, path: &str, body: Value) -> Answer {
    person.ask(Method::PUT, path, Some(body), &[]).await
}

fn ids(users: &Value) -> Vec<&str> {
    let users = users.as_array().into_iter().flatten();
    users.filter_map(|user| user["id"].as_str()).collect()
}

/// What somebody logs in with, asked for while they are let in.
struct Login {
    handle: String,
    password: String,
}

impl Login {
    fn of(person: &Person) -> Self {
        let handle = person.handle.clone();
        let password = format!("correct horse {handle}");
        Self { handle, password }
    }

    /// Tries to log in as `person`, with `more` in the body.
    async fn tried(&self, person: &Person, more: Value) -> Answer {
        let mut body = json!({"login": self.handle, "password": self.password});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        person.post("/v1/sessions", body).await
    }
}

/// Asks until the answer is a refusal: other nodes hear of it a little later.
async fn until_refused(ask: impl AsyncFn() -> Answer) -> Answer {
    until(ask, |answer| !answer.status.is_success()).await
}

/// Asks until the answer is a success, likewise.
async fn until_accepted(ask: impl AsyncFn() -> Answer) -> Value {
    let accepted = until(ask, |answer| answer.status.is_success()).await;
    accepted.ok()
}

async fn until(ask: impl AsyncFn() -> Answer, is_it: impl Fn(&Answer) -> bool) -> Answer {
    let answered = async {
        loop {
            let answer = ask().await;
            if is_it(&answer) {
                return answer;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(HEARD_WITHIN, answered)
        .await
        .expect("every node hears of it")
}
