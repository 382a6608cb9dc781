//! Logging in with a password.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{Actor, CommandId, UserId};
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::execute::Envelope;
use crate::identity::open_session::{LoggedIn, WayIn, check_device, open_session};
use crate::passwords::PASSWORD_BYTES_MAX;
use crate::problems::OpenProblems;

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSession {
    /// Handle or e-mail address.
    login: String,
    /// The password.
    password: String,
    /// What the client calls its device: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
}

fn wrong_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong_login",
        "Login or password is wrong",
    )
}

impl CommandApi {
    /// Whose `login`, a handle or an e-mail address, and `password` are; `None` where they are wrong.
    /// Opens no session. `from` is where the one is who says so.
    ///
    /// # Errors
    /// 429 `rate_limited` after too many wrong ones, whether there is an account or not.
    pub async fn check_login(
        &self,
        login: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<Option<UserId>, Problem> {
        let attempt = self.login_gate().enter(login, from)?;
        let checked = self.check_password(login, password).await;
        match &checked {
            Ok(Some(_)) => attempt.succeeded(),
            Ok(None) => drop(attempt),
            Err(_) => attempt.not_checked(),
        }
        checked
    }

    async fn check_password(
        &self,
        login: &str,
        password: String,
    ) -> Result<Option<UserId>, Problem> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(None);
        }
        // Without an account the password is checked all the same, so that time tells nothing.
        let found = self.find_user(login).await?;
        let (user, hash) = match found {
            Some((user, account)) => (Some(user), account.password_hash),
            None => (None, None),
        };
        let verified = self.passwords().verify(hash, password).await?;
        Ok(user.filter(|_| verified))
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
    let user = api
        .check_login(&request.login, request.password, address)
        .await?
        .ok_or_else(wrong_login)?;
    let command = key.command(|key| CommandId::of(user, key));
    let body = ("login", &request.login, &request.device);
    let way_in = WayIn {
        user,
        command,
        envelope: Envelope::new(Actor::User(user), command, &body)?,
        device: request.device,
        address,
    };
    open_session(api, way_in).await
}

/// Log in
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
         description = "`wrong_login`; `session_ended` for a retry of a login that was revoked since"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    ClientAddress(address): ClientAddress,
    Body(request): Body<OpenSession>,
) -> Result<(StatusCode, Json<LoggedIn>), Problem> {
    let logged_in = login(&api, request, &key, address).await?;
    Ok((StatusCode::CREATED, Json(logged_in)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{PASSWORD, World, problem};
    use chrono::TimeDelta;
    use infra::limits::Limit;
    use serde_json::json;

    #[tokio::test]
    async fn handle_and_address_let_in_with_the_password_alone() {
        let world = World::new();
        world.register("alice").send().await;
        let login = |login: &str, password: &str| {
            let body = json!({"login": login, "password": password, "device": "A phone"});
            world.anonymous("/v1/sessions").body(body)
        };
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
        assert_eq!(again["expires_at"], first["expires_at"]);
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
        world.later(TimeDelta::hours(24));
        assert_eq!(
            profile("bob").problem().await,
            problem(401, "token_expired", "")
        );
    }

    #[tokio::test]
    async fn the_public_keys_are_served() {
        let (status, keys) = World::new().get("/.well-known/jwks.json").send().await;
        assert_eq!(status, 200);
        assert_eq!(keys["keys"][0]["crv"], "Ed25519");
        assert!(keys["keys"][0]["kid"].is_string());
    }
}
