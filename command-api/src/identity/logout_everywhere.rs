//! Ending all sessions of a user, but for one at most. One event in the account's stream does it,
//! however many sessions there are: see [`domain::user::Account::lets_in`].

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use domain::user::{Command, Refused, Through};
use domain::{StreamName, UserId};
use infra::commands::Accepted;
use infra::http::Query;
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::Asked;
use crate::execute::{Done, Envelope};
use crate::identity::logout::goodbye;
use crate::identity::open_session::session_ended;
use crate::problems::CommandProblems;

/// Which sessions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// `too`: also the one that asks.
    current: Option<Current>,
}

/// Whether the session that asks ends with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Current {
    /// It does.
    Too,
}

/// Ends all sessions of `user` that were opened until now; the one that asks goes on where `keeps` says
/// so.
///
/// # Errors
/// 401 `session_ended` where the one that asks has ended, and what every command may answer.
async fn log_out_everywhere(
    api: &CommandApi,
    envelope: Envelope,
    user: UserId,
    through: Through,
    keeps: bool,
) -> Result<Done, Problem> {
    let stream = StreamName::user(user);
    let command = Command::LogOutEverywhere { through, keeps };
    let done = api.users().execute(&stream, envelope, command).await;
    api.forget_user(user).await;
    done.map_err(|error| error.into_problem(|refused| ended_or_refused(*refused)))
}

/// The problem that somebody's account said no; 401 `session_ended` where it is of the session that asks.
pub(crate) fn ended_or_refused(refused: Refused) -> Problem {
    match refused {
        Refused::SessionEnded => session_ended(),
        other => Problem::refused(&other),
    }
}

/// End all other sessions
///
/// All sessions of the asker but the one that asks; with `current=too` that one as well. Their tokens are
/// worth nothing from now on, and their streams close.
#[utoipa::path(
    delete,
    path = "/v1/sessions",
    tag = "sessions",
    params(
        Params,
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "The sessions have ended"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let through = asked.caller.through();
    let keeps = params.current.is_none();
    let user = asked.asking.user;
    let kept = keeps.then_some(through.session);
    let envelope = asked.asking.envelope(&("log_out_everywhere", kept))?;
    let done = log_out_everywhere(&api, envelope, user, through, keeps).await?;
    let answer = Answer::new(user.0, done);
    match params.current {
        None => Ok(answer.ok().into_response()),
        Some(Current::Too) => goodbye(&api, &headers, answer),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use domain::{Actor, CommandId, StreamName};
    use infra::clock::fresh_id;
    use serde_json::Value;

    use super::log_out_everywhere;
    use crate::execute::Envelope;
    use crate::identity::open_session::{WayIn, open_session};
    use crate::testing::{World, problem};

    fn token(answer: &Value) -> &str {
        answer["token"].as_str().unwrap()
    }

    async fn is_let_in(world: &World, answer: &Value) -> bool {
        let (status, answer) = world.rename(token(answer)).send().await;
        assert!(
            status == 200 || answer["code"] == "session_ended",
            "{answer}"
        );
        status == 200
    }

    async fn out(world: &World, answer: &Value, path: &str) {
        let request = world.ask(Some(token(answer)), Method::DELETE, path);
        let (status, answer) = request.send().await;
        assert_eq!(status, 200, "{answer}");
    }

    #[tokio::test]
    async fn all_sessions_but_the_one_that_asks_end_at_once() {
        let world = World::with(&["alice", "bob"]).await;
        let (phone, laptop) = (world.log_in("alice").await, world.log_in("alice").await);
        let of_bob = world.log_in("bob").await;
        assert!(is_let_in(&world, &laptop).await);
        out(&world, &phone, "/v1/sessions").await;
        assert!(is_let_in(&world, &phone).await);
        assert!(is_let_in(&world, &of_bob).await);
        assert!(!is_let_in(&world, &laptop).await);
        let refresh = world.refresh(laptop["refresh_token"].as_str().unwrap());
        assert_eq!(refresh.problem().await, problem(401, "session_ended", ""));
        let refresh = world.refresh(phone["refresh_token"].as_str().unwrap());
        let (status, kept) = refresh.send().await;
        assert_eq!(status, 200);
        assert!(is_let_in(&world, &kept).await);
        let new = world.log_in("alice").await;
        assert!(is_let_in(&world, &new).await);

        out(&world, &new, "/v1/sessions?current=too").await;
        for ended in [&phone, &kept, &new] {
            assert!(!is_let_in(&world, ended).await);
        }
        let again = world.log_in("alice").await;
        assert!(is_let_in(&world, &again).await);
        let events = world.events(&StreamName::user(world.id("alice"))).await;
        let count = events
            .iter()
            .filter(|event| &*event.event_type == "logged-out-everywhere")
            .count();
        assert_eq!(count, 2, "one event, however many sessions");
    }

    #[tokio::test]
    async fn what_else_current_may_be_is_refused() {
        let world = World::with(&["alice"]).await;
        let wrong = world.delete("alice", "/v1/sessions?current=no");
        assert_eq!(
            wrong.problem().await,
            problem(400, "invalid_query", "?current")
        );
        assert!(world.caller("alice").await.login_epoch == 0);
    }

    #[tokio::test]
    async fn a_login_that_was_checked_before_has_ended_and_one_that_was_checked_after_goes_on() {
        let world = World::with(&["alice"]).await;
        let user = world.id("alice");
        let way_in = |login_epoch| {
            let command = CommandId(fresh_id());
            let envelope = Envelope::new(Actor::User(user), command, &"test").unwrap();
            WayIn {
                user,
                login_epoch,
                command,
                envelope,
                device: None,
                address: None,
                amr: [domain::session::Factor::Password].into(),
                reactivate: false,
                vouched_by: None,
            }
        };
        let checked = world.api.account(user).await.unwrap().unwrap();
        let (before, after) = (way_in(checked.login_epoch), way_in(checked.login_epoch));
        let first = open_session(&world.api, before).await;
        let envelope = Envelope::new(Actor::User(user), CommandId(fresh_id()), &"out").unwrap();
        let through = world.caller("alice").await.through();
        let out = log_out_everywhere(&world.api, envelope, user, through, false);
        out.await.unwrap();
        let first = serde_json::to_value(first.unwrap_or_else(|_| panic!("not let in"))).unwrap();
        assert!(!is_let_in(&world, &first).await, "stored before");
        let late = open_session(&world.api, after).await.err().unwrap();
        assert_eq!(late.code, "session_ended", "stored after");

        let checked = world.api.account(user).await.unwrap().unwrap();
        let new = open_session(&world.api, way_in(checked.login_epoch)).await;
        let new = serde_json::to_value(new.unwrap_or_else(|_| panic!("not let in"))).unwrap();
        assert!(is_let_in(&world, &new).await);
    }
}
