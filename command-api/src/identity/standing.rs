//! Whether somebody may come in: suspended and reinstated by those who run the server, deactivated by
//! themselves and reactivated by logging in.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::user::{Command, Refused, Standing, Suspend};
use domain::values::Reason;
use domain::{Actor, CommandId, UserId};
use infra::auth::account_suspended;
use infra::clock::fresh_id;
use infra::commands::Accepted;
use infra::http::{Body, ClientAddress, InPath, admins_only};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::conversations::broken;
use crate::execute::Envelope;
use crate::passwords::Verified;
use crate::problems::CommandProblems;

/// How long, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuspendUser {
    /// When it ends by itself; without it, when the user is reinstated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    /// Why, for the record: 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// That it is really the user who asks.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deactivate {
    /// The password; absent where the account has none.
    #[serde(default)]
    password: Option<String>,
}

/// Lets `user` in only where their account is active. To be asked of whoever has shown that they are
/// the user, and of nobody else: the answer says that there is such an account.
///
/// # Errors
/// 403 `account_suspended`, 403 `account_deactivated`.
pub(crate) async fn check_active(api: &CommandApi, user: UserId) -> Result<(), Problem> {
    let_in(standing(api, user).await?)
}

/// The same, of an account that was read already.
pub(crate) fn let_in(standing: Standing) -> Result<(), Problem> {
    match standing {
        Standing::Active => Ok(()),
        Standing::Suspended { until } => Err(account_suspended(until)),
        Standing::Deactivated => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "account_deactivated",
            "This account is deactivated",
        )
        .with_detail("log in with \"reactivate\": true to open it again")),
    }
}

/// Opens the account of `user` again, who logs in by `command`, where they had closed it. Ends no
/// suspension.
pub(crate) async fn reactivate(
    api: &CommandApi,
    user: UserId,
    command: CommandId,
) -> Result<(), Problem> {
    match standing(api, user).await? {
        Standing::Active | Standing::Suspended { .. } => return Ok(()),
        Standing::Deactivated => {}
    }
    // An id of its own each time: a login that is repeated after another deactivation is meant anew.
    let envelope = Envelope::new(Actor::User(user), CommandId(fresh_id()), &"reactivate")?
        .caused_by(command, command);
    api.change_account(user, envelope, Command::Reactivate)
        .await?;
    Ok(())
}

