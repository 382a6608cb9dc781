//! Second factors with real peers: the codes of an authenticator app are `oathtool`'s, and the passkeys are
//! those of a headless Chromium.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Browser, Person, password, run_on_folder};
use tokio::process::Command;

use crate::site::Site;
use crate::{PROGRAM, owned_server, owned_server_with};

const FACTORS: &str = "/v1/users/me/factors";

/// Seconds for which a code is shown.
const STEP_S: u64 = 30;

/// How long another node may not know yet what was changed on one.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Makes a passkey, as a page of the product would.
const CREATE: &str = "
    const options = PublicKeyCredential.parseCreationOptionsFromJSON(given);
    return (await navigator.credentials.create({ publicKey: options })).toJSON();
";

/// Uses one.
const GET: &str = "
    const options = PublicKeyCredential.parseRequestOptionsFromJSON(given);
    return (await navigator.credentials.get({ publicKey: options })).toJSON();
";

fn proof(person: &Person) -> Value {
    json!({ "proof": { "password": password(&person.handle) } })
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// The step of now.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs() / STEP_S
}

/// The code of a step, by another implementation.
async fn code(secret: &str, step: u64) -> String {
    let at = format!("--now=@{}", step * STEP_S);
    let output = Command::new("oathtool")
        .args(["--totp", "--base32", &at, secret])
        .output()
        .await
        .expect("oathtool runs; `cargo xtask test` installs it");
    assert!(output.status.success(), "{output:?}");
    let code = String::from_utf8(output.stdout).expect("UTF-8");
    code.trim().to_owned()
}

/// An authenticator app of somebody.
struct App {
    secret: String,
    recovery_codes: Vec<String>,
    /// The last step whose code was sent.
    step: u64,
}

impl App {
    /// Gives `person` one.
    async fn of(person: &Person) -> Self {
        let begun = person.post(&format!("{FACTORS}/totp"), proof(person)).await;
        let secret = text(&begun.ok()["secret"]);
        // The one before now, so that two later ones are good at once.
        let step = now() - 1;
        let first = json!({ "code": code(&secret, step).await });
        let path = format!("{FACTORS}/totp/confirm");
        let confirmed = person.post(&path, first).await.ok();
        let codes = confirmed["recovery_codes"].as_array().expect("codes");
        Self {
            recovery_codes: codes.iter().map(text).collect(),
            secret,
            step,
        }
    }

