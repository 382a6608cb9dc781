//! Codes in the mail: what they are good for, and that a mail comes once.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Inbox, MailServer, Person};

use crate::{owned_server, owned_server_with};

/// How long what is known to have happened may take to be on the record.
const RECORDED_WITHIN: Duration = Duration::from_mins(1);

pub(crate) const VERIFY: &str = "Verify your address for Verbatim";
pub(crate) const LOG_IN: &str = "Log in to Verbatim";
const RESET: &str = "Choose another password for Verbatim";

/// Asks for a code; gives the challenge that it has to be sent with.
pub(crate) async fn ask_for_code(person: &Person, purpose: &str, email: &str) -> String {
    let body = json!({ "purpose": purpose, "email": email });
    let asked = person.post("/v1/codes", body).await.ok();
    asked["challenge"].as_str().expect("a challenge").to_owned()
}

/// Enters the code that was mailed after the registration.
pub(crate) async fn verifies_address(person: &Person, inbox: &Inbox) {
    let address = format!("{}@example.org", person.handle);
    let code = inbox.wait_for(&address, VERIFY).await.code();
    let verify = json!({ "code": code });
    person.post("/v1/users/me/verify-email", verify).await.ok();
}

pub(crate) async fn log_in_by_code(
    person: &Person,
    email: &str,
    challenge: &str,
    code: &str,
) -> Answer {
    let body = json!({ "email": email, "challenge": challenge, "code": code });
    person.post("/v1/sessions/code", body).await
}

async fn reset_password(person: &Person, email: &str, challenge: &str, code: &str) -> Answer {
    let body = json!({
        "email": email, "challenge": challenge, "code": code, "password": "seven purple teapots",
    });
    person.post("/v1/passwords/reset", body).await
}

/// A code that is another.
fn other_than(code: &str) -> String {
    let other = if code == "00000000" {
        "00000001"
    } else {
        "00000000"
    };
    other.to_owned()
}

/// The events of a type in the log, as soon as there are `count` of them.
pub(crate) async fn recorded(auditor: &Person, event_type: &str, count: usize) -> Vec<Value> {
    let there = async {
        loop {
            let path = format!("/v1/audit/events?type={event_type}");
            let events = auditor.replays(&path).await;
            if events.len() >= count {
                return events;
            }
        }
    };
    let events = tokio::time::timeout(RECORDED_WITHIN, there).await;
    let events = events.expect("it is recorded");
    assert_eq!(events.len(), count, "{event_type}: {events:?}");
    events
}

#[tokio::test]
async fn codes_verify_the_address_log_in_and_replace_the_password() {
    let (mut server, olga) = owned_server().await;
    let inbox = Inbox::at(&server.data_dir().join("mail"));
    let bob = Person::register(&server.url(), "bob").await;
    let address = "bob@example.org";

    let code = inbox.wait_for(address, VERIFY).await.code();
    let verify = "/v1/users/me/verify-email";
    let wrong = bob.post(verify, json!({ "code": other_than(&code) })).await;
    wrong.problem(403, "wrong_code");
    let me = bob.get("/v1/users/me").await.ok();
    assert_eq!(me["email_verified"], false);
    let verified = bob.post(verify, json!({ "code": code })).await.ok();
    let path = format!("/v1/users/me?min_position={}", verified["position"]);
    assert_eq!(bob.get(&path).await.ok()["email_verified"], true);

    let challenge = ask_for_code(&bob, "log_in", address).await;
    let code = inbox.wait_for(address, LOG_IN).await.code();
    let opened = log_in_by_code(&bob, address, &challenge, &code).await.ok();
    assert_eq!(opened["user"], bob.id);
    let again = log_in_by_code(&bob, address, &challenge, &code).await;
    again.problem(401, "wrong_code");

    let challenge = ask_for_code(&bob, "reset_password", address).await;
    let code = inbox.wait_for(address, RESET).await.code();
    let reset = |password: &str| {
        let body = json!({
            "email": address, "challenge": challenge, "code": code, "password": password,
        });
        bob.post("/v1/passwords/reset", body)
    };
    reset("password123").await.problem(422, "weak_password");
    reset("seven purple teapots").await.ok();
    let login = |password: &str| {
        let body = json!({ "login": "bob", "password": password });
        bob.post("/v1/sessions", body)
    };
    login("correct horse bob").await.problem(401, "wrong_login");
    let session = login("seven purple teapots").await.ok();

    let mut bob = bob.clone();
    let token = session["token"].as_str().expect("a token");
    token.clone_into(&mut bob.token);
    let body = json!({ "current_password": "seven purple teapots", "password": "ten red cups" });
    let changed = bob.ask(Method::PUT, "/v1/users/me/password", Some(body), &[]);
    changed.await.ok();

    // Of olga's and of bob's three; a restart sends none of them again.
    let sent = recorded(&olga, "mail-sent", 4).await;
    server.stop().await;
    server.start_again().await;
    let carol = Person::register(&server.url(), "carol").await;
    inbox.wait_for("carol@example.org", VERIFY).await;
    let after = recorded(&olga, "mail-sent", 5).await;
    assert_eq!(after[..4], sent);
    assert_eq!(inbox.mails(address).len(), 3);
    let others = ask_for_code(&carol, "log_in", "nobody@example.org");
    others.await;
}

