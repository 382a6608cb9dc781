//! Choosing another password by who knows the one they have.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use domain::user::{Command, Refused, Sessions};
use infra::commands::Accepted;
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::Asked;
use crate::conversations::broken;
use crate::identity::logout_everywhere::ended_or_refused;
use crate::passwords::{Verified, check_length};
use crate::problems::CommandProblems;

/// The password one has, and another.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassword {
    /// The one in force.
    current_password: String,
    /// At least 10 characters, at most 200 bytes, and not easy to guess.
    password: String,
}

fn wrong_password() -> Problem {
    let code = "wrong_password";
    let rule = "this is not the password; who has none chooses one with a code from the mail";
    Problem::new(StatusCode::FORBIDDEN, code, "The password is wrong").with_field(
        "/current_password",
        code,
        rule,
    )
}

/// Sets another password and ends the asker's other sessions.
async fn change_password(
    api: &CommandApi,
    asked: Asked,
    address: Option<IpAddr>,
    request: ChangePassword,
) -> Result<Answer, Problem> {
    check_length(&request.password).map_err(|invalid| broken("/password", invalid))?;
    let user = asked.asking.user;
    let account = api.account(user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    let from = account.password_hash.clone();
    let verify = |password: &str| api.passwords().verify(from.clone(), password.to_owned());
    let mark = api.password_mark(&request.password);
    let current = api.password_mark(&request.current_password);
    let envelope = asked.asking.envelope(&("change_password", current, mark))?;
    let from_hash = from.clone().ok_or_else(wrong_password)?;
    // Whoever has the session only is not to find out the password.
    let attempt = api.login_gate().enter(&user.to_string(), address)?;
    let to = if verify(&request.current_password).await? != Verified::No {
        attempt.succeeded();
        let known = [
            Some(account.handle.as_str()),
            account.email.as_ref().map(domain::values::Email::as_str),
        ];
        let known = known.into_iter().flatten().map(str::to_owned).collect();
        api.passwords().hash_chosen(request.password, known).await?
    } else if verify(&request.password).await? != Verified::No {
        // It is so already: a retry gets the answer of the first try, and others change nothing.
        attempt.succeeded();
        from_hash.clone()
    } else {
        return Err(wrong_password());
    };
    let command = Command::ReplacePassword {
        user,
        from: from_hash,
        to,
        sessions: Sessions::EndBut(asked.caller.through()),
    };
    let done = api.change_account(user, envelope, command).await;
    let done = done.map_err(|error| error.into_problem(|refused| ended_or_refused(*refused)))?;
    Ok(Answer::new(user.0, done))
}

/// Change one's password
///
/// Ends the other sessions of the user; the one that asks goes on.
#[utoipa::path(
    put,
    path = "/v1/users/me/password",
    tag = "users",
    request_body = ChangePassword,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is changed, or was so already"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`wrong_password`, pointing at `/current_password`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`password_changed` by somebody else meanwhile, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`weak_password`, `invalid_body` with a pointer to each wrong field, \
            `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    ClientAddress(address): ClientAddress,
    Body(request): Body<ChangePassword>,
) -> Result<Answered, Problem> {
    let changed = change_password(&api, asked, address, request).await?;
    Ok(changed.ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{PASSWORD, World, problem};

    const NEW: &str = "seven purple teapots";

    #[tokio::test]
    async fn a_password_is_changed_by_who_knows_it() {
        let world = World::with(&["alice"]).await;
        let change = |current: &str, to: &str| {
            let body = json!({"current_password": current, "password": to});
            world.put("alice", "/v1/users/me/password").body(body)
        };
        let wrong = change("not the password", NEW).problem().await;
        assert_eq!(wrong, problem(403, "wrong_password", "/current_password"));
        let weak = change(PASSWORD, "alice@example.org").problem().await;
        assert_eq!(weak, problem(422, "weak_password", "/password"));
        let short = change(PASSWORD, "short").problem().await;
        assert_eq!(short, problem(422, "invalid_body", "/password"));

        let (status, first) = change(PASSWORD, NEW).key("k").send().await;
        assert_eq!(status, 200, "{first}");
        let (status, again) = change(PASSWORD, NEW).key("k").send().await;
        assert_eq!((status, again), (200, first), "a retry");
        for (password, expected) in [(NEW, 201), (PASSWORD, 401)] {
            let body = json!({"login": "alice", "password": password});
            let (status, _) = world.anonymous("/v1/sessions").body(body).send().await;
            assert_eq!(status, expected);
        }
        assert_eq!(world.count("alice", "password-set").await, 2);
    }
}