    /// A code that was not sent before.
    async fn fresh_code(&mut self) -> String {
        self.step = now().max(self.step + 1);
        while now() + 1 < self.step {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        code(&self.secret, self.step).await
    }
}

/// Whoever knows the password of `person` asks for a session.
async fn log_in(person: &Person) -> Answer {
    let login = json!({ "login": person.handle, "password": password(&person.handle) });
    person.post("/v1/sessions", login).await
}

/// A login that waits for its second factor.
async fn ticket(person: &Person) -> String {
    let waiting = log_in(person).await.problem(401, "second_factor_required");
    text(&waiting["second_factor"]["ticket"])
}

async fn complete(person: &Person, ticket: &str, factor: Value) -> Answer {
    let body = json!({ "ticket": ticket, "factor": factor });
    person.post("/v1/sessions/second-factor", body).await
}

/// Checks that a login is one.
async fn lets_in(person: &Person, answer: Answer) {
    let mut person = person.clone();
    person.token = text(&answer.ok()["token"]);
    person.get("/v1/users/me").await.ok();
}

pub(crate) async fn the_codes_of_an_app_complete_a_login_and_each_is_good_once(site: &Site) {
    let anna = site.person("anna").await;
    let mut app = App::of(&anna).await;
    let factors = anna.get(FACTORS).await.ok();
    assert_eq!(
        (&factors["totp"], &factors["recovery_codes_left"]),
        (&json!(true), &json!(10))
    );
    let first = ticket(&anna).await;
    let sent = json!({ "totp": app.fresh_code().await });
    lets_in(&anna, complete(&anna, &first, sent.clone()).await).await;
    let second = ticket(&anna).await;
    complete(&anna, &second, sent)
        .await
        .problem(401, "wrong_factor");
    let fresh = json!({ "totp": app.fresh_code().await });
    complete(&anna, &first, fresh.clone())
        .await
        .problem(401, "ticket_used");
    lets_in(&anna, complete(&anna, &second, fresh).await).await;

    let guessed = ticket(&anna).await;
    for _ in 0..5 {
        let guess = json!({ "recovery_code": "aaaaa-aaaaa" });
        complete(&anna, &guessed, guess)
            .await
            .problem(401, "wrong_factor");
    }
    let right = json!({ "recovery_code": app.recovery_codes[0] });
    let sixth = complete(&anna, &guessed, right.clone()).await;
    sixth.problem(401, "too_many_tries");
    let other = ticket(&anna).await;
    lets_in(&anna, complete(&anna, &other, right.clone()).await).await;
    let again = ticket(&anna).await;
    complete(&anna, &again, right)
        .await
        .problem(401, "wrong_factor");

    let bob = site.person("bob").await;
    let of_bob = App::of(&bob).await;
    let stolen = json!({ "recovery_code": of_bob.recovery_codes[0] });
    complete(&bob, &again, stolen)
        .await
        .problem(401, "wrong_factor");
}

/// Adds a passkey of `browser` to the account of `person`, on the page where the browser is.
async fn add_passkey(person: &Person, browser: &Browser, name: &str) -> Value {
    try_add_passkey(person, browser, name).await.ok()
}

async fn try_add_passkey(person: &Person, browser: &Browser, name: &str) -> Answer {
    let path = format!("{FACTORS}/passkeys");
    let asked = person
        .post(&format!("{path}/challenge"), proof(person))
        .await
        .ok();
    let made = browser.call(CREATE, asked["options"].clone()).await;
    let credential = made.expect("a passkey");
    let challenge = &asked["challenge"];
    let body = json!({ "challenge": challenge, "credential": credential, "name": name });
    person.post(&path, body).await
}

pub(crate) async fn a_passkey_of_a_browser_is_a_second_factor_and_a_login_by_itself(site: &Site) {
    let anna = site.person("anna").await;
    let browser = Browser::start().await;
    browser.add_authenticator().await;
    let page = site.url().replace("127.0.0.1", "localhost");
    browser.visit(&format!("{page}/health/live")).await;
    let added = add_passkey(&anna, &browser, "Laptop").await;
    assert_eq!(added["recovery_codes"].as_array().expect("codes").len(), 10);

    let waiting = ticket(&anna).await;
    let ask = json!({ "ticket": waiting });
    let asked = anna.post("/v1/passkeys/challenge", ask).await.ok();
    let allowed = asked["options"]["allowCredentials"].as_array();
    assert_eq!(allowed.map(Vec::len), Some(1));
    let used = browser.call(GET, asked["options"].clone()).await;
    let credential = used.expect("an answer");
    let factor = json!({
        "passkey": { "challenge": asked["challenge"], "credential": credential },
    });
    lets_in(&anna, complete(&anna, &waiting, factor.clone()).await).await;
    let replayed = complete(&anna, &ticket(&anna).await, factor).await;
    replayed.problem(401, "wrong_factor");

    let asked = anna.post("/v1/passkeys/challenge", json!({})).await.ok();
    let used = browser.call(GET, asked["options"].clone()).await;
    let credential = used.expect("the passkey is found without a name");
    let login = json!({ "challenge": asked["challenge"], "credential": credential });
    let alone = anna.post("/v1/sessions/passkey", login.clone()).await;
    assert_eq!(alone.body["user"], anna.id.as_str());
    lets_in(&anna, alone).await;
    let replayed = anna.post("/v1/sessions/passkey", login).await;
    replayed.problem(401, "wrong_factor");

    let factors = anna.get(FACTORS).await.ok();
    let passkey = &factors["passkeys"][0];
    assert_eq!(passkey["name"], "Laptop");
    assert!(passkey["used_at"].is_string(), "{factors}");
    let path = format!("{FACTORS}/passkeys/{}", text(&passkey["id"]));
    let name = Some(json!({ "name": "Old laptop" }));
    anna.ask(Method::PATCH, &path, name, &[]).await.ok();
    let remove = format!("{path}/remove");
    anna.post(&remove, json!({}))
        .await
        .problem(403, "proof_required");
    anna.post(&remove, proof(&anna)).await.ok();
    lets_in(&anna, log_in(&anna).await).await;
}

#[tokio::test]
async fn a_passkey_is_not_used_on_a_page_of_another_domain() {
    let other_page = "--passkey-origins=http://localhost:1";
    let (server, olga) = owned_server_with(&["--passkey-domain=localhost", other_page]).await;
    let browser = Browser::start().await;
    browser.add_authenticator().await;
    // A page of the domain that is none of those: the browser signs, and the server refuses.
    let page = server.url().replace("127.0.0.1", "localhost");
    browser.visit(&format!("{page}/health/live")).await;
    let refused = try_add_passkey(&olga, &browser, "Laptop").await;
    refused.problem(403, "passkey_refused");
    // A page of another domain: the browser itself refuses.
    let elsewhere = server.url().replace("127.0.0.1", "elsewhere.localhost");
    browser.visit(&format!("{elsewhere}/health/live")).await;
    let asked = olga.post("/v1/passkeys/challenge", json!({})).await.ok();
    let used = browser.call(GET, asked["options"].clone()).await;
    let refused = used.expect_err("another domain");
    assert!(refused.contains("SecurityError"), "{refused}");
}

#[tokio::test]
async fn the_operator_lets_somebody_in_again_who_lost_everything() {
    let (mut server, olga) = owned_server().await;
    let bob = Person::register(&server.url(), "bob").await;
    App::of(&bob).await;
    App::of(&olga).await;
    let (url, token) = (server.url(), &olga.token);
    let of_bob = [
        "second-factors",
        "remove",
        "bob",
        "--server",
        &url,
        "--token",
        token,
    ];
    let folder = server.data_dir();
    run_on_folder(PROGRAM, &folder, &of_bob).await;
    let heard = async {
        while log_in(&bob).await.status != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let heard = tokio::time::timeout(HEARD_WITHIN, heard).await;
    heard.expect("it counts");

    server.stop().await;
    run_on_folder(PROGRAM, &folder, &["second-factors", "remove", "olga"]).await;
    server.start_again().await;
    lets_in(&olga, log_in(&olga).await).await;
    let path = "/v1/audit/events?type=second-factors-removed";
    let removed = olga.replays(path).await;
    let actors: Vec<_> = removed
        .iter()
        .map(|event| text(&event["data"]["by"]))
        .collect();
    assert_eq!(actors, [format!("user:{}", olga.id), "operator".to_owned()]);
}