#[tokio::test]
async fn five_wrong_tries_are_all_there_are_and_use_up_no_code_of_others() {
    let (mut server, olga) = owned_server().await;
    let inbox = Inbox::at(&server.data_dir().join("mail"));
    let bob = Person::register(&server.url(), "bob").await;
    let address = "bob@example.org";
    verifies_address(&bob, &inbox).await;
    let challenge = ask_for_code(&bob, "log_in", address).await;
    let code = inbox.wait_for(address, LOG_IN).await.code();
    let strangers = ask_for_code(&olga, "log_in", address).await;
    for _ in 0..5 {
        // Not even the code that somebody else asked for.
        let wrong = log_in_by_code(&olga, address, &strangers, &code).await;
        wrong.problem(401, "wrong_code");
    }
    log_in_by_code(&bob, address, &challenge, &code).await.ok();

    let challenge = ask_for_code(&bob, "reset_password", address).await;
    let code = inbox.wait_for(address, RESET).await.code();
    for attempt in 0..5 {
        if attempt == 3 {
            server.kill().await;
            server.start_again().await;
        }
        let wrong = reset_password(&bob, address, &challenge, &other_than(&code)).await;
        wrong.problem(401, "wrong_code");
    }
    let too_late = reset_password(&bob, address, &challenge, &code).await;
    too_late.problem(401, "wrong_code");
}

#[tokio::test]
async fn a_mail_comes_once_whoever_is_killed_while_it_is_sent() {
    let mut mail_server = MailServer::start().await;
    let inbox = mail_server.inbox();
    let (url, from) = (mail_server.url(), "noreply@tea.example");
    let arguments = ["--smtp-url", &url, "--mail-from", from];
    let (mut server, olga) = owned_server_with(&arguments).await;
    let letter = inbox.wait_for("olga@example.org", VERIFY).await;
    assert_eq!(letter.header("From"), "Verbatim <noreply@tea.example>");
    recorded(&olga, "mail-sent", 1).await;

    let address = "bob@example.org";
    mail_server.hold_senders();
    let bob = Person::register(&server.url(), "bob").await;
    mail_server.holds_a_sender().await;
    server.kill().await;
    mail_server.release_senders();
    server.start_again().await;
    verifies_address(&bob, &inbox).await;

    mail_server.hold_senders();
    let challenge = ask_for_code(&bob, "log_in", address).await;
    mail_server.holds_a_sender().await;
    mail_server.kill().await;
    mail_server.release_senders();
    mail_server.start_again().await;
    let code = inbox.wait_for(address, LOG_IN).await.code();
    log_in_by_code(&bob, address, &challenge, &code).await.ok();

    // Whoever comes next finds everything settled, also what no mail server will ever take.
    recorded(&olga, "mail-sent", 3).await;
    server.stop().await;
    server.start_again().await;
    Person::register(&server.url(), "unwanted").await;
    let given_up = recorded(&olga, "mail-given-up", 1).await;
    assert_eq!(given_up[0]["data"]["why"], "rejected");
    ask_for_code(&bob, "reset_password", address).await;
    inbox.wait_for(address, RESET).await;
    let sent = recorded(&olga, "mail-sent", 4).await;

    let mails = inbox.mails(address);
    let ids: BTreeSet<String> = mails
        .iter()
        .map(|mail| mail.header("Message-ID").to_owned())
        .collect();
    assert_eq!((mails.len(), ids.len()), (3, 3));
    for event in &sent[1..] {
        let id = event["data"]["message_id"].as_str().expect("an id");
        assert!(ids.contains(&format!("<{id}>")), "{id} in {ids:?}");
    }
}
