//! Going on with a session: a refresh token is exchanged for an access token and the next refresh token.
//!
//! Whether that may be is for the session to decide, also what a retry is. So the command has a fresh id
//! each time: what names the try is the token, and an `Idempotency-Key` would bring an answer back that
//! is worth nothing by now.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::session::{Command, Refresh, Refused, RevokedBecause, State as SessionState};
use domain::{Actor, CommandId, Personal, StreamName};
use infra::auth::RefreshToken;
use infra::auth::cookies::{REFRESH_COOKIE, cookie};
use infra::clock::fresh_id;
use infra::http::{BodyIfAny, ClientAddress};
use infra::keys::hex;
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::open_session::{HandOver, LoggedIn, check_device, login_of, session_ended};
use crate::problems::OpenProblems;

/// Who wants to go on.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshSession {
    /// The newest refresh token; absent where it is in the cookie.
    #[serde(default)]
    refresh_token: Option<String>,
    /// What the client calls its device from now on: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
}

fn refused(code: &str, detail: &str) -> Problem {
    let mut problem = Problem::unauthenticated(detail);
    code.clone_into(&mut problem.code);
    problem
}

fn refresh_invalid() -> Problem {
    refused(
        "refresh_invalid",
        "the refresh token is not valid; log in again",
    )
}

fn refresh_reused() -> Problem {
    let detail = "the refresh token was exchanged before: somebody else may have a copy, and so the \
                  session has ended; log in again";
    refused("refresh_reused", detail)
}

/// Exchanges `token`.
async fn refresh(
    api: &CommandApi,
    token: &RefreshToken,
    device: Option<String>,
    address: Option<IpAddr>,
) -> Result<LoggedIn, Problem> {
    let session = token.session;
    let before = api.session(session).await?;
    if matches!(*before, SessionState::Absent) {
        return Err(refresh_invalid());
    }
    let user = login_of(api, session, &before).await?.user;
    let next = token.next(api.guard().tokens().refresh());
    let command = Command::Refresh(Refresh {
        generation: token.generation,
        refresh_hash: hex(&token.digest()),
        next_hash: hex(&next.digest()),
        at: api.clock().now(),
        device: device.map(|device| Personal::new(user, device)),
        address: address.map(|address| Personal::new(user, address.to_string())),
    });
    let envelope = Envelope::new(Actor::User(user), CommandId(fresh_id()), &"refresh")?;
    let done = api
        .sessions()
        .execute(&StreamName::session(session), envelope, command)
        .await
        .map_err(|error| error.into_problem(|refused| problem_of(*refused)))?;
    let after = api.session(session).await?;
    if let SessionState::Revoked { because, .. } = *after {
        api.guard().forget_session(session).await;
        return Err(match because {
            RevokedBecause::RefreshReused => {
                tracing::warn!(%session, %user, "a refresh token came again; its session has ended");
                refresh_reused()
            }
            RevokedBecause::LoggedOut => session_ended(),
        });
    }
    let login = login_of(api, session, &after).await?;
    // The next one, unless this came too often to be exchanged. Another may have used the next already;
    // then this is still the answer that was given first.
    let newest = login.refresh.as_ref().map(|refresh| refresh.generation);
    let generation = newest.map(|newest| newest.min(next.generation));
    LoggedIn::sign(api, session, &login, generation, done.position)
}

fn problem_of(refused: Refused) -> Problem {
    match refused {
        Refused::RefreshInvalid | Refused::NotFound => refresh_invalid(),
        Refused::Ended => session_ended(),
        Refused::AlreadyOpen => Problem::refused(&refused),
    }
}