/// How the account stands; one that does not exist is as good as deactivated, but nobody is let in by
/// it.
async fn standing(api: &CommandApi, user: UserId) -> Result<Standing, Problem> {
    let account = api.account(user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    Ok(account.standing(api.clock().now()))
}

async fn suspend_user(
    api: &CommandApi,
    asking: Asking,
    user: UserId,
    request: SuspendUser,
) -> Result<Answer, Problem> {
    if request
        .until
        .is_some_and(|until| until <= api.clock().now())
    {
        let rule = "the end of a suspension is in the future";
        return Err(Problem::invalid_field("/until", "in_the_past", rule));
    }
    let why = request.why.as_deref().map(Reason::parse).transpose();
    let suspend = Command::Suspend(Suspend {
        user,
        by: Actor::User(asking.user),
        until: request.until,
        why: why.map_err(|invalid| broken("/why", invalid))?,
    });
    let envelope = asking.envelope(&("suspend_user", user, &request))?;
    carry_out(api, user, envelope, suspend).await
}

async fn deactivate_oneself(
    api: &CommandApi,
    asking: Asking,
    address: Option<IpAddr>,
    request: Deactivate,
) -> Result<Answer, Problem> {
    let user = asking.user;
    let hash = api.account(user).await?.and_then(|it| it.password_hash);
    let is_theirs = match (hash, request.password) {
        (None, None) => true,
        (Some(_), None) => false,
        (hash, Some(password)) => {
            let attempt = api.login_gate().enter(&user.to_string(), address)?;
            let verified = api.passwords().verify(hash, password).await?;
            if verified != Verified::No {
                attempt.succeeded();
            }
            verified != Verified::No
        }
    };
    if !is_theirs {
        let title = "The password is wrong";
        return Err(Problem::new(StatusCode::FORBIDDEN, "wrong_password", title));
    }
    let envelope = asking.envelope(&("deactivate", user))?;
    carry_out(api, user, envelope, Command::Deactivate).await
}

async fn carry_out(
    api: &CommandApi,
    user: UserId,
    envelope: Envelope,
    command: Command,
) -> Result<Answer, Problem> {
    let done = api.change_account(user, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Suspend a user
///
/// They cannot log in, their tokens are refused and their connections closed, on this node at once and
/// on others within a second. An owner is not suspended: take the role away first.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/suspend",
    tag = "users",
    request_body = SuspendUser,
    params(
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They are suspended, or were so already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: only admins and owners may"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_owner`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body`, `suspends_oneself`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn suspend(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(user): InPath<UserId>,
    Body(request): Body<SuspendUser>,
) -> Result<Answered, Problem> {
    admins_only(&asked.caller)?;
    Ok(suspend_user(&api, asked.asking, user, request).await?.ok())
}

/// Reinstate a user
#[utoipa::path(
    post,
    path = "/v1/users/{user}/reinstate",
    tag = "users",
    params(
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "They are not suspended, or were not"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: only admins and owners may"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`user_not_found`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn reinstate(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(user): InPath<UserId>,
) -> Result<Answered, Problem> {
    admins_only(&asked.caller)?;
    let by = Actor::User(asked.asking.user);
    let envelope = asked.asking.envelope(&("reinstate_user", user))?;
    let reinstate = Command::Reinstate { by };
    Ok(carry_out(&api, user, envelope, reinstate).await?.ok())
}

/// Deactivate one's account
///
/// Nobody gets in with it any more, and the directory does not show it. What was said stays. Logging
/// in with `"reactivate": true` opens it again.
#[utoipa::path(
    post,
    path = "/v1/users/me/deactivate",
    tag = "users",
    request_body = Deactivate,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is deactivated; the caller's tokens are worth nothing"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`wrong_password`, also where one is sent for an account that has none"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`is_owner`: give the role up first; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn deactivate(
    State(api): State<CommandApi>,
    asked: Asked,
    ClientAddress(address): ClientAddress,
    Body(request): Body<Deactivate>,
) -> Result<Answered, Problem> {
    let done = deactivate_oneself(&api, asked.asking, address, request).await?;
    Ok(done.ok())
}

#[cfg(test)]
mod tests {
    use crate::RoleChange;
    use crate::change_role;
    use crate::testing::{Asked, PASSWORD, World, problem};
    use chrono::TimeDelta;
    use domain::user::SystemRole;
    use serde_json::{Value, json};

    async fn world() -> World {
        let world = World::with(&["alice", "bob", "olga"]).await;
        for (name, role) in [("bob", SystemRole::Admin), ("olga", SystemRole::Owner)] {
            let granted = RoleChange::Grant(role);
            change_role(&world.api, world.id(name), granted)
                .await
                .unwrap();
        }
        world
    }

    fn suspend<'a>(world: &'a World, who: &str, whom: &str, body: Value) -> Asked<'a> {
        let path = format!("/v1/users/{}/suspend", world.id(whom));
        world.post(who, &path).body(body)
    }

    fn log_in<'a>(world: &'a World, name: &str, more: Value) -> Asked<'a> {
        let mut body = json!({"login": name, "password": PASSWORD});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        world.anonymous("/v1/sessions").body(body)
    }

    fn rename<'a>(world: &'a World, who: &str) -> Asked<'a> {
        let body = json!({"status_text": "here"});
        world.patch(who, "/v1/users/me").body(body)
    }

    #[tokio::test]
    async fn who_is_suspended_is_out_until_reinstated() {
        let world = world().await;
        let why = json!({"why": "spam"});
        assert_eq!(suspend(&world, "bob", "alice", why).send().await.0, 200);
        let out = problem(403, "account_suspended", "");
        assert_eq!(rename(&world, "alice").problem().await, out, "at once");
        assert_eq!(log_in(&world, "alice", json!({})).problem().await, out);
        let again = log_in(&world, "alice", json!({"reactivate": true}));
        assert_eq!(again.problem().await, out);
        let wrong = json!({"password": "not the password"});
        let wrong = log_in(&world, "alice", wrong).problem().await;
        assert_eq!(wrong, problem(401, "wrong_login", ""), "tells nothing");

        let path = format!("/v1/users/{}/reinstate", world.id("alice"));
        let forbidden = world.post("alice", &path).problem().await;
        assert_eq!(forbidden, out);
        assert_eq!(world.post("bob", &path).send().await.0, 200);
        assert_eq!(rename(&world, "alice").send().await.0, 200);
        assert_eq!(log_in(&world, "alice", json!({})).send().await.0, 201);
    }

    #[tokio::test]
    async fn a_suspension_ends_by_itself() {
        let world = world().await;
        let until = world.clock.now() + TimeDelta::minutes(5);
        let body = json!({"until": until});
        assert_eq!(suspend(&world, "bob", "alice", body).send().await.0, 200);
        assert_eq!(rename(&world, "alice").send().await.0, 403);
        world.later(TimeDelta::minutes(5));
        assert_eq!(rename(&world, "alice").send().await.0, 200);
        let past = json!({"until": until});
        let past = suspend(&world, "bob", "alice", past).problem().await;
        assert_eq!(past, problem(422, "invalid_body", "/until"));
    }

    #[tokio::test]
    async fn admins_suspend_others_but_no_owner() {
        let world = world().await;
        for (who, whom, refused) in [
            ("alice", "bob", problem(403, "forbidden", "")),
            ("bob", "bob", problem(422, "suspends_oneself", "")),
            ("bob", "olga", problem(409, "is_owner", "")),
        ] {
            let asked = suspend(&world, who, whom, json!({})).problem().await;
            assert_eq!(asked, refused, "{who} suspends {whom}");
        }
        assert_eq!(
            suspend(&world, "olga", "bob", json!({})).send().await.0,
            200
        );
        let nobody = format!("/v1/users/{}/suspend", infra::clock::fresh_id());
        let nobody = world.post("olga", &nobody).body(json!({}));
        assert_eq!(nobody.problem().await, problem(404, "user_not_found", ""));
    }

    #[tokio::test]
    async fn who_deactivates_comes_back_by_logging_in() {
        let world = world().await;
        let deactivate = |who: &str, password: &str| {
            let request = world.post(who, "/v1/users/me/deactivate");
            request.body(json!({ "password": password }))
        };
        let wrong = deactivate("alice", "a guess").problem().await;
        assert_eq!(wrong, problem(403, "wrong_password", ""));
        let owner = deactivate("olga", PASSWORD).problem().await;
        assert_eq!(owner, problem(409, "is_owner", ""));
        assert_eq!(deactivate("alice", PASSWORD).send().await.0, 200);
        let ended = problem(401, "session_ended", "");
        assert_eq!(rename(&world, "alice").problem().await, ended, "at once");
        let closed = log_in(&world, "alice", json!({})).problem().await;
        assert_eq!(closed, problem(403, "account_deactivated", ""));
        let wrong = json!({"password": "not the password", "reactivate": true});
        let wrong = log_in(&world, "alice", wrong).problem().await;
        assert_eq!(wrong, problem(401, "wrong_login", ""));
        let (status, _) = log_in(&world, "alice", json!({"reactivate": true}))
            .send()
            .await;
        assert_eq!(status, 201);
        assert_eq!(log_in(&world, "alice", json!({})).send().await.0, 201);
    }
}
