//! Logging in with a password.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::Factor;
use domain::user::{Command, Sessions};
use domain::{Actor, CommandId, StreamName, UserId};
use infra::clock::fresh_id;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::even::Begun;
use crate::execute::Envelope;
use crate::identity::open_session::{HandOver, LoggedIn, WayIn, check_device, open_session};
use crate::passwords::Verified;
use crate::problems::OpenProblems;

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSession {
    /// Handle or verified e-mail address.
    login: String,
    /// The password.
    password: String,
    /// What the client calls its device: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
    /// Whether to open the account again, where its user has deactivated it.
    #[serde(default)]
    reactivate: bool,
    /// Whether the tokens come in cookies instead of in the answer: for browsers.
    #[serde(default)]
    cookies: bool,
}

fn wrong_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong_login",
        "Login or password is wrong",
    )
}

/// Somebody whose password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Who.
    pub user: UserId,
    /// Of the account with that password: where another password ends all sessions, it ends those too
    /// that are being opened with the old one.
    pub login_epoch: u32,
}

impl CommandApi {
    /// Whose `login`, a handle or an e-mail address, and `password` are; `None` where they are wrong.
    /// Opens no session. A hash at another cost than is set now is renewed. `from` is where the one is
    /// who says so.
    ///
    /// # Errors
    /// 429 `rate_limited` after too many wrong ones, whether there is an account or not.
    pub async fn check_login(
        &self,
        login: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<Option<KnownUser>, Problem> {
        try_password(self, login, password, from).await
    }

    /// Hashes the password that `hash` is of anew, at the cost that is set now.
    async fn renew_hash(
        &self,
        user: UserId,
        hash: String,
        password: String,
    ) -> Result<(), Problem> {
        let to = self.passwords().hash(password).await?;
        let command = Command::ReplacePassword {
            user,
            from: hash,
            to,
            sessions: Sessions::GoOn,
        };
        let envelope = Envelope::new(Actor::System, CommandId(fresh_id()), &"renew_hash")?;
        let stream = StreamName::user(user);
        self.users().execute(&stream, envelope, command).await?;
        Ok(())
    }
}

/// Checks a password, unless too many were wrong.
async fn try_password(
    api: &CommandApi,
    login: &str,
    password: String,
    from: Option<IpAddr>,
) -> Result<Option<KnownUser>, Problem> {
    let attempt = api.login_gate().enter(login, from)?;
    let checked = check_password(api, login, password).await;
    match &checked {
        Ok(Some(_)) => attempt.succeeded(),
        Ok(None) => drop(attempt),
        Err(_) => attempt.not_checked(),
    }
    checked
}

async fn check_password(
    api: &CommandApi,
    login: &str,
    password: String,
) -> Result<Option<KnownUser>, Problem> {
    let begun = Begun::now();
    // Without an account the password is checked all the same, so that time tells nothing. But a hash
    // at another cost takes another time: so what is wrong is answered at an even time, too.
    let (known, hash) = match api.find_user(login).await? {
        Some((user, account)) => {
            let login_epoch = account.login_epoch;
            (Some(KnownUser { user, login_epoch }), account.password_hash)
        }
        None => (None, None),
    };
    let verified = api.passwords().verify(hash.clone(), password.clone());
    match (verified.await?, known, hash) {
        (Verified::Yes, Some(known), _) => Ok(Some(known)),
        (Verified::WithOtherCost, Some(known), Some(hash)) => {
            if let Err(problem) = api.renew_hash(known.user, hash, password).await {
                tracing::warn!(user = %known.user, %problem, "the hash of a password was not renewed");
            }
            Ok(Some(known))
        }
        (Verified::No | Verified::Yes | Verified::WithOtherCost, ..) => {
            begun.step().await;
            Ok(None)
        }
    }
}

/// Opens a session for whoever knows the password.
async fn login(
    api: &CommandApi,
    request: OpenSession,
    key: &Key,
    address: Option<IpAddr>,
) -> Result<LoggedIn, Problem> {
    if let Some(device) = &request.device {
        check_device(device)?;
    }
    let known = try_password(api, &request.login, request.password, address).await?;
    let KnownUser { user, login_epoch } = known.ok_or_else(wrong_login)?;
    let command = key.command(|key| CommandId::of(user, key));
    let body = ("login", &request.login, &request.device);
    let way_in = WayIn {
        user,
        login_epoch,
        command,
        envelope: Envelope::new(Actor::User(user), command, &body)?,
        device: request.device,
        address,
        amr: [Factor::Password].into(),
        reactivate: request.reactivate,
        vouched_by: None,
    };
    open_session(api, way_in).await
}

/// Log in
///
/// The access token is good for minutes; exchange the refresh token for another before that, at
/// `POST /v1/sessions/refresh`. With `cookies` both come in cookies that scripts cannot read; then every
/// request that changes something carries the value of the cookie `verbatim_csrf` in the header
/// `x-csrf-token`.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    tag = "sessions",
    request_body = OpenSession,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_login`; `second_factor_required` with a ticket, where the password is right; \
            `session_ended` for a retry of a login that was revoked since"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`account_suspended`, `account_deactivated`: only where the password is right"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    ClientAddress(address): ClientAddress,
    Body(request): Body<OpenSession>,
) -> Result<Response, Problem> {
    let hand_over = HandOver::asked(request.cookies);
    let logged_in = login(&api, request, &key, address).await?;
    logged_in.answer(&api, StatusCode::CREATED, hand_over)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::PasswordCost;
    use crate::even::STEP;
    use crate::testing::{Asked, Mailed, PASSWORD, World, other_code, problem};
    use chrono::TimeDelta;
    use domain::user::codes::CodePurpose;
    use infra::limits::Limit;
    use serde_json::json;

    #[tokio::test]
    async fn handle_and_address_let_in_with_the_password_alone() {
        let world = World::with(&["alice"]).await;
        let login = |login: &str, password: &str| {
            let body = json!({"login": login, "password": password, "device": "A phone"});
            world.anonymous("/v1/sessions").body(body)
        };
        let unproven = login("alice@example.org", PASSWORD).problem().await;
        assert_eq!(unproven, problem(401, "wrong_login", ""));
        world.verify("alice").await;
        for name in ["alice", "Alice", "alice@example.org", "ALICE@Example.org"] {
            let (status, answer) = login(name, PASSWORD).send().await;
            assert_eq!(status, 201, "{answer}");
            assert_eq!(answer["token_type"], "Bearer");
            let position = answer["position"].as_u64().unwrap();
            let log_ends_at = *infra::event_store::EventStore::head(&*world.store).borrow();
            assert_eq!(position, log_ends_at.0);
        }
        for (name, password) in [
            ("alice", "not the password"),
            ("bob", PASSWORD),
            ("bob@example.org", PASSWORD),
            ("no handle at all!", PASSWORD),
            ("alice", &"x".repeat(1_000)),
        ] {
            let refused = login(name, password).problem().await;
            assert_eq!(refused, problem(401, "wrong_login", ""));
        }
    }

    #[tokio::test]
    async fn guessing_is_slowed_whether_there_is_an_account_or_not() {
        let world = World::with_logins(Limit::at(2, 3_600, 2));
        world.register("alice").send().await;
        for name in ["alice", "nobody"] {
            let login = |password: &str| {
                let body = json!({"login": name, "password": password});
                world.anonymous("/v1/sessions").body(body)
            };
            for _ in 0..2 {
                let refused = login("not the password").problem().await;
                assert_eq!(refused, problem(401, "wrong_login", ""));
            }
            for password in [PASSWORD, "not the password"] {
                let (status, answer) = login(password).send().await;
                assert_eq!((status, &answer["code"]), (429, &json!("rate_limited")));
                let wait = answer["retry_after_s"].as_u64();
                assert!(wait > Some(1_700) && wait <= Some(1_800), "{answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_retry_gets_the_same_session_until_it_is_revoked() {
        let mut world = World::with(&["bob"]).await;
        world.join("alice").await;
        let login = || {
            let body = json!({"login": "alice", "password": PASSWORD});
            world.anonymous("/v1/sessions").key("phone").body(body)
        };
        let (_, first) = login().send().await;
        world.later(TimeDelta::minutes(5));
        let (status, again) = login().send().await;
        assert_eq!(status, 201);
        assert_eq!(again["session"], first["session"]);
        assert_eq!(again["session_expires_at"], first["session_expires_at"]);
        assert_eq!(again["refresh_token"], first["refresh_token"]);
        let refresh = first["refresh_token"].as_str().unwrap();
        let (_, refreshed) = world.refresh(refresh).send().await;
        let (_, again) = login().send().await;
        assert_eq!(
            again["refresh_token"], refreshed["refresh_token"],
            "the first would be a reuse"
        );
        let path = format!("/v1/sessions/{}", first["session"].as_str().unwrap());
        let not_mine = world.delete("bob", &path).problem().await;
        assert_eq!(not_mine, problem(404, "session_not_found", ""));
        assert_eq!(world.delete("alice", &path).send().await.0, 200);
        assert_eq!(login().problem().await, problem(401, "session_ended", ""));
    }

    #[tokio::test]
    async fn a_session_ends_by_itself_and_by_logging_out_at_once() {
        let world = World::with(&["alice", "bob"]).await;
        let profile = |who| {
            let request = world.patch(who, "/v1/users/me");
            request.body(json!({"display_name": "Somebody"}))
        };
        assert_eq!(profile("alice").send().await.0, 200);
        assert_eq!(
            world.delete("alice", "/v1/sessions/current").send().await.0,
            200
        );
        assert_eq!(
            profile("alice").problem().await,
            problem(401, "session_ended", "")
        );
        assert_eq!(profile("bob").send().await.0, 200);
        world.later(TimeDelta::minutes(15));
        assert_eq!(
            profile("bob").problem().await,
            problem(401, "token_expired", "")
        );
    }

    #[tokio::test]
    async fn a_hash_at_another_cost_is_renewed_at_the_next_login_and_no_session_ends() {
        let world = World::with(&["alice"]).await;
        let before = world.account("alice").await.password_hash.unwrap();
        let cost = PasswordCost {
            memory_kib: 64,
            passes: 1,
        };
        let world = world.restarted_at(cost).await;
        let login = |password: &str| {
            let body = json!({"login": "alice", "password": password});
            world.anonymous("/v1/sessions").body(body)
        };
        assert_eq!(login("not the password").send().await.0, 401);
        assert_eq!(world.count("alice", "password-set").await, 1);
        for _ in 0..2 {
            assert_eq!(login(PASSWORD).send().await.0, 201);
        }
        assert_eq!(world.count("alice", "password-set").await, 2, "once");
        let after = world.account("alice").await.password_hash.unwrap();
        assert!(before.contains("m=19456,t=2"), "{before}");
        assert!(after.contains("m=64,t=1"), "{after}");
        let profile = world.patch("alice", "/v1/users/me");
        let changed = profile.body(json!({"display_name": "Ally"})).send().await;
        assert_eq!(changed.0, 200, "the old session goes on");
    }

    type Question = for<'a> fn(&'a World, &str, &Mailed) -> Asked<'a>;

    fn password_of<'a>(world: &'a World, name: &str, _: &Mailed) -> Asked<'a> {
        let body = json!({"login": name, "password": "not the password"});
        world.anonymous("/v1/sessions").body(body)
    }

    fn code_of<'a>(world: &'a World, name: &str, mailed: &Mailed) -> Asked<'a> {
        let body = json!({
            "email": format!("{name}@example.org"),
            "challenge": mailed.challenge,
            "code": other_code(&mailed.code),
        });
        world.anonymous("/v1/sessions/code").body(body)
    }

    fn reset_of<'a>(world: &'a World, name: &str, mailed: &Mailed) -> Asked<'a> {
        let body = json!({
            "email": format!("{name}@example.org"),
            "challenge": mailed.challenge,
            "code": other_code(&mailed.code),
            "password": "seven purple teapots",
        });
        world.anonymous("/v1/passwords/reset").body(body)
    }

    fn ask_for<'a>(world: &'a World, name: &str, _: &Mailed) -> Asked<'a> {
        world.ask_code("log_in", &format!("{name}@example.org"))
    }

    /// What a stranger may compare: the times of the same question about somebody and about nobody.
    /// `--nocapture` shows them. The quickest answers are compared, as those that a busy machine has
    /// changed least.
    #[tokio::test]
    async fn the_time_of_an_answer_does_not_say_who_is_there() {
        const ROUNDS: usize = 10;
        const NOISE: Duration = Duration::from_millis(20);
        let world = World::with(&["alice"]).await;
        let to_log_in = world.mailed_code("alice", CodePurpose::LogIn).await;
        let to_reset = world.mailed_code("alice", CodePurpose::ResetPassword).await;
        // What is asked, what is answered, and not before when.
        let questions: [(&str, u16, Duration, Question, &Mailed); 4] = [
            ("password", 401, STEP, password_of, &to_log_in),
            ("code", 401, STEP, code_of, &to_log_in),
            // Who it is and what comes of the code are looked up one after the other.
            ("reset", 401, 2 * STEP, reset_of, &to_reset),
            // This one is answered before it is looked who is there.
            (
                "asking for a code",
                202,
                Duration::ZERO,
                ask_for,
                &to_log_in,
            ),
        ];
        for (what, expected, earliest, question, mailed) in questions {
            let mut quickest = Vec::new();
            for name in ["alice", "nobody"] {
                let mut times = Vec::new();
                for _ in 0..ROUNDS {
                    let question = question(&world, name, mailed);
                    let begun = Instant::now();
                    assert_eq!(question.send().await.0, expected, "{what} of {name}");
                    times.push(begun.elapsed());
                }
                times.sort_unstable();
                println!("{what} of {name}: {times:?}");
                assert!(times[0] >= earliest, "{what} of {name}");
                quickest.push(times[0]);
            }
            let apart = quickest[0].abs_diff(quickest[1]);
            assert!(apart < NOISE, "{what}: {quickest:?}");
        }
    }

    #[tokio::test]
    async fn the_public_keys_are_served() {
        let (status, keys) = World::new().get("/.well-known/jwks.json").send().await;
        assert_eq!(status, 200);
        assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
        for key in keys["keys"].as_array().unwrap() {
            assert_eq!(key["crv"], "Ed25519");
            assert!(key["kid"].is_string());
            assert_eq!(key.get("d"), None, "the private half stays here");
        }
    }

    #[tokio::test]
    async fn tokens_in_cookies_are_not_in_the_answer() {
        let world = World::with(&["alice"]).await;
        let body = json!({"login": "alice", "password": PASSWORD, "cookies": true});
        let login = world.anonymous("/v1/sessions").body(body);
        let (status, headers, answer) = login.send_for_headers().await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(
            (answer.get("token"), answer.get("refresh_token")),
            (None, None)
        );
        assert_eq!(headers["cache-control"], "no-store");
        let set: Vec<&str> = headers
            .get_all("set-cookie")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(set.len(), 3, "{set:?}");
        for cookie in &set {
            assert!(
                cookie.contains("SameSite=Strict") && cookie.contains("Secure"),
                "{cookie}"
            );
            let is_for_scripts = cookie.starts_with("verbatim_csrf=");
            assert_eq!(!cookie.contains("HttpOnly"), is_for_scripts, "{cookie}");
        }

        let value = |at: usize| set[at].split(';').next().unwrap();
        let (token, refresh, csrf) = (value(0), value(1), value(2));
        let said = csrf.split_once('=').unwrap().1;
        let rename = || {
            let request = world.ask(None, axum::http::Method::PATCH, "/v1/users/me");
            request
                .header("cookie", token)
                .body(json!({"display_name": "Ally"}))
        };
        assert_eq!(
            rename().problem().await,
            problem(403, "csrf_token_wrong", "")
        );
        let (status, _) = rename().header("x-csrf-token", said).send().await;
        assert_eq!(status, 200);

        let exchange = || {
            world
                .anonymous("/v1/sessions/refresh")
                .header("cookie", refresh)
        };
        let forged = exchange().problem().await;
        assert_eq!(forged, problem(403, "csrf_token_wrong", ""));
        let exchanged = exchange()
            .header("x-csrf-token", said)
            .send_for_headers()
            .await;
        assert_eq!((exchanged.0, exchanged.2.get("token")), (200, None));
        assert_eq!(exchanged.1.get_all("set-cookie").iter().count(), 3);

        let path = "/v1/sessions/current";
        let log_out = world.ask(None, axum::http::Method::DELETE, path);
        let log_out = log_out.header("cookie", token).header("x-csrf-token", said);
        let (status, headers, _) = log_out.send_for_headers().await;
        assert_eq!(status, 200);
        for cookie in headers.get_all("set-cookie") {
            assert!(cookie.to_str().unwrap().contains("=; "), "{cookie:?}");
            assert!(cookie.to_str().unwrap().contains("Max-Age=0"), "{cookie:?}");
        }
        assert_eq!(headers.get_all("set-cookie").iter().count(), 3);
    }
}
