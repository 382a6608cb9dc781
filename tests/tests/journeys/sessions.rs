//! Logins: they go on with new tokens, are listed, and end where their user says so, on every node.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person, password};

use crate::site::Site;

/// How long after its login ended a stream may still be open.
const CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// Where streams are to be had: each gateway by itself, where there are several.
fn gateways(site: &Site) -> Vec<String> {
    match &site.cluster {
        None => vec![site.url().to_owned()],
        Some(cluster) => {
            let gateways = cluster.nodes.iter().filter(|node| node.role == "gateway");
            gateways.map(tests::ClusterNode::url).collect()
        }
    }
}

/// A stream of `person` on each gateway.
async fn streams(site: &Site, person: &Person) -> Vec<Listener> {
    let mut streams = Vec::new();
    for gateway in gateways(site) {
        streams.push(Listener::live(&person.at(&gateway)).await.0);
    }
    streams
}

/// Checks that all of these are closed in time.
async fn close(streams: Vec<Listener>) {
    let closed = async {
        for mut stream in streams {
            assert_eq!(stream.closed_with().await, 4401);
        }
    };
    let closed = tokio::time::timeout(CLOSES_WITHIN, closed).await;
    closed.expect("a stream ends with its login");
}

/// Checks that all of these are open.
async fn are_open(streams: &mut [Listener]) {
    for stream in streams {
        stream.send(json!({ "op": "heartbeat" })).await;
        stream.wait_for("heartbeat_ack").await;
    }
}

/// The sessions of `person`, as a list that has everything until now.
async fn listed(person: &Person) -> Vec<Value> {
    let group = json!({ "kind": "group", "title": "Now", "members": [] });
    let started = person.post("/v1/conversations", group).await.ok();
    let path = format!("/v1/sessions?min_position={}", started["position"]);
    let list = person.get(&path).await.ok();
    list["sessions"].as_array().expect("sessions").clone()
}

pub(crate) async fn a_login_goes_on_until_somebody_uses_an_old_token(site: &Site) {
    let mut bob = site.person("bob").await;
    let stolen = bob.clone();
    bob.refresh().await;
    assert_eq!(bob.session, stolen.session);
    let retried = stolen.exchange().await.ok();
    assert_eq!(retried["refresh_token"], bob.refresh_token.as_str());
    bob.refresh().await;
    bob.get("/v1/conversations").await.ok();
    let streams = streams(site, &bob).await;
    stolen.exchange().await.problem(401, "refresh_reused");
    close(streams).await;
    bob.exchange().await.problem(401, "session_ended");
    bob.log_in(&stolen.handle).await;
    bob.get("/v1/conversations").await.ok();
}

pub(crate) async fn sessions_are_listed_with_their_devices_and_ended_one_by_one(site: &Site) {
    let phone = site.person("bob").await;
    let laptop = phone.on_another_device("A laptop").await;
    let sessions = listed(&laptop).await;
    let ids: Vec<&Value> = sessions.iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, [laptop.session.as_str(), phone.session.as_str()]);
    assert_eq!(sessions[0]["device"], "A laptop");
    assert_eq!(sessions[0]["address"], "127.0.0.1");
    assert_eq!(
        (&sessions[0]["current"], &sessions[1]["current"]),
        (&json!(true), &json!(false))
    );

    let mut on_the_phone = streams(site, &phone).await;
    let on_the_laptop = streams(site, &laptop).await;
    let path = format!("/v1/sessions/{}", laptop.session);
    phone.ask(Method::DELETE, &path, None, &[]).await.ok();
    close(on_the_laptop).await;
    are_open(&mut on_the_phone).await;
    let sessions = listed(&phone).await;
    let ids: Vec<&Value> = sessions.iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, [phone.session.as_str()]);
    laptop.exchange().await.problem(401, "session_ended");

    let eve = site.person("eve").await;
    let path = format!("/v1/sessions/{}", phone.session);
    let foreign = eve.ask(Method::DELETE, &path, None, &[]).await;
    foreign.problem(404, "session_not_found");
}