/// Go on with a session
///
/// Exchanges a refresh token for an access token and the next refresh token. Each is exchanged once. Who
/// lost the answer asks again with the same token, within 60 seconds, and gets the same refresh token;
/// any other token that was exchanged before ends the session. With the tokens in cookies there is no
/// body, and the header `x-csrf-token` is needed.
#[utoipa::path(
    post,
    path = "/v1/sessions/refresh",
    tag = "sessions",
    request_body = Option<RefreshSession>,
    responses(
        (status = 200, body = LoggedIn, description = "The session goes on"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`refresh_invalid`, `refresh_reused`, `session_ended`: log in again"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`csrf_token_wrong`: the token is in a cookie, and x-csrf-token is missing or \
            wrong; `account_suspended`, `account_deactivated`"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    headers: HeaderMap,
    ClientAddress(address): ClientAddress,
    BodyIfAny(request): BodyIfAny<RefreshSession>,
) -> Result<Response, Problem> {
    let RefreshSession {
        refresh_token,
        device,
    } = request.unwrap_or_default();
    if let Some(device) = &device {
        check_device(device)?;
    }
    let (text, hand_over) = match (&refresh_token, cookie(&headers, REFRESH_COOKIE)) {
        (Some(text), _) => (text.as_str(), HandOver::InBody),
        (None, Some(text)) => (text, HandOver::InCookies),
        (None, None) => return Err(refresh_invalid()),
    };
    let token = api.guard().tokens().refresh().read(text);
    let token = token.ok_or_else(refresh_invalid)?;
    match hand_over {
        HandOver::InBody => {}
        HandOver::InCookies => api.guard().check_csrf(token.session, &headers)?,
    }
    let logged_in = refresh(&api, &token, device, address).await?;
    logged_in.answer(&api, StatusCode::OK, hand_over)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::session::{REFRESHES_STORED_MAX, RETRIED_WITHIN};
    use domain::{SessionId, StreamName};
    use infra::auth::Tokens;
    use infra::keys::Secret;
    use serde_json::{Value, json};

    use crate::testing::{World, problem};

    fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
        answer[field].as_str().unwrap()
    }

    fn stream(answer: &Value) -> StreamName {
        StreamName::session(text(answer, "session").parse().unwrap())
    }

    /// Exchanges the refresh token of `answer`.
    async fn exchange(world: &World, answer: &Value) -> Value {
        let refresh = world.refresh(text(answer, "refresh_token"));
        let (status, answer) = refresh.send().await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn refused(world: &World, answer: &Value) -> String {
        let refresh = world.refresh(text(answer, "refresh_token"));
        let (status, code, _) = refresh.problem().await;
        assert_eq!(status, 401);
        code
    }

    #[tokio::test]
    async fn a_session_goes_on_with_new_tokens_and_the_log_has_none_of_them() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        world.later(TimeDelta::minutes(10));
        let second = exchange(&world, &first).await;
        assert_eq!(second["session"], first["session"]);
        assert_eq!(second["session_expires_at"], first["session_expires_at"]);
        assert_ne!(second["refresh_token"], first["refresh_token"]);
        for answer in [&first, &second] {
            assert_eq!(world.rename(text(answer, "token")).send().await.0, 200);
        }
        world.later(TimeDelta::minutes(5));
        let late = world.rename(text(&first, "token")).problem().await;
        assert_eq!(late, problem(401, "token_expired", ""));
        assert_eq!(world.rename(text(&second, "token")).send().await.0, 200);

        let types = world.types(&stream(&first)).await;
        assert_eq!(types, ["session-opened", "session-refreshed"]);
        for event in world.events(&stream(&first)).await {
            let stored = String::from_utf8_lossy(&event.data).into_owned();
            assert!(
                !stored.contains("vr_") && !stored.contains("eyJ"),
                "{stored}"
            );
        }
    }

    #[tokio::test]
    async fn who_lost_the_answer_gets_it_again_for_a_while() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        let second = exchange(&world, &first).await;
        world.later(RETRIED_WITHIN);
        let again = exchange(&world, &first).await;
        assert_eq!(again["refresh_token"], second["refresh_token"]);
        assert_eq!(world.events(&stream(&first)).await.len(), 2);
        world.later(TimeDelta::seconds(1));
        assert_eq!(refused(&world, &first).await, "refresh_reused");
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_with_one_token_all_get_the_same() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        let asked = (0..20).map(|_| exchange(&world, &first));
        let answers = futures::future::join_all(asked).await;
        for answer in &answers {
            assert_eq!(answer["refresh_token"], answers[0]["refresh_token"]);
        }
        assert_eq!(world.events(&stream(&first)).await.len(), 2);
    }

    #[tokio::test]
    async fn a_token_that_comes_again_ends_the_session_for_everybody_who_has_it() {
        let world = World::with(&["alice"]).await;
        let other = world.log_in("alice").await;
        let first = world.log_in("alice").await;
        let second = exchange(&world, &first).await;
        let third = exchange(&world, &second).await;
        assert_eq!(refused(&world, &first).await, "refresh_reused");
        for answer in [&first, &second, &third] {
            assert_eq!(refused(&world, answer).await, "session_ended");
            let ended = world.rename(text(answer, "token")).problem().await;
            assert_eq!(ended, problem(401, "session_ended", ""));
        }
        let last = world.events(&stream(&first)).await;
        let last: Value = serde_json::from_slice(&last.last().unwrap().data).unwrap();
        assert_eq!(last, json!({"because": "refresh_reused"}));
        assert_eq!(world.rename(text(&other, "token")).send().await.0, 200);
    }

    #[tokio::test]
    async fn a_key_does_not_bring_an_old_answer_back() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        let refresh = || world.refresh(text(&first, "refresh_token")).key("same");
        assert_eq!(refresh().send().await.0, 200);
        world.later(RETRIED_WITHIN + TimeDelta::seconds(1));
        let again = refresh().problem().await;
        assert_eq!(again, problem(401, "refresh_reused", ""));
    }

    #[tokio::test]
    async fn what_is_no_token_of_ours_is_invalid() {
        let world = World::with(&["alice"]).await;
        let login = world.log_in("alice").await;
        let session: SessionId = text(&login, "session").parse().unwrap();
        let of = |secret, session, generation| {
            let tokens = Tokens::new(&Secret::new([secret; 32])).unwrap();
            tokens.refresh().make(session, generation).text().to_owned()
        };
        let unknown = SessionId(infra::clock::fresh_id());
        for token in [
            String::new(),
            "vr_".to_owned(),
            text(&login, "token").to_owned(),
            of(8, session, 0),
            of(7, session, 1),
            of(7, unknown, 0),
        ] {
            let refused = world.refresh(&token).problem().await;
            assert_eq!(refused, problem(401, "refresh_invalid", ""), "{token}");
        }
        let without = world.anonymous("/v1/sessions/refresh");
        let without = without.problem().await;
        assert_eq!(without, problem(401, "refresh_invalid", ""));
        let body = json!({"refresh_token": of(7, session, 0), "device": ""});
        let no_device = world.anonymous("/v1/sessions/refresh").body(body);
        let no_device = no_device.problem().await;
        assert_eq!(no_device, problem(422, "invalid_body", "/device"));
        exchange(&world, &login).await;
    }

    #[tokio::test]
    async fn a_token_never_outlives_the_session_and_nothing_makes_that_longer() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        world.later(TimeDelta::days(30) - TimeDelta::minutes(5));
        let last = exchange(&world, &first).await;
        let moment =
            |field: &str| -> chrono::DateTime<chrono::Utc> { text(&last, field).parse().unwrap() };
        let left = moment("session_expires_at") - moment("expires_at");
        assert!(
            left >= TimeDelta::zero() && left < TimeDelta::seconds(1),
            "{left}"
        );
        world.later(TimeDelta::minutes(5));
        let over = world.rename(text(&last, "token")).problem().await;
        assert_eq!(over, problem(401, "token_expired", ""));
        assert_eq!(refused(&world, &last).await, "session_ended");
    }

    #[tokio::test]
    async fn who_refreshes_all_the_time_does_not_fill_the_log() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        let mut newest = first.clone();
        for _ in 0..REFRESHES_STORED_MAX + 5 {
            newest = exchange(&world, &newest).await;
            assert_eq!(world.rename(text(&newest, "token")).send().await.0, 200);
        }
        let stored = world.events(&stream(&first)).await.len();
        assert_eq!(stored, 1 + REFRESHES_STORED_MAX as usize);
    }

    #[tokio::test]
    async fn a_restart_forgets_nothing_of_it() {
        let world = World::with(&["alice"]).await;
        let first = world.log_in("alice").await;
        let second = exchange(&world, &first).await;
        let third = exchange(&world, &second).await;
        let world = world.restarted().await;
        assert_eq!(
            exchange(&world, &second).await["refresh_token"],
            third["refresh_token"]
        );
        assert_eq!(refused(&world, &first).await, "refresh_reused");
    }
}