pub(crate) async fn logging_out_everywhere_else_leaves_one_session(site: &Site) {
    let phone = site.person("bob").await;
    let laptop = phone.on_another_device("A laptop").await;
    let tablet = phone.on_another_device("A tablet").await;
    let mut kept = streams(site, &phone).await;
    let mut ended = streams(site, &laptop).await;
    ended.extend(streams(site, &tablet).await);
    let path = "/v1/sessions";
    phone.ask(Method::DELETE, path, None, &[]).await.ok();
    close(ended).await;
    are_open(&mut kept).await;
    for other in [&laptop, &tablet] {
        other.exchange().await.problem(401, "session_ended");
    }
    assert_eq!(listed(&phone).await.len(), 1);

    let again = laptop.on_another_device("A laptop").await;
    let on_the_laptop = streams(site, &again).await;
    assert_eq!(listed(&again).await.len(), 2);
    let path = "/v1/sessions?current=too";
    again.ask(Method::DELETE, path, None, &[]).await.ok();
    kept.extend(on_the_laptop);
    close(kept).await;
}

pub(crate) async fn a_stream_goes_on_with_a_newer_token(site: &Site) {
    let mut bob = site.person("bob").await;
    let other = bob.on_another_device("A laptop").await;
    let mut streams = streams(site, &bob).await;
    bob.refresh().await;
    for stream in &mut streams {
        stream
            .send(json!({ "op": "renew", "token": bob.token }))
            .await;
        let renewed = stream.wait_for("renewed").await;
        assert!(renewed["expires_at"].is_string(), "{renewed}");
        stream
            .send(json!({ "op": "renew", "token": other.token }))
            .await;
        let error = stream.next().await;
        assert_eq!(error["problem"]["code"], "token_of_another", "{error}");
    }
    are_open(&mut streams).await;
}

/// What a browser keeps of the cookies that an answer sets, as `name=value`.
fn cookies(response: &reqwest::Response) -> Vec<String> {
    let set = response.headers().get_all("set-cookie").iter();
    let set = set.map(|cookie| cookie.to_str().expect("text"));
    set.map(|cookie| cookie.split(';').next().expect("a cookie").to_owned())
        .collect()
}

pub(crate) async fn a_browser_has_its_tokens_in_cookies(site: &Site) {
    let bob = site.person("bob").await;
    let http = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", site.url());
    let login = json!({ "login": bob.handle, "password": password(&bob.handle), "cookies": true });
    let login = http.post(at("/v1/sessions")).json(&login).send();
    let login = login.await.expect("an answer");
    let jar = cookies(&login);
    let body: Value = login.json().await.expect("JSON");
    assert_eq!((body.get("token"), body.get("refresh_token")), (None, None));
    let [token, refresh, csrf] = jar.as_slice() else {
        panic!("three cookies: {jar:?}");
    };
    let said = csrf.strip_prefix("verbatim_csrf=").expect("the third");

    let me = http.get(at("/v1/users/me")).header("cookie", token).send();
    assert_eq!(me.await.expect("an answer").status(), 200);
    let rename = || {
        let body = json!({ "display_name": "Robert" });
        let request = http.patch(at("/v1/users/me")).json(&body);
        request.header("cookie", token)
    };
    let forged = rename().send().await.expect("an answer");
    assert_eq!(forged.status(), 403);
    let problem: Value = forged.json().await.expect("JSON");
    assert_eq!(problem["code"], "csrf_token_wrong");
    let meant = rename().header("x-csrf-token", said).send();
    assert_eq!(meant.await.expect("an answer").status(), 200);

    let mut stream = Listener::connect_from_page(site.url(), token).await;
    stream.send(json!({ "op": "identify" })).await;
    assert_eq!(stream.wait_for("ready").await["user"], bob.id.as_str());

    let exchange = http.post(at("/v1/sessions/refresh"));
    let exchange = exchange.header("cookie", refresh);
    let exchanged = exchange.header("x-csrf-token", said).send();
    let exchanged = exchanged.await.expect("an answer");
    assert_eq!(exchanged.status(), 200);
    let newer = cookies(&exchanged);
    assert_ne!(&newer[1], refresh);
    assert_eq!(&newer[2], csrf, "it is of the session");

    let path = "/v1/sessions/current";
    let out = http.delete(at(path)).header("cookie", &newer[0]);
    let out = out.header("x-csrf-token", said).send();
    let out = out.await.expect("an answer");
    assert_eq!(out.status(), 200);
    for cookie in cookies(&out) {
        assert!(cookie.ends_with('='), "{cookie}");
    }
    close(vec![stream]).await;
}
